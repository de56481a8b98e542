"""Who answers when one function calls another."""

from collections.abc import Sequence

import attrs

from workerd_faas.domain.errors import Kind, Problem
from workerd_faas.domain.routing import RoutingTable
from workerd_faas.usecases.ports import CallTargets


@attrs.frozen
class AccountTargets:
    """
    `usecases.ports.CallTargets` by the routing table: an account's functions call its own.
    """

    _routes: RoutingTable

    def shares(
        self, account_id: str, function: str, selector: str | None
    ) -> Sequence[tuple[float, str]]:
        """
        See `usecases.ports.CallTargets.shares`.
        """
        if self._routes.owner(function) != account_id:
            raise Problem(
                kind=Kind.TARGET_NOT_FOUND,
                message="There is no function of this name on this account any more.",
            )
        return [(end, route.version_id) for end, route in self._routes.shares(function, selector)]


_check: type[CallTargets] = AccountTargets
