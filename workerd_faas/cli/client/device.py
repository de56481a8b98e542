"""Logging in on a machine without a browser: the device flow (RFC 8628)."""

import time
from collections.abc import Callable
from typing import Final

import attrs

from workerd_faas.cli.client.address import same_origin
from workerd_faas.cli.client.oauth import CLIENT_ID, Endpoints, OAuth, Tokens, login_needed, refused
from workerd_faas.cli.failure import Failure

DEVICE_GRANT: Final = "urn:ietf:params:oauth:grant-type:device_code"
_SLOWER: Final = 5.0
"""Seconds that each `slow_down` adds (section 3.5)."""


@attrs.frozen(kw_only=True)
class DeviceCode:
    """
    What the server gave: a secret for us, and a code for the person. Times are in seconds.
    """

    secret: str = attrs.field(repr=False)
    user_code: str
    address: str
    complete: str
    lifetime: float
    interval: float


@attrs.frozen(kw_only=True)
class DeviceFlow:
    """
    Attributes:
        sleep: Waits.
        now: Monotonic seconds.
    """

    oauth: OAuth
    sleep: Callable[[float], None] = time.sleep
    now: Callable[[], float] = time.monotonic

    def begin(self, endpoints: Endpoints) -> DeviceCode:
        """
        Ask for a code.

        Raises:
            Failure: the server gives none.
        """
        if endpoints.device is None:
            raise Failure("This server has no logins for machines without a browser.")
        form = {"client_id": CLIENT_ID, "scope": "offline_access"}
        status, found = self.oauth.post(endpoints.device, form)
        texts = [found.get(key) for key in ("device_code", "user_code", "verification_uri")]
        if status != 200 or not all(isinstance(text, str) for text in texts):
            reason = found.get("error_description") or found.get("error") or f"status {status}"
            raise login_needed(f"The server gave no code: {reason}.")
        secret, user_code, address = (str(text) for text in texts)
        complete = str(found.get("verification_uri_complete") or address)
        if not same_origin(address, self.oauth.base_url):
            raise Failure(f"The server sends you elsewhere: {address!r}.")
        return DeviceCode(
            secret=secret,
            user_code=user_code,
            address=address,
            complete=complete if same_origin(complete, self.oauth.base_url) else address,
            lifetime=_seconds(found.get("expires_in"), 300.0),
            interval=_seconds(found.get("interval"), 5.0),
        )

    def wait(self, endpoints: Endpoints, code: DeviceCode, most: float) -> Tokens:
        """
        Ask until the person has decided.

        Raises:
            Failure: they refused, or time ran out.
        """
        interval, end = code.interval, self.now() + min(code.lifetime, most)
        form = {"grant_type": DEVICE_GRANT, "device_code": code.secret, "client_id": CLIENT_ID}
        while True:
            if self.now() + interval > end:
                raise login_needed("Nobody has confirmed the code in time.")
            self.sleep(interval)
            status, found = self.oauth.post(endpoints.token, form)
            error = found.get("error")
            if status == 200:
                return self.oauth.tokens_of(found, previous=None)
            if error == "slow_down":
                interval += _SLOWER
            elif error == "access_denied":
                raise refused(found.get("error_description"))
            elif error == "expired_token":
                raise login_needed("Nobody has confirmed the code in time.")
            elif error != "authorization_pending" and status not in (429, 502, 503, 504):
                reason = found.get("error_description") or error or f"status {status}"
                raise login_needed(f"The login failed: {reason}.")


def _seconds(value: object, default: float) -> float:
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 < value <= 3600:
        return float(value)
    return default
