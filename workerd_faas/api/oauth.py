"""
The authorization server over HTTP: `/oauth2/…`, `/auth/callback` and its metadata.

Browsers get redirects and, where nobody may be redirected, a page; programs get the JSON of
RFC 6749, not the API's envelope.
"""

from datetime import timedelta
from html import escape
from typing import Any, Final

import attrs
from klein import Klein
from twisted.web.iweb import IRequest
from werkzeug.exceptions import MethodNotAllowed

from workerd_faas.api.envelope import header, write_json
from workerd_faas.api.errors import STATUS_AND_CODE
from workerd_faas.api.login_cookie import LoginCookie
from workerd_faas.api.pages import page
from workerd_faas.domain.errors import Problem
from workerd_faas.domain.oauth import (
    OAuthError,
    Parameters,
    Redirected,
    Unredirectable,
    parse_authorization_request,
    server_metadata,
)
from workerd_faas.usecases.identity.grants import Grants
from workerd_faas.usecases.identity.logins import LOGIN_LIFETIME, LoginRefused, Logins

MAX_FORM: Final = 16 << 10
"""Bytes of a request to the token or revocation endpoint."""

_FORM: Final = "application/x-www-form-urlencoded"


@attrs.frozen(kw_only=True)
class OAuthRoutes:
    """
    Logins of CLI clients.

    Attributes:
        issuer: The API's URL, without a trailing slash.
    """

    issuer: str
    logins: Logins
    grants: Grants

    def register(self, app: Klein) -> None:
        """
        See `api.app.Routes.register`.
        """

        @app.route("/oauth2/auth", methods=["GET"])
        async def authorize(request: IRequest) -> bytes:
            return await self._authorize(request)

        @app.route("/auth/callback", methods=["GET"])
        async def callback(request: IRequest) -> bytes:
            if request.method == b"HEAD":
                # It would use the login up, and HEAD changes nothing (RFC 9110 section 9.2.1).
                raise MethodNotAllowed(valid_methods=["GET"])
            return await self._callback(request)

        @app.route("/oauth2/token", methods=["POST"])
        async def token(request: IRequest) -> bytes:
            return await self._token(request)

        @app.route("/oauth2/revoke", methods=["POST"])
        async def revoke(request: IRequest) -> bytes:
            return await self._revoke(request)

        @app.route("/.well-known/oauth-authorization-server", methods=["GET"])
        async def metadata(request: IRequest) -> bytes:
            return write_json(request, 200, server_metadata(self.issuer))

    @property
    def _cookie(self) -> LoginCookie:
        return LoginCookie(self.issuer)

    async def _authorize(self, request: IRequest) -> bytes:
        try:
            asked = parse_authorization_request(query_of(request))
        except Unredirectable as refused:
            return refusal(request, refused.message)
        except Redirected as refused:
            return redirect(request, refused.to.error_url(self.issuer, refused.error))
        try:
            begun = await self.logins.begin(asked)
        except OAuthError as error:
            return redirect(request, asked.back.error_url(self.issuer, error))
        self._cookie.set(request, begun.login_id, begun.secret, LOGIN_LIFETIME)
        return redirect(request, begun.url)

    async def _callback(self, request: IRequest) -> bytes:
        answer = Parameters.parse(query_of(request))
        try:
            login_id = self.logins.login_id(answer)
            finished = await self.logins.finish(answer, self._cookie.values(request, login_id))
        except LoginRefused as refused:
            return refusal(request, refused.message)
        if finished.over:
            self._cookie.set(request, login_id, "", timedelta(0))
        return redirect(request, finished.url)

    async def _token(self, request: IRequest) -> bytes:
        # RFC 6749 section 5.1 wants it beside Cache-Control, for caches of HTTP/1.0.
        request.setHeader(b"pragma", b"no-cache")
        try:
            return write_json(request, 200, await self.grants.token(form_of(request)))
        except OAuthError as error:
            return json_error(request, error)
        except Problem as problem:
            return json_problem(request, problem)

    async def _revoke(self, request: IRequest) -> bytes:
        try:
            await self.grants.revoke(form_of(request))
        except OAuthError as error:
            return json_error(request, error)
        except Problem as problem:
            return json_problem(request, problem)
        return write_json(request, 200, {})


def query_of(request: IRequest) -> bytes:
    """
    The query as it came.
    """
    raw: Any = request
    query: bytes = raw.uri.partition(b"?")[2]
    return query


def form_of(request: IRequest) -> Parameters:
    """
    Raises:
        OAuthError: it is not a form of acceptable size, or there is something beside it.
    """
    if request.requestHeaders.hasHeader(b"authorization"):
        raise OAuthError("invalid_client", "Clients here have no credentials.", 401)
    content_type = header(request, "content-type") or ""
    if content_type.partition(";")[0].strip().lower() != _FORM:
        raise OAuthError("invalid_request", f"The body must be {_FORM}.")
    if query_of(request):
        raise OAuthError("invalid_request", "Parameters belong into the body, not into the URL.")
    request.content.seek(0)
    body = request.content.read(MAX_FORM + 1)
    if len(body) > MAX_FORM:
        raise OAuthError("invalid_request", f"The body is longer than {MAX_FORM} bytes.", 413)
    return Parameters.parse(body)


def redirect(request: IRequest, url: str) -> bytes:
    """
    Send the browser elsewhere, with nothing kept or told.
    """
    request.setResponseCode(302)
    request.setHeader(b"location", url.encode("ascii"))
    request.setHeader(b"content-length", b"0")
    request.setHeader(b"cache-control", b"no-store")
    request.setHeader(b"referrer-policy", b"no-referrer")
    return b""


def refusal(request: IRequest, message: str) -> bytes:
    """
    A page for a login that cannot go on.
    """
    body = (
        f"<p>{escape(message)}</p>"
        "<p>Nothing was changed. Go back to your terminal and begin the login again there.</p>"
    )
    return page(request, "This login cannot go on", body, status=400)


def json_error(request: IRequest, error: OAuthError) -> bytes:
    """
    An error as RFC 6749 section 5.2 has it.
    """
    if error.status == 401:  # which names a scheme always (RFC 9110 section 15.5.2)
        request.setHeader(b"www-authenticate", b'Basic realm="workerd-faas"')
    return write_json(request, error.status, error.document)


def json_problem(request: IRequest, problem: Problem) -> bytes:
    """
    A problem of the platform, as an error that a client may wait out.
    """
    if problem.retry_after is not None:
        request.setHeader(b"retry-after", b"%d" % problem.retry_after)
    status = STATUS_AND_CODE[problem.kind][0]
    return json_error(request, OAuthError("temporarily_unavailable", problem.message, status))
