"""A connection whose protocol has changed (101): bytes both ways until both sides are done."""

import asyncio
import os
from collections.abc import Callable
from typing import TYPE_CHECKING

from workerd_faas.domain.admission import Meter, leave
from workerd_faas.domain.upstream import Upstream
from workerd_faas.ingress.linger import linger
from workerd_faas.ingress.sockets import unread
from workerd_faas.ingress.timers import NEVER
from workerd_faas.ingress.websocket import RESTART, Frames, close_frame

if TYPE_CHECKING:
    from workerd_faas.ingress.relay import Relay


def open_tunnel(
    relay: "Relay",
    *,
    upstream: Upstream,
    function: str,
    meter: Meter | None,
    client: asyncio.Transport,
    cell: asyncio.Transport,
    to_client: bytes,
    from_cell: bytes,
    from_client: bytes,
    websocket: bool,
) -> None:
    """
    Join two transports. The tunnel occupies `upstream` until it ends.

    Args:
        function: Whose it is.
        meter: What it counts in until then.
        to_client: The head that tells the client about the change.
        from_cell, from_client: What came after the two heads.
    """
    tunnel = Tunnel(relay, upstream, function, meter, client, cell, websocket=websocket)
    client.set_protocol(tunnel.client)
    cell.set_protocol(tunnel.cell)
    client.write(to_client)
    if from_cell:
        tunnel.cell.data_received(from_cell)
    if from_client:
        tunnel.client.data_received(from_client)


class End(asyncio.Protocol):
    """
    One end of a tunnel.

    Attributes:
        other: The opposite end.
        frames: Follows what comes in here, if it is a WebSocket.
        eof: Nothing more will come in here.
        lost: It is gone.
        told: It was sent our close frame, so nothing else must follow.
    """

    __slots__ = ("_tunnel", "eof", "frames", "lost", "other", "told", "transport")

    other: "End"

    def __init__(
        self, tunnel: "Tunnel", transport: asyncio.Transport, frames: Frames | None
    ) -> None:
        self._tunnel = tunnel
        self.transport = transport
        self.frames = frames
        self.eof = False
        self.lost = False
        self.told = False

    def data_received(self, data: bytes) -> None:
        if self.frames is not None:
            self.frames.feed(data)
        other = self.other
        if not other.told and not other.lost:
            other.transport.write(data)
        if other.eof:
            self._tunnel.flowing = True
        if self._tunnel.closing:
            self._tunnel.go_on_closing()

    def eof_received(self) -> bool:
        self.eof = True
        if self.other.eof or self.other.lost or not self.other.transport.can_write_eof():
            self._tunnel.close()
            return False
        self.other.transport.write_eof()
        self._tunnel.half_closed()
        return self.transport.can_write_eof()

    def connection_lost(self, exc: Exception | None) -> None:
        if exc is not None and self is self._tunnel.cell:
            for data in unread(self.transport):
                self.data_received(data)
        self.lost = True
        self._tunnel.end_lost(self)

    def pause_writing(self) -> None:
        self._tunnel.silence(self.other)

    def resume_writing(self) -> None:
        self._tunnel.listen(self.other)

    def cut(self) -> None:
        """
        See `Silenced`.
        """
        self._tunnel.cut()


class Tunnel:
    """
    The pair.

    Attributes:
        deadline: See `Timed`.
        flowing: After one side has ended its half, something has come from the other one.
        closing: The daemon ends it, as soon as the frames under way are complete.
    """

    __slots__ = (
        "_function",
        "_meter",
        "_relay",
        "_upstream",
        "_withdraw",
        "cell",
        "client",
        "closing",
        "deadline",
        "flowing",
    )

    def __init__(
        self,
        relay: "Relay",
        upstream: Upstream,
        function: str,
        meter: Meter | None,
        client: asyncio.Transport,
        cell: asyncio.Transport,
        *,
        websocket: bool,
    ) -> None:
        self._relay = relay
        self._upstream: Upstream | None = upstream
        self._withdraw: Callable[[], object] = upstream.when_last_called(self.drained_out)
        self._function = function
        self._meter = meter
        self.client = End(self, client, Frames() if websocket else None)
        self.cell = End(self, cell, Frames() if websocket else None)
        self.client.other, self.cell.other = self.cell, self.client
        self.flowing = False
        self.closing = False
        self.deadline = NEVER
        relay.tunnels += 1
        relay.connections.add(self)
        relay.timers.add(self)

    def silence(self, end: End) -> None:
        """
        Read no more from this end for now.
        """
        end.transport.pause_reading()
        self._relay.silence.add(end)

    def listen(self, end: End) -> None:
        """
        Go on reading.
        """
        self._relay.silence.discard(end)
        if not end.eof:
            end.transport.resume_reading()

    def half_closed(self) -> None:
        """
        One side has sent its FIN: it listens on, or it is gone and nobody will ever say so.
        """
        self.flowing = False
        self.deadline = self._relay.timers.now + self._relay.limits.linger_seconds

    def close(self) -> None:
        """
        Both sides have said their last: let what is written go out, and end.
        """
        self.flowing = False
        self.deadline = self._relay.timers.now + self._relay.limits.tunnel_close_seconds
        self.client.transport.close()
        self.cell.transport.close()

    def end_lost(self, end: End) -> None:
        """
        One side is gone, so the other goes too; what it has been sent still reaches it.
        """
        self._relay.silence.discard(end)
        client = self.client
        if not client.lost and not client.eof and not client.transport.is_closing():
            # It may be sending: see `linger`.
            client.lost = True
            self._relay.silence.discard(client)
            linger(self._relay, client.transport, read_on=True)
        elif not end.other.lost:
            self.flowing = False
            self.deadline = self._relay.timers.now + self._relay.limits.write_stall_seconds
            end.other.transport.close()
        self._leave_upstream()
        if end.other.lost:
            self._relay.timers.discard(self)
            self._relay.connections.discard(self)

    def _leave_upstream(self) -> None:
        upstream, self._upstream = self._upstream, None
        if upstream is not None:
            self._withdraw()
            self._relay.tunnels -= 1
            self._relay.in_flight -= 1
            upstream.end()
            if self._meter is not None:
                leave(self._meter)

    def function_in(self, upstream: Upstream) -> str | None:
        """
        See `Connected`.
        """
        return self._function if self._upstream is upstream else None

    def drain(self) -> None:
        """
        See `Connected`: it may go on until the time is over.
        """

    def drained_out(self) -> None:
        """
        See `Connected` and `Upstream.last_call`: both sides of a WebSocket are told to close.
        """
        if self.client.frames is None:
            self.cut()
        elif not self.closing:
            self.closing = True
            self.deadline = self._relay.timers.now + self._relay.limits.tunnel_close_seconds
            self.go_on_closing()

    def go_on_closing(self) -> None:
        """
        Send the close frames where one frame has ended and the next has not begun.
        """
        for end in (self.client, self.cell):
            frames = end.other.frames
            if end.told or end.lost or end.other.eof or frames is None or not frames.between:
                continue
            end.told = True
            if not frames.closed:
                mask = os.urandom(4) if end is self.cell else b""
                end.transport.write(close_frame(RESTART, mask))
        if self.client.frames is not None and self.client.frames.closed and self.client.told:
            self.close()

    def cut(self) -> None:
        """
        See `Connected`.
        """
        self.client.transport.abort()
        self.cell.transport.abort()

    def overdue(self, now: float) -> None:
        """
        See `Timed`.
        """
        if self.flowing and not self.closing:
            self.half_closed()
        else:
            self.cut()
