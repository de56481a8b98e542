"""Settings beside versions in SQL."""

import json
from sqlite3 import Cursor

import attrs

from workerd_faas.domain.errors import Kind, Problem
from workerd_faas.domain.unversioned import Unversioned, UnversionedChange
from workerd_faas.usecases import ports
from workerd_faas.usecases.unversioned.ports import UnversionedStore


@attrs.frozen
class SQLUnversioned:
    """
    `usecases.unversioned.ports.UnversionedStore` on a `Database`.
    """

    _database: ports.Database

    async def of(self, account_id: str, function: str) -> Unversioned:
        """
        See `UnversionedStore.of`.
        """
        return await self._database.run(lambda cursor: _of(cursor, account_id, function))

    async def change(
        self, account_id: str, function: str, change: UnversionedChange
    ) -> Unversioned:
        """
        See `UnversionedStore.change`.
        """

        def work(cursor: Cursor) -> Unversioned:
            new = change.applied(_of(cursor, account_id, function))
            cursor.execute(
                "INSERT INTO unversioned (function, tags, observability) VALUES (?, ?, ?)"
                " ON CONFLICT (function) DO UPDATE"
                " SET tags = excluded.tags, observability = excluded.observability",
                (function, json.dumps(new.tags), json.dumps(new.observability)),
            )
            return new

        return await self._database.run(work)


def _of(cursor: Cursor, account_id: str, function: str) -> Unversioned:
    cursor.execute(
        "SELECT tags, observability FROM functions"
        " LEFT JOIN unversioned ON unversioned.function = functions.name"
        " WHERE functions.name = ? AND functions.account_id = ?",
        (function, account_id),
    )
    row = cursor.fetchone()
    if row is None:
        raise Problem(
            kind=Kind.SCRIPT_NOT_FOUND, message="This Worker does not exist on your account."
        )
    tags, observability = row
    if tags is None:
        return Unversioned()
    return Unversioned(tags=tuple(json.loads(tags)), observability=json.loads(observability))


_check: type[UnversionedStore] = SQLUnversioned
