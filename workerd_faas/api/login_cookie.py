"""The cookie that binds a login to the browser that began it."""

from datetime import timedelta

import attrs
from twisted.web.iweb import IRequest


@attrs.frozen
class LoginCookie:
    """
    One cookie a login, so that several can be under way in one browser.

    Attributes:
        issuer: The API's URL, which decides whether cookies are for https alone.
    """

    issuer: str

    def set(self, request: IRequest, login_id: str, value: str, lifetime: timedelta) -> None:
        """
        Set it; a lifetime of zero removes it.
        """
        cookie = (
            f"{self._name(login_id)}={value}; Path=/; "
            f"Max-Age={int(lifetime.total_seconds())}; HttpOnly; SameSite=Lax"
        )
        if self._is_https:
            cookie += "; Secure"
        request.responseHeaders.addRawHeader(b"set-cookie", cookie.encode())

    def values(self, request: IRequest, login_id: str) -> list[str]:
        """
        Every value that the browser sent under its name: a host below ours may have set one too.
        """
        found = []
        for line in request.requestHeaders.getRawHeaders(b"cookie", []):
            for pair in line.decode("latin-1").split(";"):
                key, _, value = pair.strip().partition("=")
                if key == self._name(login_id):
                    found.append(value)
        return found

    @property
    def _is_https(self) -> bool:
        return self.issuer.startswith("https://")

    def _name(self, login_id: str) -> str:
        # With `__Host-` no function on a host below ours can set it (RFC 6265bis section 4.1.3.2).
        return f"{'__Host-' if self._is_https else ''}wfaas-login-{login_id}"
