"""
What a cell may ask of the daemon, over a unix socket that is this cell's alone: that it can be
reached is the authorisation, and it is good for one account's versions only.

    GET  /versions/<id>   the load document (wire.bundle)
    POST /traces          reports of invocations, as the router's traces.js sends them
"""

import json
import struct
from collections.abc import Awaitable
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
from workerd_faas.usecases.ports import FunctionEvents, VersionLoader

_TRACES_BYTES: Final = 4 << 20
_HEAD: Final = struct.Struct(">4sI")
_STATUS: Final = {Kind.VERSION_NOT_FOUND: 404, Kind.BUNDLE_CORRUPT: 500, Kind.UNAVAILABLE: 503}


def function_of(document: bytes) -> str:
    """
    The name of the function that a load document is of.
    """
    _, length = _HEAD.unpack_from(document)
    name = json.loads(document[_HEAD.size : _HEAD.size + length])["function"]
    assert isinstance(name, str)
    return name


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


class _Traces(Resource):
    isLeaf = True

    _log = Logger()

    def __init__(self, door: "_Door") -> None:
        super().__init__()
        self._door = door

    def render_POST(self, request: Request) -> bytes:
        assert request.content is not None
        try:
            self._door.traces(json.loads(request.content.read()))
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            return _say(request, 400, f"not a report: {type(error).__name__}")
        request.setResponseCode(204)
        return b""


@attrs.define(eq=False, kw_only=True)
class _Door:
    """
    Attributes:
        served: The versions that this cell was given, with their functions: it may report on these.
    """

    account_id: str | None
    loader: VersionLoader
    events: FunctionEvents
    served: dict[str, str] = attrs.Factory(dict)

    _log = Logger()

    async def document(self, version_id: str) -> bytes:
        loading: Awaitable[bytes] = self.loader.load_document(self.account_id, version_id)
        document = await loading
        self.served[version_id] = function_of(document)
        return document

    def traces(self, report: dict[str, Any]) -> None:
        dropped = int(report["dropped"])
        if dropped:
            self._log.warn("a cell dropped {count} reports", count=dropped)
        for entry in report["traces"]:
            version_id, trace = entry["version"], entry["trace"]
            function = self.served.get(version_id)
            if function is not None and isinstance(trace, dict):
                self.events.invocation(function, version_id, trace)


class _BoundedRequest(Request):
    """
    Refuses a body that is too long before it is read.
    """

    def gotLength(self, length: int | None) -> None:
        if length is not None and length > _TRACES_BYTES:
            assert self.channel is not None
            self.channel.loseConnection()
            return
        super().gotLength(length)


class _Site(Site):
    noisy = False

    def __init__(self, door: _Door, reactor: Any) -> None:
        root = Resource()
        root.putChild(b"versions", _Versions(door))
        root.putChild(b"traces", _Traces(door))
        super().__init__(root, reactor=reactor, requestFactory=_BoundedRequest)

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
) -> IListeningPort:
    """
    Serve one cell.

    Args:
        reactor: Provides IReactorUNIX and IReactorTime.
        path: Where the socket shall be; 0600.
        account_id: Whose versions it may load; None: everybody's.

    Raises:
        CannotListenError: the socket could not be made.
    """
    door = _Door(account_id=account_id, loader=loader, events=events)
    port: IListeningPort = reactor.listenUNIX(path, _Site(door, reactor), mode=0o600)
    return port
