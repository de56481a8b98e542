"""
The relay on unix sockets of our own: what a function cell asks of its account's state cell goes
through here, so that the state cell is started when it is needed and replaced without a failure.
"""

import asyncio
import contextlib
import socket
from functools import partial
from pathlib import Path
from typing import Any, Final

import attrs
from twisted.internet.defer import Deferred
from twisted.logger import Logger

from workerd_faas.domain.errors import Kind, Problem
from workerd_faas.domain.routing import Route, RoutingTable
from workerd_faas.domain.upstream import Upstream
from workerd_faas.ingress.client import ClientConnection
from workerd_faas.ingress.headers import Request
from workerd_faas.ingress.heads import RequestHeads
from workerd_faas.ingress.hosts import FunctionHost, Place
from workerd_faas.ingress.limits import RelayLimits
from workerd_faas.ingress.misses import Misses
from workerd_faas.ingress.peers import Client
from workerd_faas.ingress.pool import Pool
from workerd_faas.ingress.relay import Relay
from workerd_faas.ingress.timers import Timers
from workerd_faas.usecases import ports

_BACKLOG: Final = 512
_DOMAIN: Final = "state"

_NO_ACCOUNT: Final = Problem(
    kind=Kind.HOST_INVALID, message="The Host header must name an account's state."
)


class _DoorConnection(ClientConnection):
    """
    A function cell's connection. Whose state it reaches is fixed by the door that it came through;
    behind the door of a cell that all accounts share the host says it, which only the router sets.
    """

    __slots__ = ("_fixed",)

    def __init__(self, relay: Relay, fixed: Route | None) -> None:
        super().__init__(relay)
        self._fixed = fixed

    def _route(self, place: Place, client: Client, request: Request) -> Route | Problem | None:
        if self._fixed is not None:
            return self._fixed
        return _route_to(place.function) if isinstance(place, FunctionHost) else _NO_ACCOUNT


def _route_to(account_id: str) -> Route:
    return Route(account_id, "state", "")


@attrs.define(eq=False)
class Door:
    """
    One open door: `usecases.ports.Door`.
    """

    _socket: socket.socket
    _path: Path
    _server: asyncio.AbstractServer | None = None
    _closed: bool = False

    async def accept(self, loop: asyncio.AbstractEventLoop, make_protocol: Any) -> None:
        """
        Begin to accept.
        """
        server = await loop.create_unix_server(make_protocol, sock=self._socket)
        if self._closed:
            server.close()
        else:
            self._server = server

    def close(self) -> None:
        """
        See `usecases.ports.Door.close`.
        """
        self._closed = True
        server, self._server = self._server, None
        if server is not None:
            server.close()
        self._socket.close()
        with contextlib.suppress(OSError):
            self._path.unlink()


class Doors:
    """
    `usecases.ports.Doors`, on a relay of its own.

    Args:
        reactor: Twisted's asyncio reactor (`workerd_faas.reactor`).
        cells: The state cells.
    """

    _log = Logger()

    def __init__(
        self, *, reactor: Any, cells: ports.Cells, limits: RelayLimits | None = None
    ) -> None:
        limits = limits or RelayLimits()
        self._loop = asyncio.get_event_loop_policy().get_event_loop()
        self._timers = Timers(reactor, limits.tick_seconds)
        self._opening: set[asyncio.Task[None]] = set()
        self._relay = Relay(
            loop=self._loop,
            limits=limits,
            timers=self._timers,
            routes=RoutingTable(),
            cells=cells,
            api=Upstream("", "none"),
            base_domain=_DOMAIN,
            use_forwarded_host=False,
            proxies=(),
            access_log=False,
            pool=Pool(self._loop, self._timers, limits),
            heads=RequestHeads(limits, _DOMAIN),
            misses=Misses(most=limits.misses_per_minute),
        )

    async def start(self) -> None:
        """
        Watch over time limits from now on.
        """
        self._timers.start()

    async def stop(self) -> None:
        """
        Cut off whatever is left: the function cells are gone.
        """
        self._relay.draining = True
        for connection in list(self._relay.connections):
            connection.cut()
        self._relay.pool.close()
        if self._opening:
            await Deferred.fromFuture(asyncio.ensure_future(asyncio.wait(self._opening)))
        self._timers.stop()

    def open(self, path: Path, account_id: str | None) -> Door:
        """
        See `usecases.ports.Doors.open`.
        """
        listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        try:
            listening.setblocking(False)
            listening.bind(str(path))
            path.chmod(0o600)
            listening.listen(_BACKLOG)
        except OSError:
            listening.close()
            raise
        door = Door(listening, path)
        fixed = None if account_id is None else _route_to(account_id)
        accepting = self._loop.create_task(
            door.accept(self._loop, partial(_DoorConnection, self._relay, fixed))
        )
        self._opening.add(accepting)
        accepting.add_done_callback(self._opened)
        return door

    def _opened(self, accepting: "asyncio.Task[None]") -> None:
        self._opening.discard(accepting)
        error = accepting.exception()
        if error is not None and not isinstance(error, OSError):
            self._log.error("a door does not open: {error}", error=repr(error))


_check: type[ports.Doors] = Doors
