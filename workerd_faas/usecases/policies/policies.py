"""Policies of accounts in a daemon that runs: the operator's command writes, the daemon follows."""

from collections.abc import Mapping
from typing import Any, Final

import attrs
from twisted.logger import Logger

from workerd_faas.domain.errors import Problem
from workerd_faas.domain.model import Principal
from workerd_faas.domain.policies import NO_POLICY, AccountPolicy, Effective, ForAll
from workerd_faas.usecases.access import account_for
from workerd_faas.usecases.policies.ports import Keeper, PolicyStore
from workerd_faas.usecases.repeat import Repeat

EVERY: Final = 1.0
"""Seconds between two looks at what the operator has changed."""


@attrs.define(kw_only=True, eq=False)
class Policies:
    """
    Attributes:
        for_all: What the settings say.
        keeper: Who holds to policies.
        reactor: Provides IReactorTime.
    """

    log = Logger()

    store: PolicyStore
    for_all: ForAll
    keeper: Keeper
    reactor: Any
    _known: Mapping[str, AccountPolicy] = attrs.Factory(dict)
    _seen: int | None = None
    _looks: Repeat = attrs.field(init=False)

    @_looks.default
    def _every(self) -> Repeat:
        return Repeat(
            reactor=self.reactor, seconds=EVERY, work=self._look, what="looking at policies"
        )

    async def start(self) -> None:
        """
        Hold to what there is, and look for changes from now on.
        """
        await self._look()
        self._looks.start()

    async def stop(self) -> None:
        """
        Look no more.
        """
        self._looks.stop()

    def effective(self, principal: Principal, account_id: str) -> Effective:
        """
        What holds for an account, for those who may see it.

        Raises:
            Problem: `FORBIDDEN`.
        """
        account = account_for(principal, account_id)
        return self.for_all.with_policy(self._known.get(account.id, NO_POLICY))

    async def _look(self) -> None:
        try:
            seen = await self.store.changes()
            if seen == self._seen:
                return
            found = await self.store.all()
        except Problem as problem:
            # What held goes on to hold.
            self.log.error("policies are as they were: {problem}", problem=str(problem))
            return
        if found != self._known or self._seen is None:
            for account_id in {*found, *self._known}:
                if found.get(account_id) != self._known.get(account_id):
                    self._say(account_id, found.get(account_id, NO_POLICY))
            self._known = found
            await self.keeper.follow_policies(found)
        self._seen = seen

    def _say(self, account_id: str, policy: AccountPolicy) -> None:
        effective = self.for_all.with_policy(policy)
        self.log.info(
            "account {account}: isolation {isolation}, egress {egress}",
            account=account_id,
            isolation=effective.isolation.value,
            egress=str(effective.egress),
        )
