"""Doors to the state cells."""

from collections.abc import Callable
from typing import Any, Final

from workerd_faas.domain.errors import Kind, Problem
from workerd_faas.domain.routing import Route, RoutingTable
from workerd_faas.ingress.client import ClientConnection
from workerd_faas.ingress.doors import RelayOnDoors
from workerd_faas.ingress.headers import Request
from workerd_faas.ingress.hosts import FunctionHost, Place
from workerd_faas.ingress.limits import RelayLimits
from workerd_faas.ingress.peers import Client
from workerd_faas.ingress.relay import Relay
from workerd_faas.usecases import ports

_DOMAIN: Final = "state"

_NO_ACCOUNT: Final = Problem(
    kind=Kind.HOST_INVALID, message="The Host header must name an account's state."
)


class _StateConnection(ClientConnection):
    """
    A function cell's connection. Whose state it reaches is fixed by the door that it came through;
    behind the door of a cell that all accounts share the host says it, which only the router sets.
    """

    __slots__ = ("_fixed", "_shares")

    def __init__(
        self,
        relay: Relay,
        account_id: str | None,
        shares: Callable[[str], bool] = lambda _: True,
    ) -> None:
        super().__init__(relay)
        self._shares = shares
        self._fixed = None if account_id is None else _route_to(account_id)

    def _route(self, place: Place, client: Client, request: Request) -> Route | Problem | None:
        if self._fixed is not None:
            return self._fixed
        if isinstance(place, FunctionHost) and self._shares(place.function):
            return _route_to(place.function)
        return _NO_ACCOUNT


def _route_to(account_id: str) -> Route:
    return Route(account_id, "state", "")


def state_doors(
    *, reactor: Any, cells: ports.Cells, limits: RelayLimits | None = None
) -> RelayOnDoors:
    """
    Doors to the accounts' state.

    Args:
        reactor: Twisted's asyncio reactor (`workerd_faas.reactor`).
        cells: The state cells.
    """
    return RelayOnDoors(
        reactor=reactor,
        cells=cells,
        routes=RoutingTable(),
        domain=_DOMAIN,
        connection=_StateConnection,
        limits=limits or RelayLimits(),
    )
