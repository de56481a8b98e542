"""The Klein application: routes of all areas, one rendering of errors, one shape of requests."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol

from klein import Klein
from twisted.internet.defer import CancelledError
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.iweb import IRequest
from twisted.web.resource import IResource
from twisted.web.server import Site
from werkzeug.exceptions import HTTPException, MethodNotAllowed, NotFound

from workerd_faas.api.absent import absent
from workerd_faas.api.access import needing
from workerd_faas.api.envelope import answer_problem
from workerd_faas.api.request import ApiChannel, ApiRequest, Knows
from workerd_faas.domain.errors import Kind, Problem


class Routes(Protocol):
    """
    One area of the API.
    """

    def register(self, app: Klein) -> None:
        """
        Add its routes to the application.
        """


class StrictKlein(Klein):
    """
    Klein, where two handlers of one name are two handlers: by itself it knows them by their bare
    names and lets the later one quietly take the place of the earlier. And where every route says
    what it needs (`domain.permissions`).
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
            return decorate(needing(url, handler, tuple(options["methods"])))

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

    def rules(self) -> Iterable[Any]:
        """
        All routes, as werkzeug has them.
        """
        return self._klein.url_map.iter_rules()

    def resource(self) -> IResource:
        """
        The application as a twisted.web resource.
        """
        return self._klein.resource()

    def site(self, reactor: Any, *, max_upload: int, known_by: Sequence[Knows]) -> Site:
        """
        A site that serves it.

        Args:
            reactor: For the site's time-outs.
            max_upload: Bytes of a multipart body.
            known_by: Ways to be known; a large body is taken from nobody else.
        """
        bound = type(
            "BoundedApiRequest",
            (ApiRequest,),
            {"max_upload": max_upload, "known_by": tuple(known_by)},
        )
        # POST bodies are not parsed by twisted.web: uploads are parsed strictly by us.
        site = Site(
            self.resource(),
            requestFactory=bound,
            parsePOSTFormSubmission=False,
            reactor=reactor,
            timeout=None,
        )
        site.protocol = ApiChannel  # type: ignore[method-assign, assignment]
        site.displayTracebacks = False
        site.noisy = False
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
            problem = absent(request.path.decode("ascii", "replace")) or Problem(
                kind=Kind.NOT_FOUND, message="There is no such path in this API."
            )
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
