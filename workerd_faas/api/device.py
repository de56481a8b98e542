"""
Logins of programs without a browser (RFC 8628): where they ask, and where people decide.

The pages are plain: a code is typed or comes with the link, then one signs in, then one sees what
asks and decides. Only the last step changes anything, and it takes a form with the cookie of the
browser that signed in.
"""

from html import escape
from ipaddress import IPv6Address, IPv6Network, ip_address

import attrs
from klein import Klein
from twisted.web.iweb import IRequest

from workerd_faas.api.envelope import header, write_json
from workerd_faas.api.login_cookie import LoginCookie
from workerd_faas.api.oauth import form_of, json_error, json_problem, query_of, redirect, refusal
from workerd_faas.api.pages import page
from workerd_faas.domain.device import read_user_code, shown_user_code
from workerd_faas.domain.errors import Problem
from workerd_faas.domain.oauth import OAuthError, Parameters
from workerd_faas.usecases.identity.devices import Devices
from workerd_faas.usecases.identity.logins import LOGIN_LIFETIME, LoginRefused

_ASK = (
    '<form method="get" action="{action}"><p><label>The code that your program shows: '
    '<input name="user_code" value="{code}" maxlength="20" autocomplete="off" autocapitalize='
    '"characters" spellcheck="false" required autofocus></label></p>'
    '<p><button type="submit">Go on</button></p></form>'
)


@attrs.frozen(kw_only=True)
class DeviceRoutes:
    """
    The device flow.

    Attributes:
        issuer: The API's URL, without a trailing slash.
    """

    issuer: str
    devices: Devices

    def register(self, app: Klein) -> None:
        """
        See `api.app.Routes.register`.
        """

        @app.route("/oauth2/device/auth", methods=["POST"])
        async def begin(request: IRequest) -> bytes:
            try:
                answer = await self.devices.begin(form_of(request), _address(request))
            except OAuthError as error:
                return json_error(request, error)
            except Problem as problem:
                return json_problem(request, problem)
            return write_json(request, 200, answer)

        @app.route("/device", methods=["GET"])
        def ask(request: IRequest) -> bytes:
            return self._ask(request)

        @app.route("/device/login", methods=["GET"])
        async def sign_in(request: IRequest) -> bytes:
            return await self._sign_in(request)

        @app.route("/device/confirm", methods=["GET"])
        async def confirm(request: IRequest) -> bytes:
            return await self._confirm(request)

        @app.route("/device/confirm", methods=["POST"])
        async def decide(request: IRequest) -> bytes:
            return await self._decide(request)

    @property
    def _cookie(self) -> LoginCookie:
        return LoginCookie(self.issuer)

    def _ask(self, request: IRequest) -> bytes:
        typed = Parameters.parse(query_of(request)).once("user_code")
        code = read_user_code(typed) if typed is not None else None
        if code is None:
            wrong = "" if typed is None else "<p>That cannot be a code of ours.</p>"
            body = wrong + _ASK.format(action=escape(f"{self.issuer}/device"), code="")
            return page(request, "Log in a program", body, form_action="'self'")
        shown = shown_user_code(code)
        body = (
            f"<p>Your program shows the code <code>{shown}</code>? Then sign in, and you will be "
            "asked whether to let it in.</p>"
            "<p>Does somebody else ask you for this? Then do not go on: whoever began this would "
            "get to act as you.</p>"
            f'<p><a href="{escape(self.issuer)}/device/login?user_code={shown}">Sign in</a></p>'
        )
        return page(request, "Log in a program", body)

    async def _sign_in(self, request: IRequest) -> bytes:
        code = read_user_code(Parameters.parse(query_of(request)).once("user_code") or "")
        if code is None:
            return redirect(request, f"{self.issuer}/device")
        try:
            begun = await self.devices.sign_in(code)
        except OAuthError as error:
            return refusal(request, error.description)
        self._cookie.set(request, begun.login_id, begun.secret, LOGIN_LIFETIME)
        return redirect(request, begun.url)

    async def _confirm(self, request: IRequest) -> bytes:
        answer = Parameters.parse(query_of(request))
        if answer.once("error") is not None:
            return refusal(request, answer.once("error_description") or "You were not signed in.")
        login_id, sealed = answer.once("login") or "", answer.once("sealed") or ""
        try:
            who = self.devices.confirmation(sealed, self._cookie.values(request, login_id))
            program = await self.devices.asked_by(who)
        except LoginRefused as refused:
            return refusal(request, refused.message)
        body = (
            f"<p><strong>{escape(program)}</strong> on some machine wants to act as "
            f"<strong>{escape(who.name)}</strong> on this server, until you log it out.</p>"
            f"<p>It must show the code <code>{shown_user_code(who.user_code)}</code> now. If it "
            "does not, or if you did not start it, refuse.</p>"
            f'<form method="post" action="{escape(self.issuer)}/device/confirm">'
            f'<input type="hidden" name="login" value="{escape(login_id)}">'
            f'<input type="hidden" name="sealed" value="{escape(sealed)}">'
            '<p><button type="submit" name="decision" value="allow">Let it in</button> '
            '<button type="submit" name="decision" value="refuse">Refuse</button></p></form>'
        )
        return page(request, "Let this program in?", body, form_action="'self'")

    async def _decide(self, request: IRequest) -> bytes:
        try:
            form = form_of(request)
            form.refuse_repeated()
            allowed = form.require("decision") == "allow"
            login_id = form.require("login")
            secrets = self._cookie.values(request, login_id)
            who = self.devices.confirmation(form.require("sealed"), secrets)
            await self.devices.decide(who, allowed=allowed)
        except OAuthError as error:
            return refusal(request, error.description)
        except LoginRefused as refused:
            return refusal(request, refused.message)
        if allowed:
            body = "<p>Your program goes on in a moment. You may close this page.</p>"
            return page(request, "It is let in", body)
        body = "<p>The program is told that you refused. You may close this page.</p>"
        return page(request, "It is refused", body)


def _address(request: IRequest) -> str:
    """
    Where a client is, as our relay says it, whatever proxies are between; an IPv6 client counts by
    its /64, which is one household.
    """
    try:
        address = ip_address(header(request, "cf-connecting-ip") or "")
    except ValueError:  # on a unix socket
        return ""
    if isinstance(address, IPv6Address):
        return str(IPv6Network((address, 64), strict=False))
    return str(address)
