"""
When another daemon takes this one's place: what still comes to this one is passed on to it, over
two unix sockets of the other one's: one for requests, one for what functions ask of their state.
"""

import asyncio
import contextlib
import os
import socket
from collections.abc import Callable
from pathlib import Path

import attrs

from workerd_faas.domain.errors import Problem
from workerd_faas.domain.routing import Route
from workerd_faas.domain.upstream import Upstream
from workerd_faas.ingress.client import ClientConnection
from workerd_faas.usecases import ports

_BACKLOG = 4096

Then = Callable[[Upstream | Problem], None]


def bound(path: Path) -> socket.socket:
    """
    A socket that listens at `path`, for us alone. What connects waits until somebody accepts.

    Raises:
        OSError: it cannot be made.
    """
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        listening.setblocking(False)
        listening.bind(os.fspath(path))
        path.chmod(0o600)
        listening.listen(_BACKLOG)
    except OSError:
        listening.close()
        raise
    return listening


@attrs.define(eq=False)
class Passage:
    """
    One of the two sockets, at the end of the daemon that takes over.
    """

    path: Path
    _socket: socket.socket
    _server: asyncio.AbstractServer | None = None

    @classmethod
    def open(cls, path: Path) -> "Passage":
        """
        Let connections come, and wait.

        Raises:
            OSError: the socket cannot be made.
        """
        return cls(path, bound(path))

    async def accept(
        self, loop: asyncio.AbstractEventLoop, make_protocol: Callable[[], asyncio.BaseProtocol]
    ) -> None:
        """
        Take what has come and what comes.
        """
        self._server = await loop.create_unix_server(
            make_protocol, sock=self._socket.dup(), backlog=_BACKLOG
        )

    def close(self) -> None:
        """
        Nobody comes any more. Idempotent.
        """
        server, self._server = self._server, None
        if server is not None:
            server.close()
        self._socket.close()
        with contextlib.suppress(OSError):
            self.path.unlink()


class PassedConnection(ClientConnection):
    """
    Requests that the daemon before us passes on: who their clients are it knows, and says.
    """

    __slots__ = ()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.peer = attrs.evolve(self.peer, trusted=True)


@attrs.define(eq=False)
class _Wish:
    route: Route
    then: Then
    withdraw: Callable[[], None] | None = None


class PassedCells:
    """
    `usecases.ports.Cells` that can be succeeded: from then on there is one upstream for all.
    """

    def __init__(self, cells: ports.Cells) -> None:
        self._cells = cells
        self._holding = False
        self._successor: Upstream | None = None
        self._wishes: dict[_Wish, None] = {}

    def upstream(self, route: Route) -> Upstream | None:
        """
        See `Cells`.
        """
        if self._holding:
            return None
        return self._successor or self._cells.upstream(route)

    def when_ready(self, route: Route, then: Then) -> Callable[[], None]:
        """
        See `Cells`.
        """
        wish = _Wish(route, then)
        self._wishes[wish] = None
        if not self._holding:
            self._ask(wish)
        return lambda: self._withdraw(wish)

    def version_removed(self, account_id: str, version_id: str) -> None:
        """
        See `Cells`.
        """
        self._cells.version_removed(account_id, version_id)

    def hold(self) -> None:
        """
        Who asks from now on, and who waits, waits until it is known whom to ask.
        """
        self._holding = True
        for wish in self._wishes:
            if wish.withdraw is not None:
                wish.withdraw()
                wish.withdraw = None

    def pass_on(self, successor: Upstream) -> None:
        """
        All go there.
        """
        self._holding, self._successor = False, successor
        wishes, self._wishes = self._wishes, {}
        for wish in wishes:
            wish.then(successor)

    def take_back(self) -> None:
        """
        All go where they went before `hold`.
        """
        self._holding = False
        for wish in tuple(self._wishes):
            self._ask(wish)

    def _ask(self, wish: _Wish) -> None:
        if self._successor is not None:
            del self._wishes[wish]
            wish.then(self._successor)
        elif wish.withdraw is None:
            wish.withdraw = self._cells.when_ready(
                wish.route, lambda found: self._granted(wish, found)
            )

    def _granted(self, wish: _Wish, found: Upstream | Problem) -> None:
        if wish in self._wishes:
            del self._wishes[wish]
            wish.then(found)

    def _withdraw(self, wish: _Wish) -> None:
        if self._wishes.pop(wish, self) is None and wish.withdraw is not None:
            wish.withdraw()


_check: type[ports.Cells] = PassedCells
