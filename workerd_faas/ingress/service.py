"""The public port as the rest of the daemon sees it."""

import asyncio
import contextlib
import os
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import attrs
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure

from workerd_faas.domain.admission import UNBOUNDED, Admission
from workerd_faas.domain.routing import RoutingTable
from workerd_faas.domain.upstream import Upstream
from workerd_faas.ingress.client import ClientConnection
from workerd_faas.ingress.descriptors import room_for_connections
from workerd_faas.ingress.heads import RequestHeads
from workerd_faas.ingress.limits import RelayLimits
from workerd_faas.ingress.listen import ListeningPort, open_port
from workerd_faas.ingress.misses import Misses
from workerd_faas.ingress.passing import Passage, PassedConnection
from workerd_faas.ingress.peers import Network
from workerd_faas.ingress.pool import Pool
from workerd_faas.ingress.relay import Relay
from workerd_faas.ingress.timers import Timers
from workerd_faas.usecases.ports import Cells

_POLL_SECONDS = 0.02
_STOP_SECONDS = 5.0


@attrs.frozen(kw_only=True)
class Stats:
    """
    What goes on at the moment.

    Attributes:
        connections: Of clients, tunnels included.
        in_flight: Requests and tunnels that occupy an upstream or wait for one.
        tunnels: Upgraded connections.
        upstream_connections: To cells and to the API, idle ones included.
    """

    connections: int
    in_flight: int
    tunnels: int
    upstream_connections: int


class Ingress:
    """
    Listens, routes by host, relays.

    Args:
        reactor: Twisted's asyncio reactor (`workerd_faas.reactor`).
        listen: Endpoint strings; see `listen.listen`.
        base_domain: Lower case, no final dot: the API's host, and the parent of functions' hosts.
        api: Where the API answers.
        use_forwarded_host: Route by `X-Forwarded-Host`, from trusted proxies only.
        trusted_proxies: Whose `X-Forwarded-*` are believed. A peer on a unix socket is believed
            if 127.0.0.1 is.
        admission: How many requests functions and accounts may have; None: any number.
        access_log: Log every request, not only what fails.
    """

    def __init__(
        self,
        *,
        reactor: Any,
        listen: Sequence[str],
        base_domain: str,
        routes: RoutingTable,
        cells: Cells,
        api: Upstream,
        use_forwarded_host: bool = False,
        trusted_proxies: Sequence[Network] = (),
        limits: RelayLimits | None = None,
        admission: Admission | None = None,
        access_log: bool = False,
    ) -> None:
        self._reactor = reactor
        self._listen = tuple(listen)
        self._ports: list[ListeningPort] = []
        self._api = api
        limits = limits or RelayLimits()
        # `workerd_faas.reactor` has made this loop the thread's own.
        loop = asyncio.get_event_loop_policy().get_event_loop()
        timers = Timers(reactor, limits.tick_seconds)
        self._relay = Relay(
            loop=loop,
            limits=limits,
            timers=timers,
            routes=routes,
            cells=cells,
            api=api,
            base_domain=base_domain,
            use_forwarded_host=use_forwarded_host,
            proxies=tuple(trusted_proxies),
            access_log=access_log,
            most_connections=room_for_connections(limits.connections),
            pool=Pool(loop, timers, limits),
            heads=RequestHeads(limits, base_domain),
            misses=Misses(most=limits.misses_per_minute),
            admission=admission or Admission(UNBOUNDED),
        )
        self._next_look = 0.0
        timers.each_tick(self._look_at_ports)

    _log = Logger()

    async def open(self, inherited: Mapping[str, int] | None = None) -> None:
        """
        Open the ports, without serving yet.

        Args:
            inherited: By endpoint, descriptors of sockets that listen already; those that are
                not ours any more are closed.

        Raises:
            ListenError: one of them cannot be opened; then none is left open.
        """
        given = dict(inherited or {})
        try:
            for endpoint in self._listen:
                port = await open_port(
                    endpoint,
                    reactor=self._reactor,
                    loop=self._relay.loop,
                    make_protocol=partial(ClientConnection, self._relay),
                    inherited=given.pop(endpoint, None),
                )
                self._ports.append(port)
            for descriptor in given.values():
                os.close(descriptor)
        except BaseException:
            await self._close_ports()
            raise

    async def start(self) -> None:
        """
        Serve, on ports that are opened now if they were not before.

        Raises:
            ListenError: one of them cannot be opened; then none is left open.
        """
        loop = self._relay.loop
        if loop.get_exception_handler() is None:
            loop.set_exception_handler(self._report)
        self._relay.timers.start()
        try:
            if not self._ports:
                await self.open()
            for port in self._ports:
                await port.accept()
                self._log.info("listening on {endpoint}", endpoint=port.endpoint)
        except BaseException:
            await self.stop()
            raise

    # When another daemon takes our place, or we take another one's.

    @property
    def descriptors(self) -> Mapping[str, int]:
        """
        The listening sockets, by endpoint.
        """
        return {port.endpoint: port.fileno() for port in self._ports}

    async def serve_passed(self, passage: Passage) -> None:
        """
        Serve what the daemon before us passes on.
        """
        await passage.accept(self._relay.loop, partial(PassedConnection, self._relay))

    async def hold_api(self, seconds: float) -> None:
        """
        New requests to the API wait from now on; wait for those under way, for so long at most,
        and cut off the others.
        """
        own = self._api
        self._relay.api = None
        await self._until(lambda: not own.in_flight, seconds)
        self._relay.pool.cut(own)

    def hold_all(self) -> None:
        """
        All new requests wait from now on, and new connections in the kernel. Function cells go on
        with what they have.
        """
        self._relay.held = set()
        for port in self._ports:
            port.pause()

    def pass_on(self, address: str) -> None:
        """
        What waits and what still comes goes there, and new connections are another daemon's.
        """
        self._relay.settle(Upstream(address, "the next daemon"), passing=True)

    async def take_back(self) -> None:
        """
        Serve again as before `hold_api`.
        """
        self._relay.settle(self._api, passing=False)
        for port in self._ports:
            if not port.accepting:
                await port.accept()

    @property
    def addresses(self) -> tuple[Any, ...]:
        """
        What the ports are bound to: Twisted addresses, in the order of `listen`.
        """
        return tuple(port.address for port in self._ports)

    def reload(self) -> None:
        """
        Read the certificates again; the old ones stay where the new ones cannot be used.
        """
        for port in self._ports:
            if port.certificates is not None:
                port.certificates.reload()

    def stats(self) -> Stats:
        """
        What goes on at the moment.
        """
        relay = self._relay
        return Stats(
            connections=len(relay.connections),
            in_flight=relay.in_flight,
            tunnels=relay.tunnels,
            upstream_connections=len(relay.pool),
        )

    async def drain(self, seconds: float) -> None:
        """
        Accept no more and let what is under way come to its end, for so long at most.

        Responses say `Connection: close` from now on, and connections that stay idle for a moment
        are closed. When the time is over, WebSockets get a close frame (1012), and the rest is cut
        off.
        """
        relay = self._relay
        secured = any(port.certificates is not None for port in self._ports)
        relay.draining = True
        relay.idle_seconds = relay.limits.last_request_seconds
        await self._close_ports()
        for connection in list(relay.connections):
            connection.drain()
        if secured:  # Nobody says how many handshakes are under way.
            await self._until(lambda: False, min(seconds, relay.idle_seconds))
        await self._until(lambda: not relay.connections, seconds)
        for connection in list(relay.connections):
            connection.drained_out()
        grace = relay.limits.tunnel_close_seconds + 2 * relay.limits.tick_seconds
        await self._until(lambda: not relay.connections, grace)

    async def stop(self) -> None:
        """
        Cut off whatever is left. Idempotent.
        """
        relay = self._relay
        relay.draining = True
        await self._close_ports()
        for connection in list(relay.connections):
            connection.cut()
        relay.pool.close()
        await self._until(lambda: not relay.connections and not len(relay.pool), _STOP_SECONDS)
        relay.timers.stop()
        if relay.loop.get_exception_handler() == self._report:
            relay.loop.set_exception_handler(None)

    async def _close_ports(self) -> None:
        ports, self._ports = self._ports, []
        for port in ports:
            with contextlib.suppress(OSError):
                if self._relay.passing:
                    port.leave()
                else:
                    await port.close()

    async def _until(self, done: Callable[[], bool], seconds: float) -> None:
        end = self._reactor.seconds() + seconds
        while not done() and self._reactor.seconds() < end:
            await deferLater(self._reactor, _POLL_SECONDS)

    def _report(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """
        A bug met in a callback of the loop; it has cost one connection at most.
        """
        error = context.get("exception")
        if isinstance(error, Exception):
            self._log.failure("{message}", Failure(error), message=context["message"])
        else:
            self._log.error("{message}", message=context["message"])

    def _look_at_ports(self, now: float) -> None:
        for port in self._ports:
            port.revive()
        if now >= self._next_look:
            self._next_look = now + self._relay.limits.certificate_seconds
            for port in self._ports:
                if port.certificates is not None:
                    port.certificates.reload_if_changed()
