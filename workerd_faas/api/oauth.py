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

from workerd_faas.api.envelope import header, write_json
from workerd_faas.api.errors import STATUS_AND_CODE
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

    async def _authorize(self, request: IRequest) -> bytes:
        try:
            asked = parse_authorization_request(_query(request))
        except Unredirectable as refused:
            return _refusal(request, refused.message)
        except Redirected as refused:
            return _redirect(request, refused.to.error_url(self.issuer, refused.error))
        try:
            begun = await self.logins.begin(asked)
        except OAuthError as error:
            return _redirect(request, asked.back.error_url(self.issuer, error))
        self._set_cookie(request, begun.login_id, begun.secret, LOGIN_LIFETIME)
        return _redirect(request, begun.url)

    async def _callback(self, request: IRequest) -> bytes:
        answer = Parameters.parse(_query(request))
        try:
            login_id = self.logins.login_id(answer)
            secrets = _cookies(request, self._cookie_name(login_id))
            url = await self.logins.finish(answer, secrets)
        except LoginRefused as refused:
            return _refusal(request, refused.message)
        self._set_cookie(request, login_id, "", timedelta(0))
        return _redirect(request, url)

    async def _token(self, request: IRequest) -> bytes:
        try:
            return write_json(request, 200, await self.grants.token(_form(request)))
        except OAuthError as error:
            return _json_error(request, error)
        except Problem as problem:
            return _json_problem(request, problem)

    async def _revoke(self, request: IRequest) -> bytes:
        try:
            await self.grants.revoke(_form(request))
        except OAuthError as error:
            return _json_error(request, error)
        except Problem as problem:
            return _json_problem(request, problem)
        return write_json(request, 200, {})

    @property
    def _is_https(self) -> bool:
        return self.issuer.startswith("https://")

    def _cookie_name(self, login_id: str) -> str:
        # With `__Host-` no function on a host below ours can set it (RFC 6265bis section 4.1.3.2).
        return f"{'__Host-' if self._is_https else ''}wfaas-login-{login_id}"

    def _set_cookie(
        self, request: IRequest, login_id: str, value: str, lifetime: timedelta
    ) -> None:
        cookie = (
            f"{self._cookie_name(login_id)}={value}; Path=/; "
            f"Max-Age={int(lifetime.total_seconds())}; HttpOnly; SameSite=Lax"
        )
        if self._is_https:
            cookie += "; Secure"
        request.responseHeaders.addRawHeader(b"set-cookie", cookie.encode())


def _query(request: IRequest) -> bytes:
    raw: Any = request
    query: bytes = raw.uri.partition(b"?")[2]
    return query


def _cookies(request: IRequest, name: str) -> list[str]:
    """
    Every value that the browser sent under this name: a host below ours may have set one too.
    """
    found = []
    for line in request.requestHeaders.getRawHeaders(b"cookie", []):
        for pair in line.decode("latin-1").split(";"):
            key, _, value = pair.strip().partition("=")
            if key == name:
                found.append(value)
    return found


def _form(request: IRequest) -> Parameters:
    """
    Raises:
        OAuthError: it is not a form of acceptable size, or there is something beside it.
    """
    if request.requestHeaders.hasHeader(b"authorization"):
        request.setHeader(b"www-authenticate", b'Basic realm="workerd-faas"')
        raise OAuthError("invalid_client", "Clients here have no credentials.", 401)
    content_type = header(request, "content-type") or ""
    if content_type.partition(";")[0].strip().lower() != _FORM:
        raise OAuthError("invalid_request", f"The body must be {_FORM}.")
    if _query(request):
        raise OAuthError("invalid_request", "Parameters belong into the body, not into the URL.")
    request.content.seek(0)
    body = request.content.read(MAX_FORM + 1)
    if len(body) > MAX_FORM:
        raise OAuthError("invalid_request", f"The body is longer than {MAX_FORM} bytes.", 413)
    return Parameters.parse(body)


def _redirect(request: IRequest, url: str) -> bytes:
    request.setResponseCode(302)
    request.setHeader(b"location", url.encode("ascii"))
    request.setHeader(b"content-length", b"0")
    request.setHeader(b"cache-control", b"no-store")
    request.setHeader(b"referrer-policy", b"no-referrer")
    return b""


def _refusal(request: IRequest, message: str) -> bytes:
    body = (
        f"<p>{escape(message)}</p>"
        "<p>Nothing was changed. Go back to your terminal and begin the login again there.</p>"
    )
    return page(request, "This login cannot go on", body, status=400)


def _json_error(request: IRequest, error: OAuthError) -> bytes:
    return write_json(request, error.status, error.document)


def _json_problem(request: IRequest, problem: Problem) -> bytes:
    if problem.retry_after is not None:
        request.setHeader(b"retry-after", b"%d" % problem.retry_after)
    status = STATUS_AND_CODE[problem.kind][0]
    return _json_error(request, OAuthError("temporarily_unavailable", problem.message, status))
