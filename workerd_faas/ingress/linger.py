"""
The end of a connection whose client may still be sending.

Closing a socket with unread input resets it, and the reset may overtake the last response
(RFC 9112 section 9.6). So our side is closed first, and for a while what comes is thrown away.
"""

import asyncio
from typing import TYPE_CHECKING, Final

from workerd_faas.domain.upstream import Upstream

if TYPE_CHECKING:
    from workerd_faas.ingress.relay import Relay


_DISCARDED: Final = 4 * 1024 * 1024
"""Bytes that a client may go on sending."""


def linger(relay: "Relay", transport: asyncio.Transport, *, read_on: bool) -> None:
    """
    Take over a transport to which the last byte has been written.

    Args:
        read_on: The client may still be sending. TLS has its own way of saying goodbye.
    """
    transport.set_protocol(_Lingering(relay, transport))
    if read_on and transport.can_write_eof():
        transport.write_eof()
        transport.resume_reading()
    else:
        transport.close()


class _Lingering(asyncio.Protocol):
    """
    Reads and forgets, until the client has taken everything and closes.
    """

    __slots__ = ("_left", "_mark", "_relay", "_transport", "deadline")

    def __init__(self, relay: "Relay", transport: asyncio.Transport) -> None:
        self._relay = relay
        self._transport = transport
        self._left = _DISCARDED
        self._mark = -1
        self.deadline = 0.0
        self.overdue(relay.timers.now)
        relay.connections.add(self)
        relay.timers.add(self)

    def data_received(self, data: bytes) -> None:
        self._left -= len(data)
        if self._left < 0:
            self._transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self._relay.timers.discard(self)
        self._relay.connections.discard(self)

    def overdue(self, now: float) -> None:
        """
        See `Timed`: as long as the client takes something, it may have the rest.
        """
        limits, mark = self._relay.limits, self._transport.get_write_buffer_size()
        if mark == self._mark:
            self._transport.abort()
            return
        self._mark = mark
        self.deadline = now + (limits.write_stall_seconds if mark else limits.linger_seconds)

    def function_in(self, upstream: Upstream) -> str | None:
        """
        See `Connected`: nothing runs for it any more.
        """
        return None

    def drain(self) -> None:
        """
        See `Connected`: it is ending already.
        """

    def drained_out(self) -> None:
        """
        See `Connected`.
        """
        self._transport.abort()

    def cut(self) -> None:
        """
        See `Connected`.
        """
        self._transport.abort()
