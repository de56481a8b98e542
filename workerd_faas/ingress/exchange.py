"""One request and its response: the part of a client's connection that involves an upstream."""

import errno
from collections.abc import Callable
from random import getrandbits
from typing import TYPE_CHECKING, Any, Final

from workerd_faas.domain.errors import Kind, Problem
from workerd_faas.domain.routing import Route
from workerd_faas.domain.upstream import Upstream
from workerd_faas.ingress.bodies import Body, ChunkedBody, LengthBody, OpenBody
from workerd_faas.ingress.headers import Request, Response, cf_start
from workerd_faas.ingress.http1 import CHUNKED, UNTIL_CLOSE, Malformed
from workerd_faas.ingress.peers import Client
from workerd_faas.ingress.relay import Relay
from workerd_faas.ingress.tunnel import open_tunnel
from workerd_faas.ingress.upstream_connection import UpstreamConnection

if TYPE_CHECKING:
    from workerd_faas.ingress.client import ClientConnection

_REFUSALS: Final = 3
"""Cells in a row that may refuse one request's connection."""

_SHORTAGES: Final = frozenset(
    {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.EAGAIN}
)


def new_ray() -> bytes:
    """
    A request id.
    """
    return b"%016x" % getrandbits(64)


class Exchange:
    """
    From the request's head to the response's last byte.

    It occupies its upstream (`Upstream.begin`) from the moment that the upstream is known, until
    the response is complete or given up (`Upstream.end`), exactly once each.

    Attributes:
        ray: The request id.
        answering: The response's head has been sent to the client.
        sent: Bytes sent to the client.
    """

    __slots__ = (
        "_body",
        "_client",
        "_complete",
        "_connection",
        "_give_up_waiting",
        "_keep",
        "_over",
        "_partial",
        "_refusals",
        "_relay",
        "_resent",
        "_response",
        "_reused",
        "_route",
        "_unsent",
        "_upstream",
        "answering",
        "began",
        "ray",
        "request",
        "sent",
        "who",
    )

    def __init__(
        self,
        relay: Relay,
        client: "ClientConnection",
        who: Client,
        request: Request,
        route: Route | None,
    ) -> None:
        self._relay = relay
        self._client = client
        self._route = route
        self._upstream: Upstream | None = None
        self._connection: UpstreamConnection | None = None
        self._give_up_waiting: Callable[[], Any] | None = None
        self._unsent = b""
        self._complete = True
        self._reused = False
        self._resent = False
        self._refusals = 0
        self._partial = b""
        self._response: Response | None = None
        self._body: Body | None = None
        self._keep = False
        self._over = False
        self.request = request
        self.who = who
        self.ray = new_ray()
        self.answering = False
        self.sent = 0
        self.began = relay.loop.time() if relay.access_log else 0.0

    # The request's way.

    def start(self, host: bytes, body: bytes, *, complete: bool) -> None:
        """
        Send the request on.

        Args:
            host: The host that the next server is to see.
            body: What there is of the body, framed.
            complete: There is no more of it.
        """
        relay, request, route = self._relay, self.request, self._route
        relay.in_flight += 1
        self._complete = complete
        if route is None:
            cf = b""
        else:
            cf = b"%s%s,%s}\r\n" % (
                cf_start(route.version_id, route.function),
                self.who.cf,
                request.cf,
            )
        self._unsent = b"%shost: %s\r\nx-forwarded-host: %s\r\n%s%scf-ray: %s\r\n\r\n%s" % (
            request.core,
            host,
            host,
            self.who.lines,
            cf,
            self.ray,
            body,
        )
        upstream = relay.api if route is None else relay.cells.upstream(route)
        if upstream is not None:
            self._go_to(upstream)
        else:
            self._wait_for_cell()

    def _wait_for_cell(self) -> None:
        relay, route = self._relay, self._route
        assert route is not None
        self._client.wait(relay.limits.cell_wait_seconds)
        withdraw = relay.cells.when_ready(route, self._cell_ready)
        # It may have called us already.
        if self._upstream is None and not self._over:
            self._give_up_waiting = withdraw

    def _cell_ready(self, result: Upstream | Problem) -> None:
        self._give_up_waiting = None
        if self._over:
            return
        if isinstance(result, Problem):
            self._fail(result)
        else:
            self._go_to(result)

    def _go_to(self, upstream: Upstream) -> None:
        self._upstream = upstream
        upstream.begin()
        connection = self._relay.pool.take(upstream)
        if connection is not None:
            self._reused = True
            self._send_first(connection)
        else:
            self._connect(upstream)

    def _connect(self, upstream: Upstream) -> None:
        self._reused = False
        self._client.wait(self._relay.limits.first_byte_seconds)
        self._relay.pool.connect(upstream, self)

    def connected(self, connection: UpstreamConnection) -> None:
        """
        A new connection is there.
        """
        if self._over:
            self._relay.pool.give_back(connection)
        elif connection.transport.is_closing():
            self.upstream_lost(None)
        else:
            self._send_first(connection)

    def refused(self, error: OSError) -> None:
        """
        There is no connection to be had. Nothing of the request has been sent on this one, so a
        cell that has just died is no reason to fail it: its successor gets it.
        """
        if self._over:
            return
        upstream, self._upstream = self._upstream, None
        assert upstream is not None
        upstream.end()
        self._refusals += 1
        if error.errno in _SHORTAGES:
            self._report(upstream, str(error))
            self._fail(_unavailable())
        elif self._route is None or self._resent or self._refusals >= _REFUSALS:
            self._report(upstream, str(error))
            self._fail(_failed())
        else:
            relay = self._relay
            self._client.wait(relay.limits.refused_seconds)
            upstream.when_retired(self._look_for_another)

    def _look_for_another(self) -> None:
        if self._over:
            return
        assert self._route is not None
        upstream = self._relay.cells.upstream(self._route)
        if upstream is not None:
            self._go_to(upstream)
        else:
            self._wait_for_cell()

    def _send_first(self, connection: UpstreamConnection) -> None:
        self._connection = connection
        connection.exchange = self
        unsent = self._unsent
        # Kept until the first byte of the response, in case `upstream_lost` needs it.
        if not (self._reused and self._complete and self.request.repeatable):
            self._unsent = b""
        limits, client = self._relay.limits, self._client
        if self._complete:
            client.wait(limits.first_byte_seconds)
        else:
            client.wait(limits.body_idle_seconds)
            client.resume_reading()
        connection.transport.write(unsent)

    def send_body(self, data: bytes, *, complete: bool) -> None:
        """
        More of the request's body.
        """
        self._complete = complete
        connection, limits, client = self._connection, self._relay.limits, self._client
        if connection is None:
            self._unsent += data
            if len(self._unsent) > limits.buffered_bytes:
                client.pause_reading()
            return
        if data:
            connection.transport.write(data)
        if not self.answering:
            client.wait(limits.first_byte_seconds if complete else limits.body_idle_seconds)

    def upstream_full(self) -> None:
        """
        The upstream does not read the body as fast as it comes.
        """
        self._client.pause_reading()
        if not self.answering:
            # Now it is the upstream that is waited for.
            self._client.wait(self._relay.limits.first_byte_seconds)

    def upstream_drained(self) -> None:
        """
        The upstream takes more.
        """
        self._client.resume_reading()
        if not self.answering and not self._complete:
            self._client.wait(self._relay.limits.body_idle_seconds)

    # The response's way.

    def response_received(self, data: bytes) -> None:
        """
        Bytes from the upstream.
        """
        try:
            if self._body is not None:
                self._relay_body(data)
            else:
                self._read_head(data)
        except Malformed as malformed:
            self._broken(f"its response is malformed: {malformed}")

    def _read_head(self, data: bytes) -> None:
        if self._partial:
            data, self._partial = self._partial + data, b""
        relay = self._relay
        self._unsent = b""
        while True:
            end = data.find(b"\r\n\r\n") + 4
            if end == 3:
                if len(data) > relay.limits.head_bytes:
                    raise Malformed("The head is too long.")
                self._partial = data
                return
            raw = data[:end]
            response = relay.responses.get(raw)
            if response is None:
                response = relay.read_response(raw)
            data = data[end:]
            if response.status >= 200:
                self._answer(response, data)
                return
            if response.status == 101:
                self._upgrade(response, data)
                return
            self._relay_interim(response)

    def _relay_interim(self, response: Response) -> None:
        request, client = self.request, self._client
        if response.status == 100:
            if not request.expects_continue or self._complete:
                return
            client.wait(self._relay.limits.body_idle_seconds)
        if not request.http10:
            client.transport.write(response.core + b"\r\n")

    def _answer(self, response: Response, data: bytes) -> None:
        relay, request, client = self._relay, self.request, self._client
        self._response = response
        keep = request.keep_alive and not relay.draining
        length = 0 if response.bodyless or request.is_head else response.body
        framing = response.framing
        if length == UNTIL_CLOSE:
            keep = False
        elif length == CHUNKED and request.http10:
            keep, framing = False, b""
        if not self._complete and not response.persistent:
            keep = False  # the upstream says that it will not read the rest
        self._keep = keep
        if not keep:
            framing += b"Connection: close\r\n"
        elif request.http10:
            framing += b"Connection: keep-alive\r\n"
        head = b"%s%s%sCF-Ray: %s\r\n\r\n" % (
            response.core,
            framing,
            b"" if response.has_date else relay.timers.date_line,
            self.ray,
        )
        if length == len(data):
            self.answering = True
            self.sent = len(head) + length
            client.transport.write(head + data)
            self._finish(b"")
            return
        if length == CHUNKED:
            self._body = ChunkedBody(bare=request.http10)
        elif length == UNTIL_CLOSE:
            self._body = OpenBody()
        else:
            self._body = LengthBody(length)
        self._relay_body(data, head)

    def _relay_body(self, data: bytes, head: bytes = b"") -> None:
        body = self._body
        assert body is not None
        out, rest = (b"", data) if body.done else body.feed(data)
        if head:
            self.answering = True
            self._client.answering_began()
            out = head + out
        if out:
            self.sent += len(out)
            self._client.transport.write(out)
        if body.done and not self._over:
            self._finish(rest)

    def _finish(self, rest: bytes) -> None:
        """
        The response is complete; the connection can be used again if nothing is left over.
        """
        response = self._response
        assert response is not None
        reusable = response.persistent and self._complete and not rest
        self._let_go(reusable=reusable)
        if self._relay.access_log:
            self._log(response.status)
        self._client.exchange_done(keep=self._keep)

    def _upgrade(self, response: Response, data: bytes) -> None:
        request, client, connection, upstream = (
            self.request,
            self._client,
            self._connection,
            self._upstream,
        )
        if not request.upgrade or connection is None or upstream is None:
            raise Malformed("It changes the protocol unasked.")
        self._over = True
        self._connection = None
        connection.exchange = None
        self._relay.pool.lost(connection)
        if self._relay.access_log:
            self._log(response.status)
        head = b"%s%sCF-Ray: %s\r\n\r\n" % (
            response.core,
            b"" if response.has_date else self._relay.timers.date_line,
            self.ray,
        )
        open_tunnel(
            self._relay,
            upstream=upstream,
            client=client.transport,
            cell=connection.transport,
            to_client=head,
            from_cell=data,
            from_client=client.surrender(),
            websocket=request.websocket,
        )

    def pause_response(self) -> None:
        """
        The client does not read the response as fast as it comes.
        """
        if self._connection is not None:
            self._connection.transport.pause_reading()

    def resume_response(self) -> None:
        """
        The client takes more.
        """
        if self._connection is not None:
            self._connection.transport.resume_reading()

    # Misfortune.

    def upstream_lost(self, error: Exception | None) -> None:
        """
        The upstream's connection is gone.
        """
        self._connection = None
        if isinstance(self._body, OpenBody) and error is None:
            self._finish(b"")
        elif self._unsent:
            # It was an idle connection that the upstream closed while the request was under way
            # (RFC 9112 section 9.3.1). The same process gets it once more, and no other one: a
            # request that ends its process must not end the next one too.
            self._resent = True
            assert self._upstream is not None
            self._connect(self._upstream)
        else:
            self._broken("it closed the connection" if error is None else str(error))

    def client_lost(self) -> None:
        """
        The client is gone: so is whatever is done for it.
        """
        if not self._over:
            self._let_go(reusable=False)
            if self._relay.access_log:
                self._log(499)

    def time_out(self) -> None:
        """
        Neither a cell nor the head of a response has come in time.
        """
        if self._upstream is None:
            self._fail(_unavailable())
        else:
            self._report(self._upstream, "it did not answer in time")
            self._fail(_timed_out())

    def _broken(self, reason: str) -> None:
        if self._upstream is not None:
            self._report(self._upstream, reason)
        if self.answering:
            self.client_lost()
            self._client.response_broken()
        else:
            self._fail(_failed())

    def _report(self, upstream: Upstream, reason: str) -> None:
        self._relay.failed(
            ray=self.ray, host=self.request.host, upstream=upstream.label, reason=reason
        )

    def _fail(self, problem: Problem) -> None:
        self._let_go(reusable=False)
        self._client.exchange_failed(problem)

    def _let_go(self, *, reusable: bool) -> None:
        """
        Leave the upstream, exactly once.
        """
        self._over = True
        relay = self._relay
        relay.in_flight -= 1
        if self._give_up_waiting is not None:
            self._give_up_waiting()
            self._give_up_waiting = None
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.exchange = None
            if reusable:
                connection.transport.resume_reading()
                relay.pool.give_back(connection)
            else:
                relay.pool.lost(connection)
                connection.transport.abort()
        upstream, self._upstream = self._upstream, None
        if upstream is not None:
            upstream.end()

    def _log(self, status: int) -> None:
        self._relay.answered(
            ray=self.ray,
            client=self.who,
            request=self.request,
            route=self._route,
            status=status,
            sent=self.sent,
            began=self.began,
        )


def _failed() -> Problem:
    return Problem(
        kind=Kind.UPSTREAM_FAILED,
        message="The function's process ended or broke off before it answered.",
    )


def _timed_out() -> Problem:
    return Problem(kind=Kind.UPSTREAM_TIMEOUT, message="The function did not answer in time.")


def _unavailable() -> Problem:
    return Problem(
        kind=Kind.UNAVAILABLE,
        message="There is no room for this request right now: try again in a moment.",
        retry_after=1,
    )
