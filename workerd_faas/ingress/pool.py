"""Connections to cells and to the API: kept while idle, made when there is none."""

import asyncio
from functools import partial
from typing import Any, Protocol

from workerd_faas.domain.upstream import Upstream
from workerd_faas.ingress.heads import ResponseHeads
from workerd_faas.ingress.limits import RelayLimits
from workerd_faas.ingress.timers import Timers
from workerd_faas.ingress.upstream_connection import UpstreamConnection


class Wanting(Protocol):
    """
    Who waits for a connection; one of these is called once.
    """

    def connected(self, connection: UpstreamConnection) -> None:
        """
        It is there.
        """

    def refused(self, error: OSError) -> None:
        """
        There is none to be had.
        """


Connecting = asyncio.Task[tuple[Any, UpstreamConnection]]


class Pool:
    """
    All connections to upstreams. The last one used is the first one taken again, so that what a
    burst needed can go.

    Attributes:
        heads: What their responses' heads are.
    """

    def __init__(
        self, loop: asyncio.AbstractEventLoop, timers: Timers, limits: RelayLimits
    ) -> None:
        self.heads = ResponseHeads(limits)
        self._loop = loop
        self._timers = timers
        self._limits = limits
        self._most_idle = limits.idle_connections
        self._idle: dict[Upstream, list[UpstreamConnection]] = {}
        self._all: set[UpstreamConnection] = set()
        self._connecting: set[Connecting] = set()
        self._closed = False
        timers.each_tick(self._close_stale)

    def __len__(self) -> int:
        return len(self._all) + len(self._connecting)

    def take(self, upstream: Upstream) -> UpstreamConnection | None:
        """
        An idle connection, if there is one.
        """
        idle = self._idle.get(upstream)
        return idle.pop() if idle else None

    def connect(self, upstream: Upstream, wanting: Wanting) -> None:
        """
        Make a connection, then tell `wanting`.

        It cannot be taken back: uvloop forgets to tell a protocol of its end when the making of
        its connection is cancelled. It takes a round of the loop, so that is no loss.
        """
        task: Connecting = self._loop.create_task(
            self._loop.create_unix_connection(
                partial(UpstreamConnection, self, upstream), upstream.address
            )
        )
        self._connecting.add(task)
        task.add_done_callback(partial(self._connected, wanting))

    def _connected(self, wanting: Wanting, task: Connecting) -> None:
        self._connecting.discard(task)
        error = task.exception()
        if error is None:
            wanting.connected(task.result()[1])
        elif isinstance(error, OSError):
            wanting.refused(error)
        else:
            raise error

    def give_back(self, connection: UpstreamConnection) -> None:
        """
        The connection is between two requests.
        """
        idle = self._idle.get(connection.upstream)
        if idle is None:
            idle = self._first_idle(connection.upstream)
        if idle is None or len(idle) >= self._most_idle:
            connection.transport.close()
        else:
            connection.idle_since = self._timers.now
            idle.append(connection)

    def _first_idle(self, upstream: Upstream) -> list[UpstreamConnection] | None:
        if upstream.retired or self._closed:
            return None
        idle = self._idle[upstream] = []
        upstream.when_retired(partial(self._retired, upstream))
        return idle

    def made(self, connection: UpstreamConnection) -> None:
        """
        A connection is there.
        """
        self._all.add(connection)
        if self._closed:
            connection.transport.abort()

    def lost(self, connection: UpstreamConnection) -> None:
        """
        A connection is gone, or about to.
        """
        self._all.discard(connection)
        idle = self._idle.get(connection.upstream)
        if idle and connection in idle:
            idle.remove(connection)

    def close(self) -> None:
        """
        End all of them; those that are being made end as soon as they are.
        """
        self._closed = True
        for connection in list(self._all):
            connection.transport.abort()

    def cut(self, upstream: Upstream) -> None:
        """
        End all connections to one upstream, whatever is under way on them.
        """
        for connection in [one for one in self._all if one.upstream is upstream]:
            connection.transport.abort()

    def _retired(self, upstream: Upstream) -> None:
        for connection in self._idle.pop(upstream, ()):
            connection.transport.close()

    def _close_stale(self, now: float) -> None:
        oldest = now - self._limits.idle_connection_seconds
        for idle in self._idle.values():
            while idle and idle[0].idle_since <= oldest:
                idle.pop(0).transport.close()
