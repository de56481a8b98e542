"""
The built-in provider over HTTP.

The sign-in page is one plain form: hidden fields that repeat the request, a text field `name`, and
the buttons `Sign in` and `Cancel` (`action=cancel`). It posts to the address that it came from.
"""

import base64
import hashlib
import json
from html import escape
from typing import Any, Final
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

import attrs
from klein import Klein
from twisted.web.iweb import IRequest

from workerd_faas.oidc.devprovider.provider import DevProvider, Refused, SignIn

MAX_FORM: Final = 64 << 10
"""Bytes of a form."""

STYLE: Final = """
:root { color-scheme: light dark; }
body { font: 1rem/1.5 system-ui, sans-serif; max-width: 28rem; margin: 3rem auto; padding: 0 1rem; }
input, button { font: inherit; padding: .4rem .8rem; }
""".strip()

_HASH: Final = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()

_FIELDS: Final = (
    "client_id", "redirect_uri", "response_type", "scope", "state", "nonce", "code_challenge",
    "code_challenge_method",
)  # fmt: skip


@attrs.frozen
class DevProviderRoutes:
    """
    The provider's endpoints, below the path of its issuer.
    """

    provider: DevProvider

    def register(self, app: Klein) -> None:
        """
        Add its routes to the application.
        """
        at = urlsplit(self.provider.issuer).path

        @app.route(f"{at}/.well-known/openid-configuration", methods=["GET"])
        def metadata(request: IRequest) -> bytes:
            return _json(request, 200, self.provider.metadata())

        @app.route(f"{at}/jwks", methods=["GET"])
        def jwks(request: IRequest) -> bytes:
            return _json(request, 200, self.provider.jwks())

        @app.route(f"{at}/authorize", methods=["GET"])
        def sign_in_page(request: IRequest) -> bytes:
            return self._page(request)

        @app.route(f"{at}/authorize", methods=["POST"])
        def sign_in(request: IRequest) -> bytes:
            return self._sign_in(request)

        @app.route(f"{at}/token", methods=["POST"])
        def token(request: IRequest) -> bytes:
            try:
                document = self.provider.redeem(_form(request), _authorization(request))
            except Refused as refused:
                return _json_error(request, refused)
            return _json(request, 200, document)

        @app.route(f"{at}/userinfo", methods=["GET", "POST"])
        def userinfo(request: IRequest) -> bytes:
            try:
                return _json(request, 200, self.provider.userinfo(_authorization(request)))
            except Refused as refused:
                request.setHeader(b"www-authenticate", b"Bearer")
                return _json_error(request, refused)

    def _page(self, request: IRequest) -> bytes:
        raw: Any = request
        query = _decoded(raw.uri.partition(b"?")[2])
        try:
            self.provider.check(query)
        except Refused as refused:
            return _html(request, 400, f"<p>{escape(refused.description)}</p>")
        return _html(request, 200, _form_of(f"{self.provider.issuer}/authorize", query))

    def _sign_in(self, request: IRequest) -> bytes:
        form = _form(request)
        try:
            asked = self.provider.check(form)
            if form.get("action") == "cancel":
                return self._back(request, asked, {"error": "access_denied"})
            return self._back(
                request, asked, {"code": self.provider.sign_in(asked, form.get("name", ""))}
            )
        except Refused as refused:
            return _html(request, 400, f"<p>{escape(refused.description)}</p>")

    def _back(self, request: IRequest, asked: SignIn, answer: dict[str, str]) -> bytes:
        answer["iss"] = self.provider.issuer
        if asked.state is not None:
            answer["state"] = asked.state
        query = urlencode(answer, quote_via=quote)
        request.setResponseCode(303)
        request.setHeader(b"location", f"{asked.redirect_uri}?{query}".encode())
        request.setHeader(b"cache-control", b"no-store")
        request.setHeader(b"referrer-policy", b"no-referrer")
        return b""


def _authorization(request: IRequest) -> str | None:
    values = request.requestHeaders.getRawHeaders(b"authorization")
    return values[0].decode("latin-1") if values else None


def _form(request: IRequest) -> dict[str, str]:
    request.content.seek(0)
    return _decoded(request.content.read(MAX_FORM))


def _decoded(encoded: bytes) -> dict[str, str]:
    return dict(parse_qsl(encoded.decode("ascii", "replace"), errors="replace"))


def _form_of(action: str, query: dict[str, str]) -> str:
    hidden = "".join(
        f'<input type="hidden" name="{name}" value="{escape(query[name])}">'
        for name in _FIELDS
        if name in query
    )
    return (
        "<p>This is the sign-in page of <code>--dev</code>. Any name will do; the same name is the "
        "same person. An e-mail address counts as verified.</p>"
        f'<form method="post" action="{escape(action)}">{hidden}'
        '<p><label>Name <input name="name" maxlength="100" autofocus autocomplete="username">'
        "</label></p>"
        '<p><button type="submit">Sign in</button> '
        '<button type="submit" name="action" value="cancel">Cancel</button></p></form>'
    )


def _html(request: IRequest, status: int, body: str) -> bytes:
    document = (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>Sign in</title><style>{STYLE}</style></head>"
        f"<body><main><h1>Sign in</h1>{body}</main></body></html>"
    ).encode()
    request.setResponseCode(status)
    request.setHeader(b"content-type", b"text/html; charset=utf-8")
    # No form-action: Chromium applies it to the redirects that follow the form, and the last of
    # them goes to whatever port the CLI listens on.
    policy = (
        f"default-src 'none'; style-src 'sha256-{_HASH}'; base-uri 'none'; frame-ancestors 'none'"
    )
    request.setHeader(b"content-security-policy", policy.encode())
    request.setHeader(b"cache-control", b"no-store")
    request.setHeader(b"referrer-policy", b"no-referrer")
    request.setHeader(b"x-content-type-options", b"nosniff")
    return document


def _json(request: IRequest, status: int, document: Any) -> bytes:
    request.setResponseCode(status)
    request.setHeader(b"content-type", b"application/json")
    request.setHeader(b"cache-control", b"no-store")
    return json.dumps(document).encode()


def _json_error(request: IRequest, refused: Refused) -> bytes:
    document = {"error": refused.error, "error_description": refused.description}
    return _json(request, refused.status, document)
