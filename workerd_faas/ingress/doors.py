"""
The relay on unix sockets of our own, one for each function cell.

What a cell asks of its account's state cell goes through one (`state_doors`), so that the state
cell is started when it is needed and replaced without a failure; what functions ask of those of
other accounts goes through another (`call_doors`), where it is looked whether they may.
"""

import asyncio
import contextlib
import socket
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Final

import attrs
from twisted.internet.defer import Deferred
from twisted.logger import Logger

from workerd_faas.domain.admission import UNBOUNDED, Admission
from workerd_faas.domain.routing import RoutingTable
from workerd_faas.domain.upstream import Upstream
from workerd_faas.ingress.client import ClientConnection
from workerd_faas.ingress.heads import RequestHeads
from workerd_faas.ingress.limits import RelayLimits
from workerd_faas.ingress.misses import Misses
from workerd_faas.ingress.passing import Passage
from workerd_faas.ingress.pool import Pool
from workerd_faas.ingress.relay import Relay
from workerd_faas.ingress.timers import Timers
from workerd_faas.usecases import ports

_BACKLOG: Final = 512


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


class RelayOnDoors:
    """
    `usecases.ports.Doors`, on a relay of its own.

    Args:
        reactor: Twisted's asyncio reactor (`workerd_faas.reactor`).
        cells: What is behind the doors.
        routes: Where hosts below `domain` lead.
        domain: What hosts are read as below.
        connection: Makes the protocol of a connection through the door of this account, or (None)
            through that of all, and is then given as `shares` who may ask there.
        admission: How many requests there may be; None: any number.

    Attributes:
        shares: Which accounts run in the cell of all.
    """

    _log = Logger()

    shares: Callable[[str], bool] | None = None

    def __init__(
        self,
        *,
        reactor: Any,
        cells: ports.Cells,
        routes: RoutingTable,
        domain: str,
        connection: Callable[..., ClientConnection],
        limits: RelayLimits,
        admission: Admission | None = None,
    ) -> None:
        self._loop = asyncio.get_event_loop_policy().get_event_loop()
        self._timers = Timers(reactor, limits.tick_seconds)
        self._connection = connection
        self._opening: set[asyncio.Task[None]] = set()
        self._relay = Relay(
            loop=self._loop,
            limits=limits,
            timers=self._timers,
            routes=routes,
            cells=cells,
            api=Upstream("", "none"),
            base_domain=domain,
            use_forwarded_host=False,
            proxies=(),
            access_log=False,
            pool=Pool(self._loop, self._timers, limits),
            heads=RequestHeads(limits, domain),
            misses=Misses(most=limits.misses_per_minute),
            admission=admission or Admission(UNBOUNDED),
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
        make_protocol = partial(self._connection, self._relay, account_id)
        if account_id is None and self.shares is not None:
            make_protocol = partial(make_protocol, shares=self.shares)
        accepting = self._loop.create_task(door.accept(self._loop, make_protocol))
        self._opening.add(accepting)
        accepting.add_done_callback(self._opened)
        return door

    async def serve_passed(self, passage: Passage) -> None:
        """
        Serve what comes for all accounts from the daemon whose place we take.
        """
        await passage.accept(self._loop, partial(self._connection, self._relay, None))

    def _opened(self, accepting: "asyncio.Task[None]") -> None:
        self._opening.discard(accepting)
        error = accepting.exception()
        if error is not None and not isinstance(error, OSError):
            self._log.error("a door does not open: {error}", error=repr(error))


_check: type[ports.Doors] = RelayOnDoors
