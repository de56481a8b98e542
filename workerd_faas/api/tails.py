"""Live tails and the log over HTTP: `…/scripts/:name/tails`, `…/logs`, and the tails' WebSocket."""

import json
from datetime import datetime
from typing import Any, Final
from urllib.parse import urlencode

import attrs
from klein import Klein
from twisted.internet.defer import Deferred
from twisted.web.iweb import IRequest

from workerd_faas.api.envelope import answer, answer_made, header, number, query, read_json
from workerd_faas.api.scripts import SCRIPT, target_of
from workerd_faas.api.websocket import Socket, accept, take_over
from workerd_faas.domain.errors import Kind, Problem
from workerd_faas.domain.invocation import LEVELS, Level
from workerd_faas.domain.log_query import Kept, LogPage, LogQuery
from workerd_faas.domain.model import PublicUrls, timestamp
from workerd_faas.usecases.access import account_for
from workerd_faas.usecases.logs.filters import read_filters
from workerd_faas.usecases.logs.reading import LogReader
from workerd_faas.usecases.logs.tails import Tail, TailConnection, Tails
from workerd_faas.usecases.ports import Authenticator
from workerd_faas.usecases.target import Target
from workerd_faas.usecases.workers import Workers

SUBPROTOCOL: Final = "trace-v1"
MAX_PAGE: Final = 1000
_LONGEST: Final = 1000


@attrs.define(eq=False)
class _Watcher:
    """
    A connected tail, as the socket knows it.
    """

    connection: TailConnection

    def resumed(self) -> None:
        """
        See `api.websocket.Talker.resumed`.
        """
        self.connection.resume()

    def gone(self) -> None:
        """
        See `api.websocket.Talker.gone`.
        """
        self.connection.lost()


@attrs.frozen(kw_only=True)
class TailRoutes:
    """
    Watching functions, and reading what they said.

    Attributes:
        reactor: Provides IReactorTime.
    """

    reactor: Any
    auth: Authenticator
    workers: Workers
    tails: Tails
    reader: LogReader
    urls: PublicUrls

    def register(self, app: Klein) -> None:
        """
        See `api.app.Routes.register`.
        """
        self._register_tails(app)
        self._register_logs(app)

    async def _function(self, request: IRequest, account: str, name: str) -> Target:
        target = await target_of(self.auth, request, account, name)
        await self.workers.read.function(target)
        return target

    def _register_tails(self, app: Klein) -> None:
        @app.route(SCRIPT + "/tails", methods=["POST"])
        async def add_tail(request: IRequest, account: str, name: str) -> bytes:
            await self._function(request, account, name)
            filters = read_filters(read_json(request), client_ip=_client_ip(request))
            tail = self.tails.create(account, name, filters)
            secret = urlencode({"token": tail.token})
            url = f"ws{self.urls.api.removeprefix('http')}/tails/{tail.id}?{secret}"
            return answer(request, {**_shown(tail), "url": url})

        @app.route(SCRIPT + "/tails", methods=["GET"])
        async def tails(request: IRequest, account: str, name: str) -> bytes:
            await self._function(request, account, name)
            return answer(
                request,
                [
                    {**_shown(tail), "connected": connected}
                    for tail, connected in self.tails.tails(account, name)
                ],
            )

        @app.route(SCRIPT + "/tails/<tail>", methods=["DELETE"])
        async def delete_tail(request: IRequest, account: str, name: str, tail: str) -> bytes:
            await self._function(request, account, name)
            self.tails.delete(account, name, tail)
            return answer(request, None)

        # Whoever has the token may connect, and nobody else: Wrangler sends no credentials here.
        @app.route("/tails/<tail>", methods=["GET"])
        def connect(request: IRequest, tail: str) -> "Deferred[bytes]":
            socket = Socket(self.reactor, accept(request, [SUBPROTOCOL]))
            connection = self.tails.connect(tail, query(request, "token") or "", socket)
            if connection is None:
                raise Problem(kind=Kind.NOT_FOUND, message="There is no such tail, or no more.")
            socket.talker = _Watcher(connection)
            take_over(request, socket)
            return Deferred()  # never fires: the connection is no longer HTTP's

    def _register_logs(self, app: Klein) -> None:
        @app.route(SCRIPT + "/logs", methods=["GET"])
        async def logs(request: IRequest, account: str, name: str) -> bytes:
            await self._function(request, account, name)
            return self._answer_page(
                request, await self.reader.read(_query(request, account, name))
            )

        @app.route("/accounts/<account>/workers/logs", methods=["GET"])
        async def account_logs(request: IRequest, account: str) -> bytes:
            target = await target_of(self.auth, request, account, "")
            account_for(target.principal, account)
            wanted = _query(request, account, query(request, "script"))
            return self._answer_page(request, await self.reader.read(wanted))

    def _answer_page(self, request: IRequest, page: LogPage) -> bytes:
        found = b",".join(map(_event, page.kept))
        cursor = "" if page.cursor is None else str(page.cursor)
        info = {"count": len(page.kept), "cursor": cursor}
        return answer_made(request, b"[" + found + b"]", info=info)


def _event(kept: Kept) -> bytes:
    """
    A tail event with its number and request id, put behind the document as it is kept.
    """
    document = kept.invocation.document.strip()
    more = json.dumps({"id": str(kept.number), "requestId": kept.invocation.request_id})
    return f"{document[:-1]},{more[1:]}".encode()


def _shown(tail: Tail) -> dict[str, Any]:
    return {"id": tail.id, "expires_at": timestamp(tail.expires_at)}


def _client_ip(request: IRequest) -> str | None:
    """
    The address of whoever asks: the relay, our only peer, says it.
    """
    return header(request, "cf-connecting-ip")


def _query(request: IRequest, account: str, function: str | None) -> LogQuery:
    cursor = query(request, "cursor") or None
    if cursor is not None and not (cursor.isascii() and cursor.isdigit() and len(cursor) < 19):
        raise _wrong("cursor", "the cursor of an earlier answer")
    return LogQuery(
        account_id=account,
        function=function,
        version=_text(request, "version"),
        levels=_levels(request),
        outcome=_text(request, "outcome"),
        text=_text(request, "text"),
        since=_moment(request, "since"),
        until=_moment(request, "until"),
        request_id=_text(request, "request_id"),
        before=None if cursor is None else int(cursor),
        limit=number(request, "limit", default=100, most=MAX_PAGE),
    )


def _text(request: IRequest, name: str) -> str | None:
    value = query(request, name) or None
    if value is not None and len(value) > _LONGEST:
        raise _wrong(name, f"at most {_LONGEST} characters")
    return value


def _levels(request: IRequest) -> Level | None:
    value = query(request, "level") or None
    if value is None:
        return None
    levels = Level(0)
    for name in value.split(","):
        if name not in LEVELS:
            raise _wrong("level", f"one or several of {', '.join(LEVELS)}, separated by commas")
        levels |= LEVELS[name]
    return levels


def _moment(request: IRequest, name: str) -> int | None:
    """
    Milliseconds since 1970 from such a number, or from a time of RFC 3339.
    """
    value = query(request, name) or None
    if value is None:
        return None
    if value.isascii() and value.isdigit() and len(value) < 16:
        return int(value)
    try:
        moment = datetime.fromisoformat(value)
        if moment.tzinfo is None:
            raise ValueError
        return int(moment.timestamp() * 1000)
    except (ValueError, OverflowError):
        raise _wrong(
            name, "a time such as 2026-11-23T12:00:00Z, or milliseconds since 1970"
        ) from None


def _wrong(name: str, right: str) -> Problem:
    return Problem(kind=Kind.BAD_REQUEST, message=f"The query parameter {name!r} takes {right}.")
