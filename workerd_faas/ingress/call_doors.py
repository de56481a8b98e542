"""Doors to the functions of other accounts, for those that these are granted to."""

import asyncio
import random
import re
from collections.abc import Callable
from functools import partial
from typing import Any, Final

import attrs

from workerd_faas.domain.admission import Admission
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
from workerd_faas.wire.headers import CALLED, PROBLEM

_DOMAIN: Final = "call"

_CALLED_BY: Final = re.compile(rb"/([0-9a-f]{32})/([0-9a-f]{32})")
"""Exactly this, so that no other part of a URL can end up in the place of an account."""

_NOT_GRANTED: Final = Problem(
    kind=Kind.FUNCTION_NOT_FOUND,
    message="There is no function of this name that this account may call.",
)
"""The same whether there is one or not."""


class _CallConnection(ClientConnection):
    """
    A function cell's connection. Requests come as `[<selector>.]<function>.call`, and their path is
    `/<owner>/<caller>`: who calls is fixed by the door that it came through; behind the door of a
    cell that all accounts share the path says it, which only the router sets.

    The callee's router learns from the version's name that this is a call, and reads the request
    that the caller made out of a field that outsiders can send as well.
    """

    __slots__ = ("_account", "_rights", "_shares")

    problem_lines = f"{PROBLEM}: 1\r\n".encode()

    def __init__(
        self,
        rights: ports.CallRights,
        relay: Relay,
        account_id: str | None,
        shares: Callable[[str], bool] = lambda _: True,
    ) -> None:
        super().__init__(relay)
        self._shares = shares
        self._rights = rights
        self._account = account_id

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._client = attrs.evolve(self._client, key=self._account or "all", lines=b"")

    def _route(self, place: Place, client: Client, request: Request) -> Route | Problem | None:
        said = _CALLED_BY.fullmatch(request.target)
        if said is None:
            return _NOT_GRANTED
        owner, caller = (part.decode("ascii") for part in said.groups())
        if self._account is None and not self._shares(caller):
            return _NOT_GRANTED
        if not isinstance(place, FunctionHost) or not self._rights.may_call(
            self._account or caller, place.function, owner
        ):
            return _NOT_GRANTED
        # Not by `route_of`: what is closed to the outside may be open to callers.
        position = random.random() * 100  # noqa: S311 — a share of the traffic is no secret
        try:
            route = self._relay.routes.resolve(place.function, place.selector, position)
        except Problem as problem:
            return problem
        return attrs.evolve(route, version_id=CALLED + route.version_id)


def call_doors(
    *,
    reactor: Any,
    cells: ports.Cells,
    routes: RoutingTable,
    rights: ports.CallRights,
    limits: RelayLimits | None = None,
    admission: Admission | None = None,
) -> RelayOnDoors:
    """
    Doors to functions. Whatever `rights` go by, `routes.changes` must go up when a right is taken
    away: requests that are like the last one on their connection are routed once.

    Args:
        reactor: Twisted's asyncio reactor (`workerd_faas.reactor`).
        cells: The function cells.
        admission: How many requests functions may have; None: any number.
    """
    return RelayOnDoors(
        reactor=reactor,
        cells=cells,
        routes=routes,
        domain=_DOMAIN,
        connection=partial(_CallConnection, rights),
        limits=limits or RelayLimits(),
        admission=admission,
    )
