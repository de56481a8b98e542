"""Grants in SQL."""

from collections.abc import Sequence
from datetime import datetime
from sqlite3 import Cursor
from typing import Any

import attrs

from workerd_faas.domain.errors import Kind, Problem
from workerd_faas.domain.model import timestamp
from workerd_faas.usecases.ports import Database
from workerd_faas.usecases.ties.ports import Grant, GrantStore


@attrs.frozen
class SQLGrants:
    """
    `usecases.ties.ports.GrantStore` on a `Database`.
    """

    _database: Database

    async def all(self) -> Sequence[tuple[str, str, str]]:
        """
        See `GrantStore.all`.
        """

        def work(cursor: Cursor) -> Sequence[tuple[str, str, str]]:
            cursor.execute(
                "SELECT functions.account_id, grants.function, grants.account_id"
                " FROM grants JOIN functions ON functions.name = grants.function"
            )
            return cursor.fetchall()

        return await self._database.run(work)

    async def of(self, account_id: str, function: str) -> Sequence[Grant]:
        """
        See `GrantStore.of`.
        """

        def work(cursor: Cursor) -> Sequence[Grant]:
            cursor.execute(
                "SELECT grants.account_id, grants.created_at, author"
                " FROM grants JOIN functions ON functions.name = grants.function"
                " WHERE functions.account_id = ? AND function = ?"
                " ORDER BY grants.created_at, grants.account_id",
                (account_id, function),
            )
            return [_grant(row) for row in cursor]

        return await self._database.run(work)

    async def add(self, account_id: str, function: str, grant: Grant, most: int) -> Grant:
        """
        See `GrantStore.add`.
        """

        def work(cursor: Cursor) -> Grant:
            cursor.execute(
                "SELECT 1 FROM functions WHERE name = ? AND account_id = ?", (function, account_id)
            )
            if cursor.fetchone() is None:
                raise Problem(
                    kind=Kind.SCRIPT_NOT_FOUND,
                    message="This Worker does not exist on your account.",
                )
            cursor.execute("SELECT count(*) FROM grants WHERE function = ?", (function,))
            (count,) = cursor.fetchone()
            key = (function, grant.account_id)
            cursor.execute(
                "INSERT OR IGNORE INTO grants (function, account_id, created_at, author)"
                " VALUES (?, ?, ?, ?)",
                (*key, timestamp(grant.created_at), grant.author),
            )
            if cursor.rowcount and count >= most:
                raise Problem(
                    kind=Kind.BAD_REQUEST,
                    message=f"A function can be granted to {most} accounts: revoke one first.",
                )
            cursor.execute(
                "SELECT account_id, created_at, author FROM grants"
                " WHERE function = ? AND account_id = ?",
                key,
            )
            return _grant(cursor.fetchone())

        return await self._database.run(work)

    async def remove(self, account_id: str, function: str, grantee: str) -> None:
        """
        See `GrantStore.remove`.
        """

        def work(cursor: Cursor) -> None:
            cursor.execute(
                "DELETE FROM grants WHERE function = ? AND account_id = ? AND function IN"
                " (SELECT name FROM functions WHERE account_id = ?)",
                (function, grantee, account_id),
            )
            if not cursor.rowcount:
                raise Problem(
                    kind=Kind.GRANT_NOT_FOUND,
                    message="This Worker is not granted to that account.",
                )

        await self._database.run(work)


def _grant(row: Sequence[Any]) -> Grant:
    account_id, created_at, author = row
    return Grant(
        account_id=account_id, created_at=datetime.fromisoformat(created_at), author=author
    )


_check: type[GrantStore] = SQLGrants
