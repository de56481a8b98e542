"""What all connections of the public port share, and the decisions they ask it for."""

import asyncio
import binascii
import os
import random
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, ClassVar, Final, Protocol

import attrs
from twisted.logger import Logger

from workerd_faas.domain.admission import UNBOUNDED, Admission, Meter
from workerd_faas.domain.errors import Problem
from workerd_faas.domain.names import is_version_prefix
from workerd_faas.domain.routing import Route, RoutingTable, sticky_position
from workerd_faas.domain.upstream import Upstream
from workerd_faas.ingress.headers import Request
from workerd_faas.ingress.heads import RequestHeads
from workerd_faas.ingress.hosts import FunctionHost, Place
from workerd_faas.ingress.limits import RelayLimits
from workerd_faas.ingress.memo import Memo
from workerd_faas.ingress.misses import Misses
from workerd_faas.ingress.peers import Client, Network, Peer, forwarded_client
from workerd_faas.ingress.pool import Pool
from workerd_faas.ingress.silence import Silence
from workerd_faas.ingress.timers import Timers
from workerd_faas.usecases.ports import Cells

if TYPE_CHECKING:
    from workerd_faas.ingress.client import ClientConnection

_CLIENTS: Final = 512
"""Clients behind proxies that are remembered, twice over."""

_TIDY: Final = 60.0
"""Seconds between two looks for meters that can be forgotten."""

_REPORTED_PER_TICK: Final = 20
"""Failures logged one by one in a tick; the rest is counted."""


def request_ids() -> Iterator[bytes]:
    """
    Random ids of 16 hex digits, without end.
    """
    while True:
        digits = binascii.hexlify(os.urandom(4096))
        for at in range(0, len(digits), 16):
            yield digits[at : at + 16]


def _shown(host: bytes) -> str:
    """
    For the log, which may be read on a terminal: bytes outside ASCII could be commands to it.
    """
    return host.decode("ascii", "backslashreplace")


class Connected(Protocol):
    """
    One client's connection, in whatever state.
    """

    def drain(self) -> None:
        """
        The daemon is about to stop: end when it does no harm.
        """

    def drained_out(self) -> None:
        """
        The time for that is over: end with as little harm as possible.
        """

    def cut(self) -> None:
        """
        End now.
        """

    def function_in(self, upstream: Upstream) -> str | None:
        """
        The function that runs there for it, if one does.
        """


@attrs.define(eq=False, kw_only=True)
class Relay:
    """
    The relay's memory.

    Attributes:
        most_connections: Clients at once.
        connections: Every client's connection.
        silence: Of them, those from which nothing is read for the moment.
        admission: How many requests functions and accounts may have.
        meter_of: The meter of a function, if it can be used as it is.
        draining: Nothing new is begun.
        idle_seconds: How long a client's connection may be without a request.
        api: Where requests to the API go; None: for a moment nobody knows.
        passing: All requests go to the daemon that takes our place, which `api` stands for then.
        held: Connections whose requests wait until it is known where they go; None: it is.
        in_flight: Requests and tunnels that occupy an upstream or wait for one.
    """

    loop: asyncio.AbstractEventLoop
    limits: RelayLimits
    timers: Timers
    routes: RoutingTable
    cells: Cells
    api: Upstream | None
    base_domain: str
    use_forwarded_host: bool
    proxies: Sequence[Network]
    access_log: bool
    pool: Pool
    heads: RequestHeads
    misses: Misses
    admission: Admission = attrs.Factory(lambda: Admission(UNBOUNDED))
    most_connections: int = 50_000
    request_ids: Iterator[bytes] = attrs.Factory(request_ids)
    connections: set[Connected] = attrs.Factory(set)
    silence: Silence = attrs.Factory(Silence)
    draining: bool = False
    idle_seconds: float = attrs.field(init=False)
    passing: bool = False
    held: "set[ClientConnection] | None" = None
    in_flight: int = 0
    tunnels: int = 0
    _clients: Memo[tuple[Peer, bytes | None, bytes | None], Client] = attrs.Factory(
        lambda: Memo(_CLIENTS)
    )
    _waiting: dict[Upstream, dict[Callable[[], None], None]] = attrs.Factory(dict)
    _wishes: dict[Callable[[Upstream], None], None] = attrs.Factory(dict)
    _failures: int = 0
    _next_tidy: float = 0.0
    meter_of: Callable[[str], Meter | None] = attrs.field(init=False)
    _log: ClassVar[Logger] = Logger()

    @idle_seconds.default
    def _keep_alive(self) -> float:
        return self.limits.keep_alive_seconds

    def __attrs_post_init__(self) -> None:
        # Where rates have to be known, no meter is taken without a look at the time.
        self.meter_of = (lambda _: None) if self.admission.rated else self.admission.known
        self.timers.each_tick(self._report_failures)
        self.timers.each_tick(self.silence.look)
        self.timers.each_tick(self._tidy)

    def client_of(self, peer: Peer, request: Request) -> Client:
        """
        Who sends a request through a trusted proxy.
        """
        key = (peer, request.forwarded_for, request.forwarded_proto)
        client = self._clients.get(key)
        if client is None:
            client = forwarded_client(
                peer, request.forwarded_for, request.forwarded_proto, self.proxies
            )
            self._clients.offer(key, client)
        return client

    def has_shares(self, place: Place) -> bool:
        """
        Whether several versions answer there, so that each request has to be routed by itself.
        """
        return (
            isinstance(place, FunctionHost)
            and place.selector in (None, "latest")
            and self.routes.is_sticky(place.function)
        )

    def route_of(self, place: FunctionHost, client: Client, request: Request) -> Route:
        """
        The version that a request is for.

        Raises:
            Problem: there is none, or the client has guessed too often.
        """
        function, selector = place.function, place.selector
        if selector is None or selector == "latest":
            sole = self.routes.sole(function)
            if sole is not None:
                return sole
            key = request.version_key
            # A share of the traffic is no secret.
            position = random.random() * 100 if key is None else sticky_position(function, key)  # noqa: S311
            return self.routes.resolve_host(function, None, position)
        if not is_version_prefix(selector) or self.routes.has_alias(function, selector):
            return self.routes.resolve_host(function, selector, 0.0)
        self.misses.check(client.key, self.timers.now)
        try:
            return self.routes.resolve_host(function, selector, 0.0)
        except Problem:
            self.misses.missed(client.key, self.timers.now)
            raise

    def when_api(self, then: Callable[[Upstream], None]) -> Callable[[], object]:
        """
        Call `then` when `api` is known again.

        Returns:
            A function that takes the wish back.
        """
        self._wishes[then] = None
        return partial(self._wishes.pop, then, None)

    def settle(self, api: Upstream, *, passing: bool) -> None:
        """
        It is known again where requests go.
        """
        self.api, self.passing = api, passing
        self.routes.changes += 1  # So that no connection goes the way it remembers.
        wishes, self._wishes = self._wishes, {}
        for then in wishes:
            then(api)
        held, self.held = self.held or (), None
        for connection in held:
            connection.released()

    def when_retired(self, upstream: Upstream, then: Callable[[], None]) -> Callable[[], None]:
        """
        Call `then` when the upstream is retired; at once if it is. The wish can be taken back, so
        that an upstream which never is retired does not gather them.

        Returns:
            A function that takes it back.
        """
        if upstream.retired:
            then()
            return lambda: None
        waiting = self._waiting.get(upstream)
        if waiting is None:
            waiting = self._waiting[upstream] = {}
            upstream.when_retired(partial(self._retired, upstream))
        waiting[then] = None
        return partial(waiting.pop, then, None)

    def _retired(self, upstream: Upstream) -> None:
        for then in list(self._waiting.pop(upstream, ())):
            then()

    def failed(self, *, ray: bytes, host: bytes, upstream: str, reason: str) -> None:
        """
        Log trouble with an upstream, but not without bound.
        """
        self._failures += 1
        if self._failures <= _REPORTED_PER_TICK:
            self._log.error(
                "request {ray} for {host}: {upstream}: {reason}",
                ray=ray.decode("ascii"),
                host=_shown(host),
                upstream=upstream,
                reason=reason,
            )

    def functions_in(self, upstream: Upstream) -> set[str]:
        """
        The functions with requests in flight there. It looks at every connection: for rare use.
        """
        found = (connection.function_in(upstream) for connection in self.connections)
        return {function for function in found if function is not None}

    def _tidy(self, now: float) -> None:
        if now >= self._next_tidy:
            self._next_tidy = now + _TIDY
            # Rates, if there are any, go by the loop's time.
            self.admission.tidy(self.loop.time())

    def _report_failures(self, _now: float) -> None:
        if self._failures > _REPORTED_PER_TICK:
            self._log.error(
                "{count} more requests failed", count=self._failures - _REPORTED_PER_TICK
            )
        self._failures = 0

    def answered(
        self,
        *,
        ray: bytes,
        client: Client,
        request: Request | None,
        route: Route | None,
        status: int,
        sent: int,
        began: float,
    ) -> None:
        """
        Write the access log.

        Args:
            request: None: it could not be read.
        """
        id_ = ray.decode("ascii")
        if request is None:
            method, asked, target = "-", "-", ""
        else:
            method, asked = request.method.decode("ascii"), _shown(request.host)
            target = request.target.partition(b"?")[0].decode("ascii")
        seconds = round(self.loop.time() - began, 6)
        # Made here and not by the logger, which takes longer for it than the relay for a request.
        line = f"{id_} {client.name} {method} {asked}{target} {status} {sent} bytes in {seconds} s"
        self._log.info(
            "{log_line}",
            log_line=line,
            ray=id_,
            client=client.name,
            method=method,
            host=asked,
            target=target,
            function=None if route is None else route.function,
            version=None if route is None else route.version_id,
            status=status,
            bytes=sent,
            seconds=seconds,
        )
