"""
Requests of the API as twisted.web takes them in: bounds of heads and bodies, and who may send much.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final
from urllib.parse import unquote_to_bytes

from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.http import HTTPChannel
from twisted.web.iweb import IRequest
from twisted.web.resource import IResource
from twisted.web.server import Request

from workerd_faas.api.envelope import answer_problem, header
from workerd_faas.api.paths import body_limit, split_key
from workerd_faas.domain.errors import Kind, Problem
from workerd_faas.usecases.ports import Authenticator

PREFIX: Final = b"/client/v4"
"""Every route answers at `/` and below this path, where Cloudflare's own API is."""

MAX_BODY: Final = 2 << 20
"""Bytes of a request body that is not an upload, and of what anybody may send."""

Knows = Callable[[IRequest], Awaitable[bool]]
"""Whether a request, of which no more than the head is there, is from somebody known."""


def path_of(request: Any) -> bytes:
    """
    The path that a request is for, below `PREFIX` or not, as soon as its head is there.
    """
    path: bytes = request.channel._path.partition(b"?")[0]
    return path.removeprefix(PREFIX)


def bearers(auth: Authenticator) -> Knows:
    """
    Those who have a bearer token for the API are known.
    """

    async def knows(request: IRequest) -> bool:
        try:
            await auth.authenticate(header(request, "authorization"))
        except Problem as problem:
            if problem.kind is not Kind.UNAUTHENTICATED:
                raise
            return False
        return True

    return knows


class ApiChannel(HTTPChannel):
    """
    A connection of the relay, which bounds heads itself: what it lets through must fit.
    """

    MAX_LENGTH = 128 << 10
    totalHeadersSize = 128 << 10


class ApiRequest(Request):
    """
    A request whose body is bounded and left as it came: routes parse what they expect.

    A body of more than `MAX_BODY` is a file on the disk, so it is taken only from somebody who is
    known: until that is found out, the connection is not read further.

    Attributes:
        max_upload: Bytes of a multipart body.
        known_by: Ways to be known; one will do.
        key: See `api.paths`.
    """

    log = Logger()

    max_upload: int = 0
    known_by: Sequence[Knows] = ()
    key: bytes | None = None
    _received = 0
    _refused = False
    _known = False
    _asking: "Deferred[None] | None" = None

    def gotLength(self, length: int | None) -> None:
        """
        Refuse a body that says it is too long before any of it is read.
        """
        super().gotLength(length)
        if length is not None and length > self._limit():
            self._refuse(self._too_large())

    def handleContentChunk(self, data: bytes) -> None:
        """
        Take body bytes up to the limit.
        """
        if self._refused:
            return
        self._received += len(data)
        if self._received > self._limit():
            self._refuse(self._too_large())
            return
        super().handleContentChunk(data)
        if self._received > MAX_BODY and not self._known and self._asking is None:
            self._transport.pauseProducing()
            self._asking = Deferred.fromCoroutine(self._ask())
            self._asking.addErrback(self._not_asked)

    @property
    def _transport(self) -> Any:
        return self.channel.transport

    async def _ask(self) -> None:
        problem = None
        try:
            for knows in self.known_by:
                if await knows(self):
                    self._known = True
                    break
            else:
                problem = Problem(kind=Kind.UNAUTHENTICATED, message="Authentication error")
        except Problem as failed:
            problem = failed
        if problem is not None:
            self._refuse(problem)
        self._transport.resumeProducing()

    def _not_asked(self, failure: Failure) -> None:
        if failure.check(CancelledError) is None:
            self.log.failure("asking who sends a large body", failure)
            self._transport.loseConnection()

    def _limit(self) -> int:
        large = body_limit(path_of(self))
        if large is not None:
            return large
        content_type = self.requestHeaders.getRawHeaders(b"content-type", [b""])[0]
        is_form = content_type.lower().startswith(b"multipart/form-data")
        return self.max_upload if is_form else MAX_BODY

    def _too_large(self) -> Problem:
        return Problem(
            kind=Kind.BODY_TOO_LARGE,
            message=f"The request body is longer than {self._limit()} bytes.",
        )

    def _refuse(self, problem: Problem) -> None:
        """
        Answer at once. What still comes is read and dropped, not refused: closing now would
        reset the connection, and the client might never see the answer.
        """
        self._refused = True
        body = answer_problem(self, problem)
        self.responseHeaders.removeHeader(b"server")
        self.setHeader(b"connection", b"close")
        lines = [b"HTTP/1.1 %d %s" % (self.code, self.code_message)]
        for name, values in self.responseHeaders.getAllRawHeaders():
            lines.extend(name + b": " + value for value in values)
        self._transport.write(b"\r\n".join([*lines, b"", body]))

    def requestReceived(self, command: bytes, path: bytes, version: bytes) -> None:
        """
        The request is complete.
        """
        self._stop_asking()
        if self._refused:
            self.channel.loseConnection()
        else:
            super().requestReceived(command, path, version)

    def connectionLost(self, reason: Failure) -> None:
        """
        There is nobody to answer any more.
        """
        self._stop_asking()
        super().connectionLost(reason)

    def _stop_asking(self) -> None:
        asking, self._asking = self._asking, None
        if asking is not None and not asking.called:
            asking.cancel()
            self._transport.resumeProducing()

    def process(self) -> None:
        """
        Strip `/client/v4`, refuse paths that are no text, and route.
        """
        if self.path == PREFIX or self.path.startswith(PREFIX + b"/"):
            self.path = self.path[len(PREFIX) :] or b"/"
        if not _is_text(self.path):
            problem = Problem(
                kind=Kind.BAD_REQUEST, message="The path, decoded, must be UTF-8 without NUL."
            )
            self.write(answer_problem(self, problem))
            self.finish()
            return
        self.path, self.key = split_key(self.path)
        super().process()

    def render(self, resrc: IResource) -> None:
        """
        Answer, without telling everybody which server software this is.
        """
        self.responseHeaders.removeHeader(b"server")
        super().render(resrc)


def _is_text(path: bytes) -> bool:
    try:
        text = unquote_to_bytes(path).decode("utf-8")
    except UnicodeDecodeError:
        return False
    return "\0" not in text
