"""A client's connection: requests are taken from it one after the other."""

import asyncio
from typing import ClassVar, Final

from workerd_faas.domain.errors import Problem
from workerd_faas.domain.routing import Route
from workerd_faas.domain.upstream import Upstream
from workerd_faas.ingress.answers import malformed_answer, problem_answer, status_of
from workerd_faas.ingress.exchange import Exchange
from workerd_faas.ingress.headers import Request, head_for_upstream
from workerd_faas.ingress.hosts import FunctionHost, Place
from workerd_faas.ingress.http1 import Malformed
from workerd_faas.ingress.linger import linger
from workerd_faas.ingress.peers import Client, Peer, direct_client
from workerd_faas.ingress.relay import Relay
from workerd_faas.ingress.request_reader import RequestReader
from workerd_faas.ingress.sockets import peer_of, reset, set_limits, unacknowledged
from workerd_faas.ingress.timers import NEVER

_STILL_THERE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"

_TURNS: Final = 16
"""Pipelined requests that are begun without a look at other connections."""


class ClientConnection(asyncio.Protocol):
    """
    Reads requests and has each relayed or answered before the next.

    It is in one of these states:

    - between requests: no exchange, no body; the reader holds the beginning of a head, if anything;
    - in an exchange: `_exchange` is set, and the reader has a body until the request is complete;
    - discarding: the response is complete, the rest of the request's body is dropped;
    - over (`_closing`): a tunnel or `linger` has taken the transport over, or it was cut.

    Attributes:
        deadline: See `Timed`.
        peer: Who is at the other end.
        transport: The socket.
    """

    __slots__ = (
        "_changes",
        "_client",
        "_closing",
        "_eof",
        "_exchange",
        "_known",
        "_known_head",
        "_known_route",
        "_known_who",
        "_mark",
        "_pumping",
        "_read_paused",
        "_reader",
        "_relay",
        "_until",
        "_write_paused",
        "_yielded",
        "deadline",
        "peer",
        "transport",
    )

    problem_lines: ClassVar[bytes] = b""
    """Header lines of answers that are the relay's own."""

    transport: asyncio.Transport
    peer: Peer
    _client: Client
    _known_who: Client

    def __init__(self, relay: Relay) -> None:
        self._relay = relay
        self._reader = RequestReader(relay.heads, relay.limits)
        self._exchange: Exchange | None = None
        self._known: Request | None = None
        self._known_route: Route | None = None
        self._known_head = b""
        self._changes = -1
        self._pumping = False
        self._read_paused = False
        self._write_paused = False
        self._yielded = False
        self._eof = False
        self._closing = False
        self._mark = -1
        self._until = NEVER
        self.deadline = 0.0

    # What the transport says.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        relay = self._relay
        self.transport = transport  # type: ignore[assignment]
        set_limits(self.transport)
        self.peer = peer_of(self.transport, relay.proxies)
        self._client = direct_client(self.peer)
        # If we are about to stop, it was let in just before: it gets its answer.
        self.deadline = relay.timers.now + relay.idle_seconds
        relay.connections.add(self)
        relay.timers.add(self)
        if len(relay.connections) > relay.most_connections:
            self._refuse(Malformed("There are too many connections: try again later.", 503))

    def data_received(self, data: bytes) -> None:
        reader = self._reader
        if reader.body is not None:
            self._take_body(data)
        elif self._exchange is not None:
            # Pipelined: the next request waits for its turn.
            if reader.add(data) > self._relay.limits.buffered_bytes:
                self.pause_reading()
        elif self._write_paused or self._yielded:
            # It has to read its answers first, or others have their turn.
            if reader.add(data) > self._relay.limits.buffered_bytes:
                self.pause_reading()
        elif reader.input:
            reader.add(data)
            self._pump()
        else:
            relay = self._relay
            request = relay.heads.recent(data)
            if request is None or request.body or relay.held is not None:
                reader.input = data
                self._pump()
            elif request is self._known and relay.routes.changes == self._changes:
                # The same again: it goes the same way.
                exchange = Exchange(relay, self, self._known_who, request, self._known_route)
                self._exchange = exchange
                exchange.start(self._known_head, b"", complete=True)
            else:
                self._begin(request)

    def eof_received(self) -> bool:
        exchange = self._exchange
        waiting = exchange is not None or self._yielded or self._write_paused
        if not waiting or self._reader.body is not None or self.peer.tls is not None:
            return False
        # It will send no more but may still read, or it is gone: `overdue` finds out which.
        self._eof = True
        if exchange is None:
            return True
        self._mark = exchange.sent
        self._until = self.deadline
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
        elif not self._closing and self._reader.body is None:
            self._next()

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
        reader = self._reader
        if not keep:
            self._end()
        elif reader.input or reader.body is not None or self._eof or self._read_paused:
            self._next()
        else:
            self.deadline = self._relay.timers.now + self._relay.idle_seconds

    def exchange_failed(self, problem: Problem) -> None:
        """
        There will be no response but ours.
        """
        exchange, self._exchange = self._exchange, None
        assert exchange is not None
        self._answer(exchange.request, problem, exchange.ray, exchange.who, exchange)

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
        return self._reader.rest()

    # From input to exchanges.

    def _pump(self) -> None:
        """
        Begin as many requests as can be begun, but not so many that others would feel it.
        """
        if self._pumping or self._yielded:
            return
        held = self._relay.held
        if held is not None and self._reader.input:
            held.add(self)
            self._yielded = True
            self.deadline = NEVER
            return
        self._pumping = True
        reader, turns = self._reader, _TURNS
        try:
            while (
                reader.input
                and self._exchange is None
                and reader.body is None
                and not self._write_paused
                and not self._closing
            ):
                began = reader.scanned
                request = reader.next_head()
                if request is None:
                    if not began and reader.scanned:
                        self.deadline = self._relay.timers.now + self._relay.limits.head_seconds
                    break
                self._begin(request)
                turns -= 1
                if not turns:
                    self._yielded = True
                    self._relay.loop.call_soon(self.go_on)
                    break
        except Malformed as malformed:
            self._refuse(malformed)
        finally:
            self._pumping = False

    def go_on(self) -> None:
        """
        Others have had their turn.
        """
        self._yielded = False
        if self._exchange is None and self._reader.body is None and not self._closing:
            self._next()

    def released(self) -> None:
        """
        It is known now where requests go.
        """
        self.deadline = self._relay.timers.now + self._relay.limits.head_seconds
        self.go_on()

    def _begin(self, request: Request) -> None:
        """
        Have a request relayed, or answer it.

        Raises:
            Malformed: its body is too large or badly framed.
        """
        relay, reader = self._relay, self._reader
        who, place, host = self._client, request.place, request.host
        if self.peer.trusted:
            who = relay.client_of(self.peer, request)
            if relay.use_forwarded_host and request.forwarded_host is not None:
                host = request.forwarded_host
                place = relay.heads.place_of(host)
        body = b""
        if request.body:
            most = relay.limits.body_bytes if isinstance(place, FunctionHost) else None
            body = reader.begin_body(request.body, most)
        route = self._route(place, who, request)
        if isinstance(route, Problem):
            self._answer(request, route, next(relay.request_ids), who)
            return
        head = head_for_upstream(request, host, who, route)
        if not relay.has_shares(place):
            self._known, self._known_who = request, who
            self._known_route, self._known_head = route, head
            self._changes = relay.routes.changes
        exchange = self._exchange = Exchange(relay, self, who, request, route)
        exchange.start(head, body, complete=reader.body is None)

    def _route(self, place: Place, client: Client, request: Request) -> Route | Problem | None:
        """
        Where to: None stands for the API.
        """
        if isinstance(place, FunctionHost) and not self._relay.passing:
            try:
                return self._relay.route_of(place, client, request)
            except Problem as problem:
                return problem
        return place if isinstance(place, Problem) else None

    def _take_body(self, data: bytes) -> None:
        reader, body = self._reader, self._reader.body
        assert body is not None  # See the caller.
        try:
            out = reader.feed_body(body, data)
        except Malformed as malformed:
            self._refuse(malformed)
            return
        if self._exchange is not None:
            self._exchange.send_body(out, complete=body.done)
        elif body.done:
            self._next()
        elif reader.taken > self._relay.limits.discard_bytes:
            self._end()

    # Between requests, and the end.

    def _next(self) -> None:
        """
        A response is complete and the connection is kept.
        """
        relay, limits, reader = self._relay, self._relay.limits, self._reader
        if reader.body is not None:
            if self._eof or reader.body.at_least > limits.discard_bytes:
                self._end()
                return
            reader.taken = 0
            self.deadline = relay.timers.now + limits.body_idle_seconds
        else:
            if not reader.scanned:
                self.deadline = relay.timers.now + relay.idle_seconds
            if self._pumping:
                return  # It is about to go on.
            if reader.input:
                self._pump()
            waiting = self._exchange is not None or self._yielded or self._write_paused
            if self._closing or (waiting and reader.input):
                return
            if self._eof and self._exchange is None:
                self._close()
                return
        self.resume_reading()

    def _answer(
        self,
        request: Request,
        problem: Problem,
        ray: bytes,
        who: Client,
        exchange: Exchange | None = None,
    ) -> None:
        """
        Answer a request ourselves.

        Args:
            exchange: What was tried before.
        """
        relay = self._relay
        body = self._reader.body
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
            connection=self.problem_lines + connection,
            head_only=request.is_head,
        )
        if relay.access_log:
            if exchange is None:
                self._log(request, who, ray, status_of(problem), len(answer))
            else:
                exchange.sent = len(answer)
                exchange.log(status_of(problem))
        self.transport.write(answer)
        if keep:
            self._next()
        else:
            self._end()

    def _refuse(self, malformed: Malformed) -> None:
        """
        What comes from this client cannot be passed on; say so if that is still possible.
        """
        relay = self._relay
        exchange, self._exchange = self._exchange, None
        ray = next(relay.request_ids) if exchange is None else exchange.ray
        answer = malformed_answer(malformed, ray=ray, date=relay.timers.date_line)
        if exchange is None:
            if relay.access_log:
                self._log(None, self._client, ray, malformed.status, len(answer))
        elif exchange.answering:
            exchange.client_lost()
            self.cut()
            return
        else:
            exchange.sent = len(answer)
            exchange.client_lost(malformed.status)
        self.transport.write(answer)
        self._linger()

    def _log(
        self, request: Request | None, who: Client, ray: bytes, status: int, sent: int
    ) -> None:
        relay = self._relay
        relay.answered(
            ray=ray,
            client=who,
            request=request,
            route=None,
            status=status,
            sent=sent,
            began=relay.loop.time(),
        )

    def _end(self) -> None:
        """
        The last response has been written.
        """
        if self._reader.body is not None or self._reader.input or self._relay.draining:
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
        reset(self.transport, self.peer)

    def drain(self) -> None:
        """
        The daemon is about to stop: a connection goes after its response, or when it has been
        idle for a moment.
        """
        if self._exchange is None and self._reader.body is None and not self._reader.input:
            self.deadline = min(self.deadline, self._relay.timers.now + self._relay.idle_seconds)

    def drained_out(self) -> None:
        """
        The time for that is over.
        """
        self.cut()

    def function_in(self, upstream: Upstream) -> str | None:
        """
        See `Connected`.
        """
        return None if self._exchange is None else self._exchange.function_in(upstream)

    # Time.

    def wait(self, seconds: float) -> None:
        """
        Give the exchange so long from now on, until the head of its response.
        """
        self.deadline = self._relay.timers.now + seconds
        if self._eof:
            self._until = self.deadline
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
            if self._reader.input:
                self._refuse(Malformed("The request's head did not arrive in time.", 408))
            elif self._relay.draining:
                self._linger()
            else:
                self._close()
        elif exchange.answering:
            self._overdue_while_answering(exchange)
        elif self._eof:
            self._overdue_after_eof(exchange, now)
        elif self._reader.body is not None and not self._read_paused:
            self._refuse(Malformed("The request's body did not go on in time.", 408))
        else:
            exchange.time_out()

    def _overdue_after_eof(self, exchange: Exchange, now: float) -> None:
        """
        Nothing has come of its request since it said its last. An interim response, which it has to
        expect at any time (RFC 9110 section 15.2), is answered by a reset if it is gone.
        """
        silent = self.peer.address is not None and unacknowledged(self.transport)
        if silent or exchange.request.http10:
            self._exchange = None
            exchange.client_lost()
            self._close()
        elif now >= self._until:
            exchange.time_out()
        else:
            self.transport.write(_STILL_THERE)
            self._relay.silence.add(self)
            self.deadline = min(self._until, now + self._relay.limits.half_closed_seconds)

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
