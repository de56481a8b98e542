"""
What a state cell may ask of the daemon, over a unix socket that is this cell's alone: that it can
be reached is the authorisation, and it is good for one account.

    POST /deliver   a batch of a queue for its consumer (`deliver.js`); answered by its outcome
    POST /sync      the name of a large value; answered by 204 once it is on the disk, or by 404
"""

import json
from typing import Any, Final

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IListeningPort
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.http import Request as HTTPRequest
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request, Site

from workerd_faas.domain.errors import Problem
from workerd_faas.runtime.bounded import BoundedRequest
from workerd_faas.runtime.state.syncing import BlobSync
from workerd_faas.usecases.storage.ports import Deliveries

MAX_BATCH: Final = 40 << 20
"""A hundred messages of 128 KB, quoted; a dead letter queue may get a little more at once."""


_NAME_MOST: Final = 256
"""Bytes of a value's name that are looked at."""


class _Deliver(Resource):
    isLeaf = True

    _log = Logger()

    def __init__(self, account_id: str, deliveries: Deliveries) -> None:
        super().__init__()
        self._account_id = account_id
        self._deliveries = deliveries

    def render_POST(self, request: Request) -> int:
        assert request.content is not None
        delivering = Deferred.fromCoroutine(self._deliver(request, request.content.read()))
        gone: Deferred[None] = request.notifyFinish()
        gone.addErrback(lambda _: delivering.cancel())
        delivering.addErrback(self._failed, request)
        return NOT_DONE_YET

    async def _deliver(self, request: Request, batch: bytes) -> None:
        request.setHeader(b"content-type", b"application/json")
        try:
            request.write(await self._deliveries.deliver(self._account_id, batch))
        except Problem as problem:
            self._log.warn("a batch was not delivered: {problem}", problem=str(problem))
            request.setResponseCode(503)
            request.write(json.dumps({"error": problem.kind.value}).encode())
        request.finish()

    def _failed(self, failure: Failure, request: Request) -> None:
        if failure.check(CancelledError) is None:
            self._log.failure("delivering a batch", failure=failure)
            if not request.startedWriting:
                request.setResponseCode(500)
                request.write(b"{}")
                request.finish()


class _Sync(Resource):
    isLeaf = True

    _log = Logger()

    def __init__(self, sync: BlobSync) -> None:
        super().__init__()
        self._sync = sync

    def render_POST(self, request: Request) -> int:
        assert request.content is not None
        name = request.content.read(_NAME_MOST).decode("ascii", "replace")
        syncing = Deferred.fromCoroutine(self._sync(name))
        gone: Deferred[None] = request.notifyFinish()
        gone.addErrback(lambda _: syncing.cancel())
        syncing.addCallbacks(self._synced, self._failed, (request,), {}, (request,), {})
        return NOT_DONE_YET

    def _synced(self, there: bool, request: Request) -> None:
        request.setResponseCode(204 if there else 404)
        request.finish()

    def _failed(self, failure: Failure, request: Request) -> None:
        if failure.check(CancelledError) is None:
            self._log.failure("syncing a value", failure=failure)
            request.setResponseCode(500)
            request.finish()


class _Bounded(BoundedRequest):
    most = MAX_BATCH


class _Site(Site):
    noisy = False

    def __init__(
        self, reactor: Any, account_id: str, deliveries: Deliveries, sync: BlobSync
    ) -> None:
        root = Resource()
        root.putChild(b"deliver", _Deliver(account_id, deliveries))
        root.putChild(b"sync", _Sync(sync))
        super().__init__(root, reactor=reactor, requestFactory=_Bounded, timeout=None)

    def log(self, request: HTTPRequest) -> None:
        """
        No access log: the cell is ours, and what fails is logged where it fails.
        """


def listen(
    reactor: Any, path: str, account_id: str, deliveries: Deliveries, sync: BlobSync
) -> IListeningPort:
    """
    Serve one cell.

    Raises:
        CannotListenError: the socket could not be made.
    """
    port: IListeningPort = reactor.listenUNIX(
        path, _Site(reactor, account_id, deliveries, sync), mode=0o600
    )
    return port
