"""The Klein application: routes of all areas, one rendering of errors, one shape of requests."""

from collections.abc import Callable, Iterable
from typing import Any, Final, Protocol
from urllib.parse import unquote_to_bytes

from klein import Klein
from twisted.internet.defer import CancelledError
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.iweb import IRequest
from twisted.web.resource import IResource
from twisted.web.server import Request, Site
from werkzeug.exceptions import HTTPException, MethodNotAllowed, NotFound

from workerd_faas.api.envelope import answer_problem
from workerd_faas.api.paths import body_limit, split_key
from workerd_faas.domain.errors import Kind, Problem

PREFIX: Final = b"/client/v4"
"""Every route answers at `/` and below this path, where Cloudflare's own API is."""

MAX_BODY: Final = 2 << 20
"""Bytes of a request body that is not an upload."""


class Routes(Protocol):
    """
    One area of the API.
    """

    def register(self, app: Klein) -> None:
        """
        Add its routes to the application.
        """


class ApiRequest(Request):
    """
    A request whose body is bounded and left as it came: routes parse what they expect.
    """

    max_upload: int = 0
    key: bytes | None = None
    _received = 0
    _refused = False

    def gotLength(self, length: int | None) -> None:
        """
        Refuse a body that says it is too long before any of it is read.
        """
        super().gotLength(length)
        if length is not None and length > self._limit():
            self._refuse_body()

    def handleContentChunk(self, data: bytes) -> None:
        """
        Take body bytes up to the limit.
        """
        if self._refused:
            return
        self._received += len(data)
        if self._received > self._limit():
            self._refuse_body()
        else:
            super().handleContentChunk(data)

    def _limit(self) -> int:
        large = body_limit(self.channel._path)
        if large is not None:
            return large
        content_type = self.requestHeaders.getRawHeaders(b"content-type", [b""])[0]
        return self.max_upload if content_type.startswith(b"multipart/form-data") else MAX_BODY

    def _refuse_body(self) -> None:
        self._refused = True
        problem = Problem(
            kind=Kind.BODY_TOO_LARGE,
            message=f"The request body is longer than {self._limit()} bytes.",
        )
        body = answer_problem(self, problem)
        # Answer at once. What still comes is read and dropped, not refused: closing now would
        # reset the connection, and the client might never see the answer.
        transport: Any = self.channel.transport
        transport.write(
            b"HTTP/1.1 413 Content Too Large\r\ncontent-type: application/json\r\n"
            b"connection: close\r\ncontent-length: %d\r\n\r\n%s" % (len(body), body)
        )

    def requestReceived(self, command: bytes, path: bytes, version: bytes) -> None:
        """
        The request is complete.
        """
        if self._refused:
            self.channel.loseConnection()
        else:
            super().requestReceived(command, path, version)

    def process(self) -> None:
        """
        Strip `/client/v4`, refuse paths that are no text, and route.
        """
        if self.path == PREFIX or self.path.startswith(PREFIX + b"/"):
            self.path = self.path[len(PREFIX) :] or b"/"
        if not _is_text(self.path):
            problem = Problem(kind=Kind.BAD_REQUEST, message="The path is not valid UTF-8.")
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


class StrictKlein(Klein):
    """
    Klein, where two handlers of one name are two handlers: by itself it knows them by their bare
    names and lets the later one quietly take the place of the earlier.
    """

    def route(self, url: str, *args: Any, **options: Any) -> Any:
        """
        See `Klein.route`.
        """

        def add(handler: Callable[..., Any]) -> Any:
            endpoint = f"{handler.__module__}.{handler.__qualname__}"
            if endpoint in self.endpoints:
                raise ValueError(f"two routes are called {endpoint}")
            decorate: Any = super(StrictKlein, self).route(url, *args, endpoint=endpoint, **options)
            return decorate(handler)

        return add


class Api:
    """
    All routes in one Klein application.
    """

    log = Logger()

    def __init__(self, areas: Iterable[Routes]) -> None:
        self._klein = StrictKlein()
        # Wrangler's paths are taken as they are: no redirects, no merged slashes.
        self._klein.url_map.strict_slashes = False
        self._klein.url_map.merge_slashes = False
        for area in areas:
            area.register(self._klein)
        handle: Any = self._klein.handle_errors
        handle(Problem)(self._problem)
        handle(HTTPException)(self._unrouted)
        handle(Exception)(self._bug)

    def resource(self) -> IResource:
        """
        The application as a twisted.web resource.
        """
        return self._klein.resource()

    def site(self, reactor: Any, *, max_upload: int) -> Site:
        """
        A site that serves it.

        Args:
            reactor: For the site's time-outs.
            max_upload: Bytes of a multipart body.
        """
        bound = type("BoundedApiRequest", (ApiRequest,), {"max_upload": max_upload})
        # POST bodies are not parsed by twisted.web: uploads are parsed strictly by us.
        site = Site(
            self.resource(),
            requestFactory=bound,
            parsePOSTFormSubmission=False,
            reactor=reactor,
            timeout=None,
        )
        site.displayTracebacks = False
        # The ingress writes the access log.
        site.log = lambda request: None  # type: ignore[method-assign]
        return site

    def _problem(self, request: IRequest, failure: Failure) -> bytes:
        problem = failure.value
        assert isinstance(problem, Problem)
        return answer_problem(request, problem)

    def _unrouted(self, request: IRequest, failure: Failure) -> bytes:
        error = failure.value
        if isinstance(error, MethodNotAllowed):
            allowed = ", ".join(sorted(error.valid_methods or ()))
            request.setHeader(b"allow", allowed.encode())
            problem = Problem(
                kind=Kind.METHOD_NOT_ALLOWED, message=f"This path takes only: {allowed}."
            )
        elif isinstance(error, NotFound):
            problem = Problem(kind=Kind.NOT_FOUND, message="There is no such path in this API.")
        else:
            problem = Problem(kind=Kind.BAD_REQUEST, message="The request cannot be understood.")
        return answer_problem(request, problem)

    def _bug(self, request: IRequest, failure: Failure) -> bytes | Failure:
        if failure.check(CancelledError):  # the client has gone
            return failure
        self.log.failure(
            "API request failed: {method} {path}",
            failure,
            method=request.method.decode("ascii", "replace"),
            path=request.path.decode("ascii", "replace"),
        )
        return answer_problem(
            request,
            Problem(kind=Kind.INTERNAL, message="Something went wrong here; it has been logged."),
        )
