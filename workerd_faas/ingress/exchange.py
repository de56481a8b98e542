"""One request and its response: the part of a client's connection that involves an upstream."""

import errno
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from workerd_faas.domain.admission import Meter
from workerd_faas.domain.errors import Problem
from workerd_faas.domain.routing import Route
from workerd_faas.domain.termination import Verdict
from workerd_faas.domain.upstream import Upstream
from workerd_faas.ingress.endings import Knock, failed, terminated, timed_out, unavailable, unfit
from workerd_faas.ingress.headers import Request, Response
from workerd_faas.ingress.http1 import CHUNKED, Malformed
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
        "_client",
        "_complete",
        "_connection",
        "_keep",
        "_kept",
        "_meter",
        "_over",
        "_refusals",
        "_relay",
        "_resent",
        "_retried",
        "_route",
        "_status",
        "_unsent",
        "_upstream",
        "_withdraw",
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
        self._withdraw: Callable[[], Any] | None = None
        self._meter: Meter | None = None
        self._kept = False
        self._resent = False
        self._retried = False
        self._refusals = 0
        self._over = False
        self.request = request
        self.who = who
        self.ray = next(relay.request_ids)
        self.answering = False
        self.sent = 0
        self.began = relay.loop.time() if relay.access_log else 0.0

    # The request's way.

    def start(self, head: bytes, body: bytes, *, complete: bool) -> None:
        """
        Send the request on.

        Args:
            head: Its head, but for the request id and the empty line.
            body: What there is of the body, framed.
            complete: There is no more of it.
        """
        relay, route = self._relay, self._route
        relay.in_flight += 1
        self._complete = complete
        self._unsent = b"".join((head, b"cf-ray: ", self.ray, b"\r\n\r\n", body))
        if route is None:
            if relay.api is not None:
                self._go_to(relay.api)
            else:
                self._client.wait(relay.limits.cell_wait_seconds)
                self._keep_wish(relay.when_api(self._cell_ready))
            return
        meter = relay.meter_of(route.function)
        if (
            meter is not None
            and meter.left > 0
            and meter.account.left > 0
            and meter.account.name == route.account_id
        ):
            meter.left -= 1
            meter.account.left -= 1
            self._meter = meter
        elif not self._enter(route):
            return
        upstream = relay.cells.upstream(route)
        if upstream is not None:
            self._go_to(upstream)
        else:
            self._wait_for_cell()

    def _enter(self, route: Route) -> bool:
        """
        The long way to what `start` does itself where it can.
        """
        relay = self._relay
        try:
            self._meter = relay.admission.enter(route.account_id, route.function, relay.loop.time())
        except Problem as problem:
            self._fail(problem)
            return False
        return True

    def function_in(self, upstream: Upstream) -> str | None:
        """
        The function that it runs there, if it does.
        """
        return self._route.function if self._route and self._upstream is upstream else None

    def _wait_for_cell(self) -> None:
        assert self._route is not None  # See `start`.
        self._client.wait(self._relay.limits.cell_wait_seconds)
        self._keep_wish(self._relay.cells.when_ready(self._route, self._cell_ready))

    def _keep_wish(self, withdraw: Callable[[], Any]) -> None:
        # It may have been granted already, and another one may have come of that.
        if self._upstream is None and self._withdraw is None and not self._over:
            self._withdraw = withdraw

    def _cell_ready(self, result: Upstream | Problem) -> None:
        self._withdraw = None
        if self._over:
            return
        if isinstance(result, Problem):
            self._fail(result)
        else:
            self._go_to(result)

    def _go_to(self, upstream: Upstream) -> None:
        self._upstream = upstream
        route = self._route
        upstream.begin("" if route is None else route.function)
        connection = self._relay.pool.take(upstream)
        if connection is None:
            self._connect(upstream)
        else:
            self._kept = True
            self._send_first(connection)

    def _connect(self, upstream: Upstream) -> None:
        upstream.witnesses[self._relay] = self._relay.functions_in
        self._client.wait(self._relay.limits.first_byte_seconds)
        self._relay.pool.connect(upstream, self)

    def connected(self, connection: UpstreamConnection) -> None:
        """
        A new connection is there.
        """
        if self._over:
            connection.abort()
        elif connection.transport.is_closing():
            self.upstream_lost("it closed the connection")
        else:
            self._send_first(connection)

    def refused(self, error: OSError) -> None:
        """
        There is no connection to be had. Nothing of the request has been sent on this one, so a
        cell that has just died is no reason to fail it: its successor gets it.
        """
        if self._over:
            return
        upstream = self._upstream
        assert upstream is not None  # It was being connected to.
        self._refusals += 1
        if error.errno in _SHORTAGES:
            self._report(upstream, str(error))
            self._fail(unavailable())
        elif self._resent:
            self._find_out(str(error))
        elif self._route is None or self._refusals >= _REFUSALS:
            self._report(upstream, str(error))
            self._fail(failed())
        else:
            self._upstream = None
            upstream.end()
            self._client.wait(self._relay.limits.refused_seconds)
            self._keep_wish(self._relay.when_retired(upstream, self._look_for_another))

    def _look_for_another(self) -> None:
        self._withdraw = None
        if self._over:
            return
        assert self._route is not None  # See `refused`.
        upstream = self._relay.cells.upstream(self._route)
        if upstream is not None:
            self._go_to(upstream)
        else:
            self._wait_for_cell()

    def _send_first(self, connection: UpstreamConnection) -> None:
        self._connection = connection
        connection.exchange = self
        unsent = self._unsent
        limits, client = self._relay.limits, self._client
        if self._complete:
            client.wait(limits.first_byte_seconds)
            if not self.request.repeatable:
                self._unsent = b""
            # Else it is kept until something comes back: it may have to be sent again.
        else:
            self._unsent = b""
            client.wait(limits.body_idle_seconds)
            client.resume_reading()
        connection.transport.write(unsent)

    def send_body(self, data: bytes, *, complete: bool) -> None:
        """
        More of the request's body.
        """
        self._complete = complete
        connection, limits = self._connection, self._relay.limits
        if connection is None:
            self._unsent += data
            if len(self._unsent) > limits.buffered_bytes:
                self._client.pause_reading()
            return
        if not self.answering:
            self._client.wait(limits.first_byte_seconds if complete else limits.body_idle_seconds)
        if data:
            connection.transport.write(data)

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

    def something_came(self) -> None:
        """
        The response has begun, so the request must not be sent again.
        """
        self._unsent = b""

    def interim(self, response: Response) -> None:
        """
        A response that is not the last (1xx).
        """
        self._unsent = b""
        request, client = self.request, self._client
        if response.status == 100:
            if not request.expects_continue or self._complete:
                return
            client.wait(self._relay.limits.body_idle_seconds)
        if not request.http10:
            client.transport.write(response.core + b"\r\n")

    def answered(self, response: Response, body: bytes, *, reusable: bool) -> None:
        """
        A complete response.
        """
        relay = self._relay
        plain = response.plain
        if plain is not None and self.request.plain and not relay.draining:
            self.answering = self._keep = True
            self._status = response.status
            data = b"".join(
                (plain, relay.timers.date_line, b"CF-Ray: ", self.ray, b"\r\n\r\n", body)
            )
        else:
            data = self._head(response) + body
        self.sent = len(data)
        if relay.access_log:
            self.log(self._status)  # First, so that who has the answer finds it in the log.
        self._client.transport.write(data)
        self._end(reusable=reusable)

    def answer_begins(self, response: Response, body: bytes) -> None:
        """
        A response of which this is the beginning.
        """
        self._unsent = b""
        self._client.answering_began()
        self.answer_goes_on(self._head(response) + body)

    def answer_goes_on(self, body: bytes) -> None:
        """
        More of it.
        """
        self.sent += len(body)
        self._client.transport.write(body)

    def answer_ends(self, *, reusable: bool) -> None:
        """
        It is complete.

        Args:
            reusable: The upstream's connection can be used again.
        """
        if self._relay.access_log:
            self.log(self._status)
        self._end(reusable=reusable)

    def _end(self, *, reusable: bool) -> None:
        self._let_go(reusable=reusable and self._complete)
        self._client.exchange_done(keep=self._keep)

    def _head(self, response: Response) -> bytes:
        relay, request = self._relay, self.request
        self.answering = True
        self._status = response.status
        keep = request.keep_alive and not relay.draining
        framing = response.framing
        if response.body == CHUNKED and request.http10:
            framing = b""  # RFC 9112 section 6.1, also in answers that have no body.
        if not framing and not (response.bodyless or request.is_head):
            keep = False
        if not self._complete and not response.persistent:
            keep = False  # The upstream says that it will not read the rest.
        self._keep = keep
        if not keep:
            framing += b"Connection: close\r\n"
        elif request.http10:
            framing += b"Connection: keep-alive\r\n"
        date = b"" if response.has_date else relay.timers.date_line
        return b"".join((response.core, framing, date, b"CF-Ray: ", self.ray, b"\r\n\r\n"))

    def upgraded(self, response: Response, data: bytes) -> None:
        """
        The upstream changes the protocol (101).
        """
        request, client, upstream = self.request, self._client, self._upstream
        connection, self._connection = self._connection, None
        assert connection is not None  # It called us.
        assert upstream is not None
        if not request.upgrade:
            self._connection = connection
            self.upstream_failed("it changes the protocol unasked")
            return
        self._over = True
        connection.surrender()
        if self._relay.access_log:
            self.log(response.status)
        date = b"" if response.has_date else self._relay.timers.date_line
        open_tunnel(
            self._relay,
            upstream=upstream,
            function="" if self._route is None else self._route.function,
            meter=self._meter,
            client=client.transport,
            cell=connection.transport,
            to_client=b"%s%sCF-Ray: %s\r\n\r\n" % (response.core, date, self.ray),
            from_cell=data,
            from_client=client.surrender(),
            websocket=request.websocket,
        )

    def pause_response(self) -> None:
        """
        The client does not read the response as fast as it comes.
        """
        if self._connection is not None:
            self._connection.pause()

    def resume_response(self) -> None:
        """
        The client takes more.
        """
        if self._connection is not None:
            self._connection.resume()

    # Misfortune.

    def upstream_lost(self, reason: str) -> None:
        """
        The upstream's connection is gone.
        """
        self._connection = None
        upstream = self._upstream
        assert upstream is not None  # We were connected to it.
        if self.answering or (self._route is None and not self._may_resend):
            self.upstream_failed(reason)
        elif self._may_resend:
            # It was an idle connection that the upstream closed while the request was under way
            # (RFC 9112 section 9.3.1): the same process gets it once more.
            self._resent = True
            self._connect(upstream)
        else:
            self._find_out(reason)

    @property
    def _may_resend(self) -> bool:
        return self._kept and bool(self._unsent) and not self._resent

    def _find_out(self, reason: str) -> None:
        """
        Nothing has come and nothing will: has the process ended, and why?
        """
        upstream = self._upstream
        assert upstream is not None  # See the callers.
        if self._route is None:
            self.upstream_failed(reason)
            return
        self._client.wait(self._relay.limits.refused_seconds)
        withdraw = upstream.when_ended(self._ended)
        if upstream.verdict is None:
            self._withdraw = withdraw
            there = partial(self._still_there, upstream, reason)
            relay = self._relay
            relay.pool.connect(upstream, Knock(relay.loop, relay.pool, there))

    def _still_there(self, upstream: Upstream, reason: str) -> None:
        if self._upstream is upstream and self._connection is None and not self._over:
            self.upstream_failed(reason)

    def _ended(self, verdict: Verdict) -> None:
        """
        The process has ended. What it may not have begun, and what does no harm if done twice, is
        tried once more; not if it is what has ended the process.
        """
        self._withdraw = None
        upstream = self._upstream
        if self._over or upstream is None:
            return
        if verdict.again and self._unsent and not self._retried:
            self._retried = True
            self._kept = self._resent = False
            self._upstream = None
            upstream.end()
            self._look_for_another()
            return
        problem = terminated(verdict)
        self._report(upstream, problem.message)
        self._fail(problem)

    def upstream_failed(self, reason: str, malformed: Malformed | None = None) -> None:
        """
        There will be no good end to this response.

        Args:
            malformed: What is wrong with it.
        """
        assert self._upstream is not None  # It was its response.
        self._report(self._upstream, reason)
        if self.answering:
            self.client_lost(502)  # Whatever it began with, it is no answer.
            self._client.response_broken()
        else:
            self._fail(failed() if malformed is None else unfit(malformed))

    def client_lost(self, status: int = 499) -> None:
        """
        The client is gone, or has been refused: so is whatever is done for it.

        Args:
            status: What the access log is to say.
        """
        if not self._over:
            self._let_go(reusable=False)
            if self._relay.access_log:
                self.log(status)

    def time_out(self) -> None:
        """
        Neither a cell nor the head of a response has come in time.
        """
        if self._upstream is None:
            self._fail(unavailable())
        elif self._withdraw is not None:
            self.upstream_failed("it broke off, and does not end")
        else:
            self._report(self._upstream, "it did not answer in time")
            self._fail(timed_out())

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
        self._relay.in_flight -= 1
        connection, upstream = self._connection, self._upstream
        if connection is not None:
            self._connection = None
            if reusable:
                connection.release()
            else:
                connection.abort()
        if upstream is not None:
            self._upstream = None
            upstream.end()
        meter = self._meter
        if meter is not None:
            self._meter = None
            meter.left += 1
            meter.account.left += 1
        if self._withdraw is not None:
            self._withdraw()
            self._withdraw = None

    def log(self, status: int) -> None:
        """
        Write the access log.
        """
        self._relay.answered(
            ray=self.ray,
            client=self.who,
            request=self.request,
            route=self._route,
            status=status,
            sent=self.sent,
            began=self.began,
        )
