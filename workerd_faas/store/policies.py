"""Policies of accounts in SQL."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from sqlite3 import Cursor
from typing import Any, Final

import attrs

from workerd_faas.domain.errors import Kind, Problem
from workerd_faas.domain.model import Account, timestamp
from workerd_faas.domain.policies import AccountPolicy, Isolation, KnownAccount, Reach
from workerd_faas.usecases.policies.ports import PolicyStore
from workerd_faas.usecases.ports import Database

_ACCOUNTS: Final = """
SELECT accounts.id, accounts.name, accounts.handle,
    (SELECT count(*) FROM functions WHERE functions.account_id = accounts.id),
    account_policies.isolation, account_policies.egress
FROM accounts LEFT JOIN account_policies ON account_policies.account_id = accounts.id
"""


@attrs.frozen
class SQLPolicies:
    """
    `usecases.policies.ports.PolicyStore` on a `Database`.
    """

    _database: Database

    async def changes(self) -> int:
        """
        See `PolicyStore.changes`.
        """
        return await self._database.run(_changes)

    async def all(self) -> Mapping[str, AccountPolicy]:
        """
        See `PolicyStore.all`.
        """
        return await self._database.run(_all)

    async def accounts(self) -> Sequence[KnownAccount]:
        """
        See `PolicyStore.accounts`.
        """
        return await self._database.run(_accounts)

    async def find(self, name: str) -> KnownAccount:
        """
        See `PolicyStore.find`.
        """
        return await self._database.run(lambda cursor: _find(cursor, name))

    async def put(self, account_id: str, policy: AccountPolicy, now: datetime) -> None:
        """
        See `PolicyStore.put`.
        """
        await self._database.run(lambda cursor: _put(cursor, account_id, policy, now))


def _changes(cursor: Cursor) -> int:
    (number,) = cursor.execute("PRAGMA data_version").fetchone()
    return int(number)


def _all(cursor: Cursor) -> Mapping[str, AccountPolicy]:
    cursor.execute("SELECT account_id, isolation, egress FROM account_policies")
    return {account_id: _policy(*values) for account_id, *values in cursor.fetchall()}


def _accounts(cursor: Cursor) -> Sequence[KnownAccount]:
    cursor.execute(f"{_ACCOUNTS} ORDER BY accounts.name, accounts.id")
    return [_known(row) for row in cursor.fetchall()]


def _find(cursor: Cursor, name: str) -> KnownAccount:
    cursor.execute(f"{_ACCOUNTS} WHERE accounts.id = ?1 OR accounts.handle = ?1", (name,))
    row = cursor.fetchone()
    if row is None:
        raise Problem(
            kind=Kind.NOT_FOUND,
            message=f"There is no account with the id or operator's name {name}.",
        )
    return _known(row)


def _put(cursor: Cursor, account_id: str, policy: AccountPolicy, now: datetime) -> None:
    _find(cursor, account_id)
    cursor.execute("DELETE FROM account_policies WHERE account_id = ?", (account_id,))
    if not policy.says_nothing:
        cursor.execute(
            "INSERT INTO account_policies (account_id, isolation, egress, modified_at)"
            " VALUES (?, ?, ?, ?)",
            (
                account_id,
                None if policy.isolation is None else policy.isolation.value,
                None if policy.egress is None else str(policy.egress),
                timestamp(now),
            ),
        )


def _known(row: Sequence[Any]) -> KnownAccount:
    id_, name, handle, functions, isolation, egress = row
    return KnownAccount(
        account=Account(id=id_, name=name),
        handle=handle,
        functions=functions,
        policy=_policy(isolation, egress),
    )


def _policy(isolation: str | None, egress: str | None) -> AccountPolicy:
    return AccountPolicy(
        isolation=None if isolation is None else Isolation(isolation),
        egress=None if egress is None else Reach.parse(egress),
    )


_check: type[PolicyStore] = SQLPolicies
