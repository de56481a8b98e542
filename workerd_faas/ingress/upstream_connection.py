"""The relay's end of a connection to a cell or to the API."""

import asyncio
import os
from typing import TYPE_CHECKING

from workerd_faas.domain.upstream import Upstream

if TYPE_CHECKING:
    from workerd_faas.ingress.exchange import Exchange
    from workerd_faas.ingress.pool import Pool

HIGH_WATER = 64 * 1024
LOW_WATER = 16 * 1024
"""Bytes that wait in a transport before the other side is told to stop, and to go on."""


class UpstreamConnection(asyncio.Protocol):
    """
    Hands what arrives to the exchange that uses it.

    Attributes:
        exchange: Whose turn it is; None while it is idle.
        idle_since: When it became idle.
    """

    __slots__ = ("_pool", "exchange", "idle_since", "transport", "upstream")

    transport: asyncio.Transport

    def __init__(self, pool: "Pool", upstream: Upstream) -> None:
        self._pool = pool
        self.upstream = upstream
        self.exchange: Exchange | None = None
        self.idle_since = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]
        self.transport.set_write_buffer_limits(HIGH_WATER, LOW_WATER)
        self._pool.made(self)

    def data_received(self, data: bytes) -> None:
        exchange = self.exchange
        if exchange is not None:
            exchange.response_received(data)
        else:
            # Nobody asked: whatever it is, it must not become the answer to the next request.
            self._pool.lost(self)
            self.transport.abort()

    def eof_received(self) -> bool:
        self._lost(None)
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        if exc is not None and self.exchange is not None:
            self._read_what_is_left()
        self._lost(exc)

    def pause_writing(self) -> None:
        if self.exchange is not None:
            self.exchange.upstream_full()

    def resume_writing(self) -> None:
        if self.exchange is not None:
            self.exchange.upstream_drained()

    def _lost(self, exc: Exception | None) -> None:
        self._pool.lost(self)
        exchange, self.exchange = self.exchange, None
        if exchange is not None:
            exchange.upstream_lost(exc)

    def _read_what_is_left(self) -> None:
        """
        A write failed, which ends the transport at once; but an upstream that answers before it
        has read the whole request and closes has left its answer in the socket.
        """
        descriptor = self.transport.get_extra_info("socket").fileno()
        while self.exchange is not None:
            try:
                data = os.read(descriptor, HIGH_WATER)
            except OSError:
                return
            if not data:
                return
            self.exchange.response_received(data)
