"""Whose functions may call whom: a function's owner lets other accounts in, and out again."""

import re
from collections.abc import Iterable, Sequence
from typing import Final

import attrs

from workerd_faas.domain.errors import Kind, Problem
from workerd_faas.domain.routing import RoutingTable
from workerd_faas.usecases.access import account_for
from workerd_faas.usecases.ports import CallRights, Catalog, OwnedWork, WallClock
from workerd_faas.usecases.target import Target
from workerd_faas.usecases.ties.ports import Grant, GrantStore

MOST: Final = 100
"""Accounts that one function can be granted to."""

_ACCOUNT: Final = re.compile(r"[0-9a-f]{32}")


@attrs.define(eq=False)
class GrantTable:
    """
    All grants in memory, asked at each call: `usecases.ports.CallRights`.

    They are by owner and function, so that they are never those of who has a name next.
    """

    _routes: RoutingTable
    _granted: dict[tuple[str, str], set[str]] = attrs.Factory(dict)

    def load(self, grants: Iterable[tuple[str, str, str]]) -> None:
        """
        Replace everything by these: owner, function, account.
        """
        self._granted = {}
        for owner, function, account_id in grants:
            self.granted(owner, function, account_id)

    def granted(self, owner: str, function: str, account_id: str) -> None:
        """
        From now on the account may.
        """
        self._granted.setdefault((owner, function), set()).add(account_id)

    def revoked(self, owner: str, function: str, account_id: str) -> None:
        """
        From now on it may not.
        """
        self._routes.changes += 1  # So that no connection goes by what it knew.
        self._granted.get((owner, function), set()).discard(account_id)

    def removed(self, owner: str, function: str) -> None:
        """
        The function is gone.
        """
        self._granted.pop((owner, function), None)

    def granting(self, account_id: str, function: str) -> str | None:
        """
        The account that has a function and lets this one call it, if that is so.
        """
        owner = self._routes.owner(function)
        if owner is None or account_id not in self._granted.get((owner, function), ()):
            return None
        return owner

    def may_call(self, account_id: str, function: str, owner: str) -> bool:
        """
        See `CallRights.may_call`.
        """
        return self.granting(account_id, function) == owner


@attrs.frozen(kw_only=True)
class CallGrants:
    """
    What a function's owner can do about grants.
    """

    catalog: Catalog
    store: GrantStore
    table: GrantTable
    work: OwnedWork
    clock: WallClock

    async def start(self) -> None:
        """
        Read them, before the first call.
        """
        self.table.load(await self.store.all())

    async def stop(self) -> None:
        """
        Nothing is left to do.
        """

    async def grants(self, target: Target) -> Sequence[Grant]:
        """
        Who may call the function, besides its own account.

        Raises:
            Problem: `SCRIPT_NOT_FOUND`, `FORBIDDEN`.
        """
        await self._check(target)
        return await self.store.of(target.account_id, target.function)

    async def grant(self, target: Target, account_id: str) -> Grant:
        """
        Let the functions of an account call this one, from now on. Whether there is such an account
        is nobody's business.

        Raises:
            Problem: `SCRIPT_NOT_FOUND`, `FORBIDDEN`, `BAD_REQUEST`.
        """
        await self._check(target)
        if not _ACCOUNT.fullmatch(account_id):
            raise Problem(
                kind=Kind.BAD_REQUEST,
                message="An account is named by its id, 32 hex digits, which `wrangler whoami` and "
                "`wrkst whoami` show.",
            )
        if account_id == target.account_id:
            raise Problem(
                kind=Kind.BAD_REQUEST,
                message="Functions of the same account may call each other as it is.",
            )
        grant = Grant(
            account_id=account_id,
            created_at=self.clock.now(),
            author=target.principal.author,
        )

        async def work() -> Grant:
            stored = await self.store.add(target.account_id, target.function, grant, MOST)
            self.table.granted(target.account_id, target.function, account_id)
            return stored

        return await self.work.finish(work)

    async def revoke(self, target: Target, account_id: str) -> None:
        """
        Let them call it no more: no call that begins after this returns reaches it.

        Raises:
            Problem: `SCRIPT_NOT_FOUND`, `FORBIDDEN`, `GRANT_NOT_FOUND`.
        """
        await self._check(target)

        async def work() -> None:
            # First in memory: what cannot be stored is refused until the next start at least.
            self.table.revoked(target.account_id, target.function, account_id)
            await self.store.remove(target.account_id, target.function, account_id)

        await self.work.finish(work)

    async def _check(self, target: Target) -> None:
        account_for(target.principal, target.account_id)
        await self.catalog.function(target.account_id, target.function)


_check: type[CallRights] = GrantTable
