"""A client's connection: requests are taken from it one after the other."""

import asyncio
import socket
import struct
from typing import Any, Final

from workerd_faas.domain.errors import Problem
from workerd_faas.domain.routing import Route
from workerd_faas.ingress.answers import malformed_answer, problem_answer, status_of
from workerd_faas.ingress.bodies import Body, ChunkedBody, LengthBody
from workerd_faas.ingress.exchange import Exchange, new_ray
from workerd_faas.ingress.headers import Request
from workerd_faas.ingress.hosts import FunctionHost, Place
from workerd_faas.ingress.http1 import CHUNKED, Malformed, has_bare_line_end
from workerd_faas.ingress.linger import linger
from workerd_faas.ingress.peers import Client, Peer, is_trusted, parse_address
from workerd_faas.ingress.relay import Relay
from workerd_faas.ingress.timers import NEVER
from workerd_faas.ingress.upstream_connection import HIGH_WATER, LOW_WATER

_RESET: Final = struct.pack("ii", 1, 0)
_LOOPBACK: Final = parse_address("127.0.0.1")
_FIRST_BYTES: Final = frozenset(
    b"!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz\r"
)


def peer_of(transport: asyncio.BaseTransport, relay: Relay) -> Peer:
    """
    Who is at the other end. A peer on a unix socket is on this machine, and so is trusted when
    127.0.0.1 is.
    """
    name: Any = transport.get_extra_info("peername")
    address, port = None, 0
    if isinstance(name, tuple) and len(name) >= 2:
        address, port = parse_address(str(name[0])), int(name[1])
    tls = transport.get_extra_info("ssl_object")
    cipher = None if tls is None else tls.cipher()
    return Peer(
        address=address,
        port=port,
        tls=None if tls is None else (tls.version() or "", cipher[0] if cipher else ""),
        trusted=bool(relay.proxies) and is_trusted(address or _LOOPBACK, relay.proxies),
    )


class ClientConnection(asyncio.Protocol):
    """
    Reads requests and has each relayed or answered before the next.

    It is in one of these states:

    - between requests: no exchange, no body; `_input` holds the beginning of a head, if anything;
    - in an exchange: `_exchange` is set, and `_body` as long as the request is not complete;
    - discarding: the response is complete, the rest of the request's body (`_body`) is dropped;
    - over (`_closing`): a tunnel or `linger` has taken the transport over, or it was cut.

    Attributes:
        deadline: See `Timed`.
        peer: Who is at the other end.
        transport: The socket.
    """

    __slots__ = (
        "_body",
        "_client",
        "_closing",
        "_eof",
        "_exchange",
        "_input",
        "_mark",
        "_most",
        "_pumping",
        "_read_paused",
        "_relay",
        "_scanned",
        "_taken",
        "_write_paused",
        "deadline",
        "peer",
        "transport",
    )

    transport: asyncio.Transport
    peer: Peer
    _client: Client

    def __init__(self, relay: Relay) -> None:
        self._relay = relay
        self._input = b""
        self._scanned = 0
        self._body: Body | None = None
        self._most: int | None = None
        self._taken = 0
        self._exchange: Exchange | None = None
        self._pumping = False
        self._read_paused = False
        self._write_paused = False
        self._eof = False
        self._closing = False
        self._mark = -1
        self.deadline = 0.0

    # What the transport says.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        relay = self._relay
        self.transport = transport  # type: ignore[assignment]
        self.transport.set_write_buffer_limits(HIGH_WATER, LOW_WATER)
        self.peer = peer_of(transport, relay)
        self._client = relay.direct_client(self.peer)
        self.deadline = relay.timers.now + relay.limits.keep_alive_seconds
        relay.connections.add(self)
        relay.timers.add(self)
        if relay.draining:
            self._close()
        elif len(relay.connections) > relay.limits.connections:
            self._refuse(Malformed("There are too many connections: try again later.", 503))

    def data_received(self, data: bytes) -> None:
        if self._body is not None:
            self._take_body(data)
        elif self._exchange is not None:
            # Pipelined: the next request waits for its turn.
            self._input += data
            if len(self._input) > self._relay.limits.buffered_bytes:
                self.pause_reading()
        elif self._input:
            self._input += data
            self._pump()
        else:
            request = self._relay.requests.get(data)
            if request is None:
                self._input = data
                self._pump()
                return
            try:
                self._begin(request)
            except Malformed as malformed:
                self._refuse(malformed)

    def eof_received(self) -> bool:
        if self._exchange is None or self._body is not None or self.peer.tls is not None:
            return False
        # It will send no more but may still read, or it is gone: `overdue` finds out which.
        self._eof = True
        self._mark = self._exchange.sent
        self.deadline = min(
            self.deadline, self._relay.timers.now + self._relay.limits.half_closed_seconds
        )
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        self._closing = True
        self._leave()
        exchange, self._exchange = self._exchange, None
        if exchange is not None:
            exchange.client_lost()

    def pause_writing(self) -> None:
        self._write_paused = True
        exchange = self._exchange
        if exchange is not None:
            exchange.pause_response()
            if exchange.answering:
                self.answering_began()

    def resume_writing(self) -> None:
        self._write_paused = False
        exchange = self._exchange
        if exchange is not None:
            if exchange.answering:
                self.answering_began()
            exchange.resume_response()
        elif self._input and self._body is None and not self._closing:
            self._pump()

    # What the exchange says.

    def pause_reading(self) -> None:
        """
        Take no more from the client for now.
        """
        self._read_paused = True
        self._relay.silence.add(self)
        self.transport.pause_reading()

    def resume_reading(self) -> None:
        """
        Go on taking.
        """
        if self._read_paused and not self._eof:
            self._read_paused = False
            self._relay.silence.discard(self)
            self.transport.resume_reading()

    def exchange_done(self, *, keep: bool) -> None:
        """
        The response is complete.
        """
        self._exchange = None
        if not keep:
            self._end()
        else:
            self._next()

    def exchange_failed(self, problem: Problem) -> None:
        """
        There will be no response but ours.
        """
        exchange, self._exchange = self._exchange, None
        assert exchange is not None
        self._answer(exchange.request, problem, exchange.ray)

    def response_broken(self) -> None:
        """
        The response has begun and will not be completed.
        """
        self._exchange = None
        self.cut()

    def surrender(self) -> bytes:
        """
        The transport goes to a tunnel, with this input that has not been used.
        """
        self._leave()
        self._closing = True
        self._exchange = None
        self.resume_reading()
        rest, self._input = self._input, b""
        return rest

    # From input to exchanges.

    def _pump(self) -> None:
        """
        Begin as many requests as can be begun.
        """
        if self._pumping:
            return
        self._pumping = True
        try:
            while (
                self._input
                and self._exchange is None
                and self._body is None
                and not self._write_paused
                and not self._closing
            ):
                request = self._next_request()
                if request is None:
                    break
                self._begin(request)
        except Malformed as malformed:
            self._refuse(malformed)
        finally:
            self._pumping = False

    def _next_request(self) -> Request | None:
        """
        Take a head from the input, if there is a whole one.
        """
        relay, limits, data = self._relay, self._relay.limits, self._input
        if not self._scanned:
            if data.startswith(b"\r\n"):
                data = self._input = data[2:]  # RFC 9112 section 2.2
            if data in (b"", b"\r"):
                return None
            if data[0] not in _FIRST_BYTES:
                raise Malformed("This is not an HTTP/1.1 request.")
            self.deadline = relay.timers.now + limits.head_seconds
        end = data.find(b"\r\n\r\n", max(0, self._scanned - 3)) + 4
        if end == 3 or end > limits.head_bytes:
            if data.find(b"\r\n", 0, limits.request_line_bytes + 2) < 0 and (
                len(data) > limits.request_line_bytes
            ):
                raise Malformed("The request line is too long.", 414)
            if len(data) > limits.head_bytes:
                raise Malformed("The head is too long.", 431)
            if has_bare_line_end(data):
                raise Malformed("A line does not end in CRLF.")
            self._scanned = len(data)
            return None
        head, self._input, self._scanned = data[:end], data[end:], 0
        return relay.requests.get(head) or relay.read_request(head)

    def _begin(self, request: Request) -> None:
        relay = self._relay
        client, host = self._client, request.host
        if self.peer.trusted:
            client = relay.client_of(self.peer, request)
            if relay.use_forwarded_host and request.forwarded_host is not None:
                host = request.forwarded_host
        place = relay.place_of(host)
        body = b""
        if request.body:
            self._taken = 0
            self._most = relay.limits.body_bytes if isinstance(place, FunctionHost) else None
            if self._most is not None and request.body > self._most:
                raise _too_large()
            self._body = ChunkedBody() if request.body == CHUNKED else LengthBody(request.body)
            data, self._input = self._input, b""
            body = self._feed(data)
        route = self._route(place, client, request)
        if isinstance(route, Problem):
            self._answer(request, route, new_ray())
            return
        exchange = self._exchange = Exchange(relay, self, client, request, route)
        exchange.start(host, body, complete=self._body is None)

    def _route(self, place: Place, client: Client, request: Request) -> Route | Problem | None:
        """
        Where to: None stands for the API.
        """
        if isinstance(place, FunctionHost):
            try:
                return self._relay.route_of(place, client, request)
            except Problem as problem:
                return problem
        return place if isinstance(place, Problem) else None

    def _take_body(self, data: bytes) -> None:
        try:
            out = self._feed(data)
        except Malformed as malformed:
            self._refuse(malformed)
            return
        if self._exchange is not None:
            self._exchange.send_body(out, complete=self._body is None)
        elif self._body is None:
            self._next()
        elif self._taken > self._relay.limits.discard_bytes:
            self._end()

    def _feed(self, data: bytes) -> bytes:
        body = self._body
        assert body is not None
        out, rest = body.feed(data)
        self._taken += len(data) - len(rest)
        if self._most is not None and self._taken > self._most:
            raise _too_large()
        if body.done:
            self._body = None
            self._input = rest
        return out

    # Between requests, and the end.

    def _next(self) -> None:
        """
        A response is complete and the connection is kept.
        """
        relay, limits = self._relay, self._relay.limits
        if self._body is not None:
            if self._eof or self._body.at_least > limits.discard_bytes:
                self._end()
                return
            self._taken = 0
            self.deadline = relay.timers.now + limits.body_idle_seconds
        else:
            self.deadline = relay.timers.now + limits.keep_alive_seconds
            if self._input:
                self._pump()
            if self._eof and self._exchange is None and not self._closing:
                self._close()
        if self._read_paused and self._exchange is None and not self._closing:
            self.resume_reading()

    def _answer(self, request: Request, problem: Problem, ray: bytes) -> None:
        """
        Answer a request ourselves.
        """
        relay = self._relay
        body = self._body
        keep = (
            request.keep_alive
            and not relay.draining
            and (
                body is None
                or (
                    body.at_least <= relay.limits.discard_bytes
                    # It may or may not send it, so where the next request begins is unknown.
                    and not request.expects_continue
                )
            )
        )
        connection = b""
        if not keep:
            connection = b"Connection: close\r\n"
        elif request.http10:
            connection = b"Connection: keep-alive\r\n"
        answer = problem_answer(
            problem,
            ray=ray,
            date=relay.timers.date_line,
            connection=connection,
            head_only=request.is_head,
        )
        self.transport.write(answer)
        if relay.access_log:
            relay.answered(
                ray=ray,
                client=self._client,
                request=request,
                route=None,
                status=status_of(problem),
                sent=len(answer),
                began=relay.loop.time(),
            )
        if keep:
            self._next()
        else:
            self._end()

    def _refuse(self, malformed: Malformed) -> None:
        """
        What comes from this client cannot be passed on; say so if that is still possible.
        """
        exchange, self._exchange = self._exchange, None
        if exchange is not None:
            exchange.client_lost()
            if exchange.answering:
                self.cut()
                return
        ray = new_ray() if exchange is None else exchange.ray
        date = self._relay.timers.date_line
        self.transport.write(malformed_answer(malformed, ray=ray, date=date))
        self._linger()

    def _end(self) -> None:
        """
        The last response has been written.
        """
        if self._body is not None or self._input or self._relay.draining:
            self._linger()
        else:
            self._close()

    def _linger(self) -> None:
        self._closing = True
        self._leave()
        linger(self._relay, self.transport, read_on=not self._eof)

    def _close(self) -> None:
        self._closing = True
        self._leave()
        linger(self._relay, self.transport, read_on=False)

    def _leave(self) -> None:
        self._relay.timers.discard(self)
        self._relay.connections.discard(self)
        self._relay.silence.discard(self)

    def cut(self) -> None:
        """
        End at once, so that nobody takes what was sent for something whole.
        """
        self._closing = True
        if self.peer.address is not None and self.peer.tls is None:
            sock: socket.socket = self.transport.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self.transport.abort()

    def drain(self) -> None:
        """
        The daemon is about to stop: a connection that is idle goes, another one after its
        response.
        """
        if self._exchange is None and self._body is None and not self._input:
            self._linger()

    def drained_out(self) -> None:
        """
        The time for that is over.
        """
        self.cut()

    # Time.

    def wait(self, seconds: float) -> None:
        """
        Give the exchange so long from now on, until the head of its response.
        """
        if self._eof:
            seconds = min(seconds, self._relay.limits.half_closed_seconds)
        self.deadline = self._relay.timers.now + seconds

    def answering_began(self) -> None:
        """
        The head of a response is sent, its body may take as long as it likes; unless the client
        does not read it, or may be gone.
        """
        relay = self._relay
        if self._write_paused:
            self._mark = self.transport.get_write_buffer_size()
            self.deadline = relay.timers.now + relay.limits.write_stall_seconds
        elif self._eof:
            self.deadline = relay.timers.now + relay.limits.half_closed_seconds
        else:
            self.deadline = NEVER

    def overdue(self, now: float) -> None:
        """
        See `Timed`.
        """
        exchange = self._exchange
        if exchange is None:
            if self._input:
                self._refuse(Malformed("The request's head did not arrive in time.", 408))
            else:
                self._close()
        elif exchange.answering:
            self._overdue_while_answering(exchange)
        elif self._eof:
            # Nothing has come of its request since it said its last: it is gone.
            self._exchange = None
            exchange.client_lost()
            self._close()
        elif self._body is not None and not self._read_paused:
            self._refuse(Malformed("The request's body did not go on in time.", 408))
        else:
            exchange.time_out()

    def _overdue_while_answering(self, exchange: Exchange) -> None:
        stalled = self._write_paused
        mark = self.transport.get_write_buffer_size() if stalled else exchange.sent
        if mark == self._mark:
            self._exchange = None
            exchange.client_lost()
            self.cut()
        else:
            self.answering_began()
            self._mark = mark


def _too_large() -> Malformed:
    return Malformed("The request's body is larger than functions are sent here.", 413)
