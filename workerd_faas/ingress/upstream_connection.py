"""The relay's end of a connection to a cell or to the API: responses are read from it."""

import asyncio
from typing import TYPE_CHECKING

from workerd_faas.domain.upstream import Upstream
from workerd_faas.ingress.bodies import Body, ChunkedBody, LengthBody, OpenBody
from workerd_faas.ingress.headers import Response
from workerd_faas.ingress.http1 import CHUNKED, UNTIL_CLOSE, Malformed
from workerd_faas.ingress.sockets import set_limits, unread

if TYPE_CHECKING:
    from workerd_faas.ingress.exchange import Exchange
    from workerd_faas.ingress.pool import Pool


class UpstreamConnection(asyncio.Protocol):
    """
    Tells the exchange that uses it what comes back.

    Attributes:
        exchange: Whose turn it is; None while it is idle.
        idle_since: When it became idle.
        paused: Nothing is read from it for the moment.
        transport: The socket.
    """

    __slots__ = (
        "_body",
        "_partial",
        "_pool",
        "_response",
        "exchange",
        "idle_since",
        "paused",
        "transport",
        "upstream",
    )

    transport: asyncio.Transport
    _response: Response

    def __init__(self, pool: "Pool", upstream: Upstream) -> None:
        self._pool = pool
        self._partial = b""
        self._body: Body | None = None
        self.upstream = upstream
        self.exchange: Exchange | None = None
        self.idle_since = 0.0
        self.paused = False

    # What the transport says.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]
        set_limits(self.transport)
        self._pool.made(self)

    def data_received(self, data: bytes) -> None:
        exchange = self.exchange
        if exchange is None:
            # Nobody asked: whatever it is, it must not become the answer to the next request.
            self.abort()
            return
        if self._body is None and not self._partial:
            # What nearly all responses are: small, whole, and with a head that was met before.
            end = data.find(b"\r\n\r\n") + 4
            response = self._pool.heads.recent(data[:end])
            if (
                response is not None
                and response.body == len(data) - end
                and response.plain is not None
                and not exchange.request.is_head
            ):
                exchange.answered(response, data[end:], reusable=True)
                return
        try:
            if self._body is None:
                self._read_head(exchange, data)
            else:
                self._read_body(exchange, self._body, data)
        except Malformed as malformed:
            exchange.upstream_failed(f"its response is malformed: {malformed}", malformed)

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

    # What the exchange says.

    def pause(self) -> None:
        """
        Read no more for now.
        """
        self.paused = True
        self.transport.pause_reading()

    def resume(self) -> None:
        """
        Go on reading.
        """
        self.paused = False
        self.transport.resume_reading()

    def release(self) -> None:
        """
        The exchange is over and has used the connection up to the last byte.
        """
        self.exchange = None
        self._body = None
        if self.paused:
            self.resume()
        self._pool.give_back(self)

    def abort(self) -> None:
        """
        The exchange is over, the connection cannot be used again.
        """
        self.exchange = None
        self._pool.lost(self)
        self.transport.abort()

    def surrender(self) -> None:
        """
        The transport goes to a tunnel.
        """
        self.exchange = None
        self._pool.lost(self)

    # Responses.

    def _read_head(self, exchange: "Exchange", data: bytes) -> None:
        if self._partial:
            data, self._partial = self._partial + data, b""
        heads = self._pool.heads
        while True:
            end = data.find(b"\r\n\r\n") + 4
            if end == 3:
                heads.check_length(data)
                self._partial = data
                exchange.something_came()
                return
            response = heads.read(data[:end])
            data = data[end:]
            if response.status >= 200:
                break
            if response.status == 101:
                exchange.upgraded(response, data)
                return
            exchange.interim(response)
        length = 0 if response.bodyless or exchange.request.is_head else response.body
        if length == len(data):
            exchange.answered(response, data, reusable=response.persistent)
            return
        if length == CHUNKED:
            body: Body = ChunkedBody(bare=exchange.request.http10)
        elif length == UNTIL_CLOSE:
            body = OpenBody()
        else:
            body = LengthBody(length)
        out, rest = (b"", data) if body.done else body.feed(data)
        if body.done:
            exchange.answered(response, out, reusable=response.persistent and not rest)
        else:
            self._response, self._body = response, body
            exchange.answer_begins(response, out)

    def _read_body(self, exchange: "Exchange", body: Body, data: bytes) -> None:
        out, rest = body.feed(data)
        if out:
            exchange.answer_goes_on(out)
        if body.done:
            exchange.answer_ends(reusable=self._response.persistent and not rest)

    # The end.

    def _lost(self, exc: Exception | None) -> None:
        self._pool.lost(self)
        exchange, self.exchange = self.exchange, None
        if exchange is None:
            return
        if exc is None and isinstance(self._body, OpenBody):
            exchange.answer_ends(reusable=False)
        else:
            exchange.upstream_lost("it closed the connection" if exc is None else str(exc))

    def _read_what_is_left(self) -> None:
        """
        An upstream that answers before it has read the whole request, and closes, has left its
        answer in the socket.
        """
        for data in unread(self.transport):
            self.data_received(data)
            if self.exchange is None:
                return
