"""
What a cell may ask of the daemon, over a unix socket that is this cell's alone: that it can be
reached is the authorisation, and it is good for one account's versions only.

    GET  /versions/<id>   the load document (wire.bundle)
    GET  /functions/<name>?account=<id>&selector=<label>
                          who answers when a function calls this one: {"live": [[end, version]]}
    POST /points          data points of functions, as the router's analytics.js sends them
    POST /traces          reports of invocations, as the router's traces.js sends them; the answer
                          comes when there is room for more, and 429 when it was too much
"""

import json
import struct
from collections.abc import Awaitable, Iterable, Sequence
from typing import Any, Final

import attrs
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IListeningPort
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.http import Request as HTTPRequest
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request, Site

from workerd_faas.domain.errors import Kind, Problem
from workerd_faas.domain.routing import Route
from workerd_faas.runtime.bounded import BoundedRequest
from workerd_faas.runtime.budget import Budget, spend
from workerd_faas.usecases.ports import CallTargets, FunctionEvents, PointSink, VersionLoader

_TRACES_BYTES: Final = 1 << 20
"""Of one request, whatever it is; the router's are smaller."""

_BYTES_PER_SECOND: Final = 512 * 1024
_BURST: Final = 2 << 20
"""Bytes of reports that one cell may send."""

_ALL_BYTES_PER_SECOND: Final = 4 << 20
_BURST_OF_ALL: Final = 8 << 20
"""Bytes that all cells together may: reading so much takes a third of the reactor's time."""

_LOST_MOST: Final = 1 << 40
_HEAD: Final = struct.Struct(">4sI")
_NONSENSE: Final = (ValueError, TypeError, KeyError, AttributeError, OverflowError)
_STATUS: Final = {
    Kind.TARGET_NOT_FOUND: 404,
    Kind.NOT_DEPLOYED: 404,
    Kind.VERSION_NOT_FOUND: 404,
    Kind.BUNDLE_CORRUPT: 500,
    Kind.UNAVAILABLE: 503,
}


def budget_of_all() -> Budget:
    """
    What all cells of a fleet together may report.
    """
    return Budget(per_second=_ALL_BYTES_PER_SECOND, burst=_BURST_OF_ALL)


def route_of(document: bytes, version_id: str, account_id: str | None) -> Route:
    """
    The version that a load document is of.

    Args:
        account_id: Whose it is if the document does not say so.
    """
    _, length = _HEAD.unpack_from(document)
    header = json.loads(document[_HEAD.size : _HEAD.size + length])
    return Route(header.get("account", account_id), header["function"], version_id)


def _say(request: Request, status: int, message: str) -> bytes:
    request.setResponseCode(status)
    request.setHeader(b"content-type", b"application/json")
    return json.dumps({"error": message}).encode()


class _Versions(Resource):
    isLeaf = True

    _log = Logger()

    def __init__(self, door: "_Door") -> None:
        super().__init__()
        self._door = door

    def render_GET(self, request: Request) -> int:
        version_id = b"/".join(request.postpath or []).decode("utf-8", "replace")
        answering = Deferred.fromCoroutine(self._answer(request, version_id))
        gone: Deferred[None] = request.notifyFinish()
        gone.addErrback(lambda _: answering.cancel())
        answering.addErrback(self._failed, request)
        return NOT_DONE_YET

    async def _answer(self, request: Request, version_id: str) -> None:
        try:
            document = await self._door.document(version_id)
        except Problem as problem:
            self._log.warn("version {id}: {problem}", id=version_id, problem=str(problem))
            request.write(_say(request, _STATUS.get(problem.kind, 500), problem.kind.value))
        else:
            request.setHeader(b"content-length", str(len(document)).encode())
            request.write(document)
        request.finish()

    def _failed(self, failure: Failure, request: Request) -> None:
        if failure.check(CancelledError) is None:
            self._log.failure("loading a version", failure=failure)
            if not request.startedWriting:
                request.write(_say(request, 500, "internal"))
                request.finish()


class _Functions(Resource):
    isLeaf = True

    def __init__(self, door: "_Door") -> None:
        super().__init__()
        self._door = door

    def render_GET(self, request: Request) -> bytes:
        name = b"/".join(request.postpath or []).decode("utf-8", "replace")
        try:
            live = self._door.shares(
                name, _query(request, b"account"), _query(request, b"selector")
            )
        except Problem as problem:
            return _say(request, _STATUS.get(problem.kind, 500), problem.message)
        request.setHeader(b"content-type", b"application/json")
        return json.dumps({"live": live}).encode()


def _query(request: Request, name: bytes) -> str | None:
    values = request.args.get(name, [])
    return values[0].decode("utf-8", "replace") if values else None


class _Traces(Resource):
    isLeaf = True

    _log = Logger()

    def __init__(self, door: "_Door") -> None:
        super().__init__()
        self._door = door

    def render_POST(self, request: Request) -> bytes | int:
        assert request.content is not None
        body = request.content.read()
        pause = self._door.pause_for(len(body))
        if pause is None:
            return _say(request, 429, "too many reports")
        try:
            self._door.traces(json.loads(body))
        except (*_NONSENSE, RecursionError) as error:
            return _say(request, 400, f"not a report: {type(error).__name__}")
        request.setResponseCode(204)
        if not pause:
            return b""
        later = self._door.reactor.callLater(pause, request.finish)
        request.notifyFinish().addErrback(lambda _: later.cancel())
        return NOT_DONE_YET


class _Points(Resource):
    isLeaf = True

    def __init__(self, door: "_Door") -> None:
        super().__init__()
        self._door = door

    def render_POST(self, request: Request) -> bytes:
        assert request.content is not None
        try:
            self._door.points_of(json.loads(request.content.read()))
        except (*_NONSENSE, RecursionError) as error:
            return _say(request, 400, f"not data points: {type(error).__name__}")
        request.setResponseCode(204)
        return b""


@attrs.define(eq=False, kw_only=True)
class _Door:
    """
    Attributes:
        reactor: Provides IReactorTime.
        called: The functions that this cell has asked about, since its functions call them.
        loaded: The functions of which this cell was given a version.
        served: These versions: it may report on them.
    """

    reactor: Any
    account_id: str | None
    loader: VersionLoader
    events: FunctionEvents
    targets: CallTargets
    points: PointSink | None
    called: set[str]
    loaded: set[str]
    served: dict[str, Route] = attrs.Factory(dict)
    common: Budget
    _own: Budget = attrs.Factory(lambda: Budget(per_second=_BYTES_PER_SECOND, burst=_BURST))

    async def document(self, version_id: str) -> bytes:
        loading: Awaitable[bytes] = self.loader.load_document(self.account_id, version_id)
        document = await loading
        route = self.served[version_id] = route_of(document, version_id, self.account_id)
        self.loaded.add(route.function)
        return document

    def shares(
        self, function: str, account: str | None, selector: str | None
    ) -> Sequence[tuple[float, str]]:
        # Known as asking before it is told: what changes from now on is said to the cell.
        self.called.add(function)
        return self.targets.shares(self.account_id or account or "", function, selector)

    def pause_for(self, size: int) -> float | None:
        """
        How many seconds the answer to a report of this size waits, so that a cell cannot send more
        than its share; None: it is too much already.
        """
        return spend((self._own, self.common), size, self.reactor.seconds())

    def points_of(self, report: dict[str, Any]) -> None:
        if self.points is None:
            return
        for each in report["written"]:
            of = each["of"]
            account = self.account_id or of["account"]
            names = (account, of["function"], of["dataset"])
            if all(isinstance(name, str) for name in names):
                for point in each["points"]:
                    self.points.point(*names, point)

    def traces(self, report: dict[str, Any]) -> None:
        for each in report["lost"]:
            route = self.served.get(each["version"])
            if route is not None:
                self.events.lost(route, _count(each["invocations"]), _count(each["lines"]))
        for entry in report["traces"]:
            route, trace = self.served.get(entry["version"]), entry["trace"]
            if route is not None and isinstance(trace, dict):
                self.events.invocation(route, trace, entry["ended"])


def _count(value: Any) -> int:
    return max(0, min(int(value), _LOST_MOST))


class _Bounded(BoundedRequest):
    most = _TRACES_BYTES


class _Site(Site):
    noisy = False

    def __init__(self, door: _Door, reactor: Any) -> None:
        root = Resource()
        root.putChild(b"versions", _Versions(door))
        root.putChild(b"functions", _Functions(door))
        root.putChild(b"traces", _Traces(door))
        root.putChild(b"points", _Points(door))
        super().__init__(root, reactor=reactor, requestFactory=_Bounded)

    def log(self, request: HTTPRequest) -> None:
        """
        No access log: the cell is ours, and what fails is logged where it fails.
        """


def listen(
    reactor: Any,
    path: str,
    *,
    account_id: str | None,
    loader: VersionLoader,
    events: FunctionEvents,
    targets: CallTargets,
    called: set[str],
    loaded: set[str],
    common: Budget,
    points: PointSink | None = None,
    given: Iterable[Route] = (),
) -> IListeningPort:
    """
    Serve one cell.

    Args:
        reactor: Provides IReactorUNIX and IReactorTime.
        path: Where the socket shall be; 0600.
        account_id: Whose versions it may load; None: everybody's.
        called: Filled with the names of functions that the cell asks about.
        loaded: Filled with those of functions that it gets a version of.
        common: What all cells together may report.
        points: Takes the data points of its functions.
        given: Versions that it has without asking.

    Raises:
        CannotListenError: the socket could not be made.
    """
    door = _Door(
        reactor=reactor,
        account_id=account_id,
        loader=loader,
        events=events,
        targets=targets,
        called=called,
        loaded=loaded,
        common=common,
        points=points,
        served={route.version_id: route for route in given},
    )
    loaded.update(route.function for route in door.served.values())
    port: IListeningPort = reactor.listenUNIX(path, _Site(door, reactor), mode=0o600)
    return port
