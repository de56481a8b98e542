"""Ties between functions in SQL."""

from collections.abc import Sequence
from sqlite3 import Cursor
from typing import Final

import attrs

from workerd_faas.domain.errors import Kind, Problem
from workerd_faas.usecases.ports import Database
from workerd_faas.usecases.ties import ports
from workerd_faas.usecases.ties.ports import References

_CALLERS: Final = """
SELECT DISTINCT functions.name FROM functions
JOIN deployments ON deployments.number =
    (SELECT max(number) FROM deployments WHERE function = functions.name)
JOIN json_each(deployments.splits) AS split
JOIN versions ON versions.id = json_extract(split.value, '$[0]')
JOIN json_each(versions.bindings) AS binding
WHERE functions.account_id = ?1 AND functions.name <> ?2
    AND json_extract(binding.value, '$.type') = 'service'
    AND json_extract(binding.value, '$.value.service') = ?2
ORDER BY functions.name
"""


@attrs.frozen
class SQLTies:
    """
    `usecases.ties.TieStore` on a `Database`.
    """

    _database: Database

    async def consumers(self, function: str) -> Sequence[str]:
        """
        See `TieStore.consumers`.
        """

        def work(cursor: Cursor) -> Sequence[str]:
            cursor.execute(
                "SELECT consumer FROM tail_consumers WHERE function = ? ORDER BY consumer",
                (function,),
            )
            return [consumer for (consumer,) in cursor]

        return await self._database.run(work)

    async def set_consumers(self, account_id: str, function: str, consumers: Sequence[str]) -> None:
        """
        See `TieStore.set_consumers`.
        """

        def work(cursor: Cursor) -> None:
            cursor.execute(
                "SELECT 1 FROM functions WHERE name = ? AND account_id = ?", (function, account_id)
            )
            if cursor.fetchone() is None:
                raise Problem(
                    kind=Kind.SCRIPT_NOT_FOUND,
                    message="This Worker does not exist on your account.",
                )
            cursor.execute("DELETE FROM tail_consumers WHERE function = ?", (function,))
            cursor.executemany(
                "INSERT INTO tail_consumers (function, consumer) VALUES (?, ?)",
                [(function, consumer) for consumer in dict.fromkeys(consumers)],
            )

        await self._database.run(work)

    async def references(self, account_id: str, function: str) -> References:
        """
        See `TieStore.references`.
        """

        def work(cursor: Cursor) -> References:
            cursor.execute(_CALLERS, (account_id, function))
            callers = tuple(name for (name,) in cursor.fetchall())
            cursor.execute(
                "SELECT function FROM tail_consumers"
                " JOIN functions ON functions.name = tail_consumers.function"
                " WHERE functions.account_id = ? AND consumer = ? ORDER BY function",
                (account_id, function),
            )
            return References(callers=callers, producers=tuple(name for (name,) in cursor))

        return await self._database.run(work)


_check: type[ports.TieStore] = SQLTies
