"""Where functions run and what they reach, by account: the settings, and policies of accounts."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import attrs

from workerd_faas.domain.errors import Kind, Problem
from workerd_faas.domain.policies import (
    NO_POLICY,
    AccountPolicy,
    Effective,
    ForAll,
    Isolation,
    Reach,
)
from workerd_faas.domain.routing import Route
from workerd_faas.runtime.daemon_socket import route_of
from workerd_faas.usecases.ports import CallTargets, PointSink, VersionLoader

Key = Callable[[Route], str]


def own_key(route: Route) -> str:
    """
    The slot of one function alone.
    """
    return f"{route.account_id}/{route.function}"


def version_key(route: Route) -> str:
    """
    The slot of one version alone.
    """
    return f"{own_key(route)}/{route.version_id}"


_KEYS: Final[dict[Isolation, Key]] = {
    Isolation.ACCOUNT: lambda route: route.account_id,
    Isolation.FUNCTION: own_key,
    Isolation.SHARED: lambda route: "shared",
}


@attrs.define(eq=False)
class Rules:
    """
    Attributes:
        for_all: What the settings say.
        key: The slot of a function that is not quarantined. Asked for each request.
    """

    for_all: ForAll
    key: Key = attrs.field(init=False)
    _special: dict[str, Effective] = attrs.Factory(dict)

    @key.default
    def _key_without_policies(self) -> Key:
        return _KEYS[self.for_all.isolation]

    def of(self, account_id: str) -> Effective:
        """
        What holds for an account.
        """
        return self._special.get(account_id) or self.for_all.with_policy(NO_POLICY)

    def shares(self, account_id: str) -> bool:
        """
        Whether its functions run in the cell that accounts share.
        """
        return self.of(account_id).isolation is Isolation.SHARED

    def reach(self, account_id: str | None) -> Reach:
        """
        What a cell of this account (None: the shared one) reaches.
        """
        return self.for_all.egress if account_id is None else self.of(account_id).egress

    def follow(self, policies: Mapping[str, AccountPolicy]) -> Mapping[str, tuple[bool, bool]]:
        """
        These are all policies from now on. Returns the accounts for which something else holds now:
        whether they have left the shared cell, and whether they reach other things.
        """
        before, self._special = (
            self._special,
            {account: self.for_all.with_policy(policy) for account, policy in policies.items()},
        )
        usual = self.for_all.with_policy(NO_POLICY)
        levels = {
            account: _KEYS[effective.isolation]
            for account, effective in self._special.items()
            if effective.isolation is not usual.isolation
        }
        common = _KEYS[usual.isolation]
        if levels:
            self.key = lambda route: levels.get(route.account_id, common)(route)
        else:
            self.key = common
        changed = {}
        for account in {*before, *self._special}:
            old, new = before.get(account, usual), self.of(account)
            if (old.isolation, old.egress) != (new.isolation, new.egress):
                left = old.isolation is Isolation.SHARED and not self.shares(account)
                changed[account] = (left, old.egress != new.egress)
        return changed


@attrs.frozen
class SharedVersions:
    """
    `VersionLoader` for the shared cell: versions of accounts that share it, and of no others.
    """

    loader: VersionLoader
    shares: Callable[[str], bool]

    async def load_document(self, account_id: str | None, version_id: str) -> bytes:
        """
        See `VersionLoader`.
        """
        document = await self.loader.load_document(account_id, version_id)
        owner = route_of(document, version_id, None).account_id
        if owner and not self.shares(owner):
            raise Problem(kind=Kind.VERSION_NOT_FOUND, message="It does not run in this process.")
        return document


@attrs.frozen
class SharedTargets:
    """
    `CallTargets` for the shared cell: functions of accounts that share it, and of no others.
    """

    targets: CallTargets
    may_ask: Callable[[str], bool]

    def shares(
        self, account_id: str, function: str, selector: str | None
    ) -> Sequence[tuple[float, str]]:
        """
        See `CallTargets`.
        """
        if not self.may_ask(account_id):
            raise Problem(
                kind=Kind.TARGET_NOT_FOUND, message="There is no such function in this process."
            )
        return self.targets.shares(account_id, function, selector)


@attrs.frozen
class SharedPoints:
    """
    `PointSink` for the shared cell: points of accounts that share it, and of no others.
    """

    points: PointSink
    shares: Callable[[str], bool]

    def point(self, account_id: str, function: str, dataset: str, sent: Mapping[str, Any]) -> None:
        """
        See `PointSink`.
        """
        if not self.shares(account_id):
            raise ValueError("account")
        self.points.point(account_id, function, dataset, sent)


_check_points: type[PointSink] = SharedPoints
_check_loader: type[VersionLoader] = SharedVersions
_check_targets: type[CallTargets] = SharedTargets
