"""What all connections of the public port share, and the decisions they ask it for."""

import asyncio
import random
from collections.abc import Sequence
from typing import ClassVar, Final, Protocol

import attrs
from twisted.logger import Logger

from workerd_faas.domain.errors import Problem
from workerd_faas.domain.names import is_version_prefix
from workerd_faas.domain.routing import Route, RoutingTable, sticky_position
from workerd_faas.domain.upstream import Upstream
from workerd_faas.ingress.headers import Request, Response, prepare_request, prepare_response
from workerd_faas.ingress.hosts import FunctionHost, Place, place_of
from workerd_faas.ingress.http1 import Malformed, parse_request, parse_response
from workerd_faas.ingress.limits import RelayLimits
from workerd_faas.ingress.memo import Memo
from workerd_faas.ingress.misses import Misses
from workerd_faas.ingress.peers import Client, Network, Peer, direct_client, forwarded_client
from workerd_faas.ingress.pool import Pool
from workerd_faas.ingress.silence import Silence
from workerd_faas.ingress.timers import Timers
from workerd_faas.usecases.ports import Cells

_MEMO_HEAD: Final = 4096
_MEMO_ENTRIES: Final = 512
"""At most 2 · 512 heads of 4 KiB, with what they became: some 8 MiB for requests."""

_REPORTED_PER_TICK: Final = 20
"""Failures logged one by one in a tick; the rest is counted."""


class Connected(Protocol):
    """
    One client's connection, in whatever state.
    """

    def drain(self) -> None:
        """
        The daemon is about to stop: end when it does no harm.
        """

    def drained_out(self) -> None:
        """
        The time for that is over: end with as little harm as possible.
        """

    def cut(self) -> None:
        """
        End now.
        """


@attrs.define(eq=False, kw_only=True)
class Relay:
    """
    The relay's memory.

    Attributes:
        connections: Every client's connection.
        silence: Of them, those from which nothing is read for the moment.
        draining: Nothing new is begun.
        in_flight: Requests and tunnels that occupy an upstream or wait for one.
    """

    loop: asyncio.AbstractEventLoop
    limits: RelayLimits
    timers: Timers
    routes: RoutingTable
    cells: Cells
    api: Upstream
    base_domain: str
    use_forwarded_host: bool
    proxies: Sequence[Network]
    access_log: bool
    pool: Pool
    misses: Misses
    requests: Memo[bytes, Request] = attrs.Factory(lambda: Memo(_MEMO_ENTRIES))
    responses: Memo[bytes, Response] = attrs.Factory(lambda: Memo(_MEMO_ENTRIES))
    connections: set[Connected] = attrs.Factory(set)
    silence: Silence = attrs.Factory(Silence)
    draining: bool = False
    in_flight: int = 0
    tunnels: int = 0
    _places: Memo[bytes, Place] = attrs.Factory(lambda: Memo(_MEMO_ENTRIES))
    _clients: Memo[tuple[Peer, bytes | None, bytes | None], Client] = attrs.Factory(
        lambda: Memo(_MEMO_ENTRIES)
    )
    _failures: int = 0
    _log: ClassVar[Logger] = Logger()

    def __attrs_post_init__(self) -> None:
        self.timers.each_tick(self._report_failures)
        self.timers.each_tick(self.silence.look)

    def read_request(self, head: bytes) -> Request:
        """
        A request's head that is not in `requests`.

        Raises:
            Malformed: with the status to answer.
        """
        request = prepare_request(
            parse_request(
                head,
                max_line=self.limits.request_line_bytes,
                max_fields=self.limits.header_count,
            )
        )
        if len(head) <= _MEMO_HEAD:
            self.requests.put(head, request)
        return request

    def read_response(self, head: bytes) -> Response:
        """
        A response's head that is not in `responses`.

        Raises:
            Malformed: it cannot be passed on.
        """
        if len(head) > self.limits.head_bytes:
            raise Malformed("The head is too long.")
        response = prepare_response(parse_response(head, max_fields=self.limits.header_count))
        if len(head) <= _MEMO_HEAD:
            self.responses.put(head, response)
        return response

    def place_of(self, host: bytes) -> Place:
        """
        Whose host it is.
        """
        place = self._places.get(host)
        if place is None:
            place = place_of(host, self.base_domain)
            self._places.put(host, place)
        return place

    def client_of(self, peer: Peer, request: Request) -> Client:
        """
        Who sends a request through a trusted proxy.
        """
        key = (peer, request.forwarded_for, request.forwarded_proto)
        client = self._clients.get(key)
        if client is None:
            client = forwarded_client(
                peer, request.forwarded_for, request.forwarded_proto, self.proxies
            )
            self._clients.put(key, client)
        return client

    def direct_client(self, peer: Peer) -> Client:
        """
        Who sends requests on a connection of its own.
        """
        return direct_client(peer)

    def route_of(self, place: FunctionHost, client: Client, request: Request) -> Route:
        """
        The version that a request is for.

        Raises:
            Problem: there is none, or the client has guessed too often.
        """
        function, selector = place.function, place.selector
        if selector is None or selector == "latest":
            position = 0.0
            if self.routes.is_sticky(function):
                position = (
                    random.random() * 100  # noqa: S311 - a share of traffic, not a secret
                    if request.version_key is None
                    else sticky_position(function, request.version_key)
                )
            return self.routes.resolve(function, None, position)
        if not is_version_prefix(selector):
            return self.routes.resolve(function, selector, 0.0)
        self.misses.check(client.key, self.timers.now)
        try:
            return self.routes.resolve(function, selector, 0.0)
        except Problem:
            self.misses.missed(client.key, self.timers.now)
            raise

    def failed(self, *, ray: bytes, host: bytes, upstream: str, reason: str) -> None:
        """
        Log trouble with an upstream, but not without bound.
        """
        self._failures += 1
        if self._failures <= _REPORTED_PER_TICK:
            self._log.error(
                "request {ray} for {host}: {upstream}: {reason}",
                ray=ray.decode("ascii"),
                host=host.decode("latin-1"),
                upstream=upstream,
                reason=reason,
            )

    def _report_failures(self, _now: float) -> None:
        if self._failures > _REPORTED_PER_TICK:
            self._log.error(
                "{count} more requests failed", count=self._failures - _REPORTED_PER_TICK
            )
        self._failures = 0

    def answered(
        self,
        *,
        ray: bytes,
        client: Client,
        request: Request,
        route: Route | None,
        status: int,
        sent: int,
        began: float,
    ) -> None:
        """
        Write the access log.
        """
        self._log.info(
            "{ray} {client} {method} {host}{target} {status} {bytes} bytes in {seconds} s",
            ray=ray.decode("ascii"),
            client=client.key,
            method=request.method.decode("latin-1"),
            host=request.host.decode("latin-1"),
            target=request.target.partition(b"?")[0].decode("latin-1"),
            function=None if route is None else route.function,
            version=None if route is None else route.version_id,
            status=status,
            bytes=sent,
            seconds=round(self.loop.time() - began, 6),
        )
