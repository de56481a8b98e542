"""
Logins of programs without a browser of their own (RFC 8628).

The program gets a device code, and a user code for a person, who signs in with any browser, is
shown what asks, and allows or refuses it. Signing in goes the way of every login (`logins`); what
comes of it is a confirmation, sealed and bound to that browser, which changes nothing by itself.
"""

import secrets
from collections.abc import Sequence
from datetime import timedelta
from typing import Any, Final
from urllib.parse import urlencode

import attrs
from twisted.logger import Logger

from workerd_faas.domain.credentials import CredentialKind, digest, write_credential
from workerd_faas.domain.device import ENTROPY_BYTES, shown_user_code, write_user_code
from workerd_faas.domain.oauth import (
    CLIENTS,
    AuthorizationRequest,
    OAuthError,
    Parameters,
    ReturnAddress,
    granted_scope,
)
from workerd_faas.usecases import ports
from workerd_faas.usecases.identity.logins import (
    VERIFICATION,
    Begun,
    Confirmation,
    LoginRefused,
    Logins,
)
from workerd_faas.usecases.identity.ports import DeviceLogin, DeviceStore

LIFETIME: Final = timedelta(minutes=10)
INTERVAL: Final = 5
"""Seconds between two questions of a program."""

MOST_OF_ONE: Final = 20
MOST: Final = 10_000
"""Logins that may wait: of one address, and of all."""


@attrs.frozen(kw_only=True)
class Devices:
    """
    Attributes:
        issuer: The API's URL.
    """

    log = Logger()

    issuer: str
    logins: Logins
    store: DeviceStore
    clock: ports.WallClock

    async def begin(self, form: Parameters, address: str) -> dict[str, Any]:
        """
        Answer a request at the device authorization endpoint (RFC 8628 section 3.1).

        Args:
            form: What the program sent.
            address: Where it is.

        Raises:
            OAuthError: also `slow_down` when too many wait already.
            Problem: from the store.
        """
        form.refuse_repeated()
        client_id = form.require("client_id")
        if client_id not in CLIENTS:
            raise OAuthError("invalid_client", "There is no client with this client_id.", 401)
        now = self.clock.now()
        device_code = write_credential(CredentialKind.DEVICE, secrets.token_bytes(32))
        login = DeviceLogin(
            digest=digest(device_code),
            user_code=write_user_code(secrets.token_bytes(ENTROPY_BYTES)),
            client_id=client_id,
            scope=granted_scope(form.values.get("scope")),
            address=address,
            expires_at=now + LIFETIME,
        )
        if not await self.store.add_device(login, INTERVAL, MOST_OF_ONE, MOST, now):
            raise OAuthError("slow_down", "Too many logins wait already; try again later.", 429)
        shown = shown_user_code(login.user_code)
        return {
            "device_code": device_code,
            "user_code": shown,
            "verification_uri": f"{self.issuer}/device",
            "verification_uri_complete": f"{self.issuer}/device?{urlencode({'user_code': shown})}",
            "expires_in": int(LIFETIME.total_seconds()),
            "interval": INTERVAL,
        }

    async def sign_in(self, user_code: str) -> Begun:
        """
        Send a browser to sign in, for this code.

        Raises:
            OAuthError: `temporarily_unavailable` when the provider is.
        """
        return await self.logins.begin(
            AuthorizationRequest(
                client_id=VERIFICATION,
                back=ReturnAddress(redirect_uri=f"{self.issuer}/device/confirm", state=user_code),
                scope=(),
                challenge="",
            )
        )

    def confirmation(self, sealed: str, browser_secrets: Sequence[str]) -> Confirmation:
        """
        Who wants to decide about which code.

        Raises:
            LoginRefused: not sealed by us, over, or brought by another browser.
        """
        return self.logins.confirmation(sealed, browser_secrets)

    async def asked_by(self, confirmation: Confirmation) -> str:
        """
        The name of the program that waits for this code.

        Raises:
            LoginRefused: none does.
        """
        login = await self.store.device(confirmation.user_code, self.clock.now())
        if login is None:
            raise LoginRefused("No program waits for this code (any more).")
        return CLIENTS[login.client_id].name

    async def decide(self, confirmation: Confirmation, *, allowed: bool) -> None:
        """
        Let the program in as this person, or refuse it.

        Raises:
            LoginRefused: none waits for this code, or somebody has decided before.
        """
        user_id = confirmation.user_id if allowed else None
        if not await self.store.decide_device(confirmation.user_code, user_id, self.clock.now()):
            raise LoginRefused("No program waits for this code (any more).")
        self.log.info(
            "{user} {decided} a login of a device",
            user=confirmation.user_id,
            decided="allowed" if allowed else "refused",
        )
