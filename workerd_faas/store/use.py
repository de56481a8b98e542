"""Who uses which storage, in SQL: the bindings of all versions that an account has."""

from collections.abc import Sequence
from sqlite3 import Cursor
from typing import Final

import attrs

from workerd_faas.domain.resources import ResourceKind
from workerd_faas.usecases.ports import Database
from workerd_faas.usecases.storage import ports
from workerd_faas.usecases.storage.ports import Use

_USES: Final = """
SELECT functions.name, json_extract(binding.value, '$.type'),
    coalesce(json_extract(binding.value, '$.value.namespace_id'),
             json_extract(binding.value, '$.value.id')),
    max(versions.id IN (
        SELECT json_extract(split.value, '$[0]') FROM deployments
        JOIN json_each(deployments.splits) AS split
        WHERE deployments.number =
            (SELECT max(number) FROM deployments WHERE function = functions.name)
    ))
FROM functions
JOIN versions ON versions.function = functions.name
JOIN json_each(versions.bindings) AS binding
WHERE functions.account_id = ?
    AND json_extract(binding.value, '$.type') IN ('kv_namespace', 'd1', 'queue')
GROUP BY 1, 2, 3
ORDER BY 1, 2, 3
"""

_KINDS: Final = {
    "kv_namespace": ResourceKind.KV,
    "d1": ResourceKind.D1,
    "queue": ResourceKind.QUEUE,
}


@attrs.frozen
class SQLUses:
    """
    `usecases.storage.ports.Uses` on a `Database`.
    """

    _database: Database

    async def all(self, account_id: str) -> Sequence[Use]:
        """
        See `Uses.all`.
        """

        def work(cursor: Cursor) -> Sequence[Use]:
            cursor.execute(_USES, (account_id,))
            return [
                Use(function=name, kind=_KINDS[kind], resource_id=used, deployed=bool(deployed))
                for name, kind, used, deployed in cursor
            ]

        return await self._database.run(work)


_check: type[ports.Uses] = SQLUses
