"""
The token and revocation endpoints: codes and refresh tokens into access tokens.

A refresh token's successor is an HMAC of it, so that processes that race with one token all get
the same successor although only digests are stored.
"""

import hashlib
import hmac
import secrets
from datetime import datetime, timedelta
from typing import Any, Final

import attrs
from twisted.logger import Logger

from workerd_faas.domain.credentials import (
    CredentialKind,
    digest,
    is_credential,
    write_credential,
)
from workerd_faas.domain.identity import LoginPolicy, Session, User
from workerd_faas.domain.oauth import CLIENTS, DEVICE_GRANT, OAuthError, Parameters, narrowed_scope
from workerd_faas.usecases import ports
from workerd_faas.usecases.identity.access_tokens import LIFETIME, AccessTokens
from workerd_faas.usecases.identity.ports import (
    DevicePoll,
    IdentityStore,
    Redemption,
    Refused,
    Reused,
    Rotation,
)

IDLE_LIFETIME: Final = timedelta(days=30)
"""A session whose refresh token is not used for so long is over."""

SESSION_LIFETIME: Final = timedelta(days=180)
"""However busy it is, a session is over after this."""

GRACE: Final = timedelta(seconds=5)
"""Two processes that share a refresh token may use it at the same time."""


SLOW_DOWN: Final = 5
"""Seconds that a device which asks too early has to wait longer (RFC 8628 section 3.5)."""

_POLLED: Final = {
    "authorization_pending": "Nobody has decided yet.",
    "slow_down": "You ask too often: wait five seconds longer each time.",
    "access_denied": "The login was refused.",
    "expired_token": "Nobody decided in time: begin again.",
    "invalid_grant": "The device code is not valid.",
}


@attrs.frozen(kw_only=True)
class Grants:
    """
    What CLI clients get from the token endpoint and give back at the revocation endpoint.

    Attributes:
        succession_key: `Keys.succession`.
    """

    log = Logger()

    store: IdentityStore
    access_tokens: AccessTokens
    succession_key: bytes = attrs.field(repr=False)
    policy: LoginPolicy
    clock: ports.WallClock
    grace: timedelta = GRACE

    async def token(self, form: Parameters) -> dict[str, Any]:
        """
        Answer a request at the token endpoint (RFC 6749 sections 4.1.3 and 6).

        Raises:
            OAuthError: as section 5.2 has it.
            Problem: from the store.
        """
        form.refuse_repeated()
        grant_type = form.require("grant_type")
        if grant_type == "authorization_code":
            return await self._redeem(form, self._client(form))
        if grant_type == "refresh_token":
            return await self._refresh(form, self._client(form))
        if grant_type == DEVICE_GRANT:
            return await self._poll(form, self._client(form))
        raise OAuthError(
            "unsupported_grant_type",
            f"Use authorization_code, refresh_token or {DEVICE_GRANT} as grant_type.",
        )

    async def revoke(self, form: Parameters) -> None:
        """
        End the session of a refresh or access token (RFC 7009); anything else is no token of ours,
        which is fine.

        Raises:
            OAuthError: the request is malformed or from an unknown client.
            Problem: from the store.
        """
        form.refuse_repeated()
        text = form.require("token")
        client_id = self._client(form) if "client_id" in form.values else None
        if is_credential(text, CredentialKind.REFRESH):
            ended = await self.store.end_session_of(digest(text), client_id)
            if ended is not None:
                self.log.info("Session {session} was revoked", session=ended)
            return
        token = self.access_tokens.check(text, self.clock.now())
        if token is not None and client_id in (None, token.client_id):
            await self.store.end_session(token.session_id)
            self.log.info("Session {session} was revoked", session=token.session_id)

    def _client(self, form: Parameters) -> str:
        client_id = form.require("client_id")
        if client_id not in CLIENTS:
            raise OAuthError("invalid_client", "There is no client with this client_id.", 401)
        if "client_secret" in form.values or "client_assertion" in form.values:
            raise OAuthError("invalid_client", "This client has no credentials.", 401)
        return client_id

    async def _redeem(self, form: Parameters, client_id: str) -> dict[str, Any]:
        now = self.clock.now()
        refresh_token = write_credential(CredentialKind.REFRESH, secrets.token_bytes(32))
        redemption = Redemption(
            digest=digest(form.require("code")),
            client_id=client_id,
            redirect_uri=form.require("redirect_uri"),
            verifier=form.require("code_verifier"),
            session_id=secrets.token_hex(16),
            session_expires_at=now + SESSION_LIFETIME,
            refresh_digest=digest(refresh_token),
            refresh_expires_at=now + IDLE_LIFETIME,
        )
        found = await self.store.redeem_code(redemption, now)
        if isinstance(found, Refused):
            raise OAuthError("invalid_grant", found.reason)
        if isinstance(found, Reused):
            self.log.warn("A code came a second time: session {id} is over", id=found.session_id)
            raise OAuthError("invalid_grant", "The code has been used already.")
        user, session = found
        return await self._answer(user, session, session.scope, refresh_token, now)

    async def _poll(self, form: Parameters, client_id: str) -> dict[str, Any]:
        """
        RFC 8628 section 3.4.
        """
        now = self.clock.now()
        refresh_token = write_credential(CredentialKind.REFRESH, secrets.token_bytes(32))
        poll = DevicePoll(
            digest=digest(form.require("device_code")),
            client_id=client_id,
            slow_down=SLOW_DOWN,
            session_id=secrets.token_hex(16),
            session_expires_at=now + SESSION_LIFETIME,
            refresh_digest=digest(refresh_token),
            refresh_expires_at=now + IDLE_LIFETIME,
        )
        found = await self.store.poll_device(poll, now)
        if isinstance(found, str):
            raise OAuthError(found, _POLLED[found])
        user, session = found
        return await self._answer(user, session, session.scope, refresh_token, now)

    async def _refresh(self, form: Parameters, client_id: str) -> dict[str, Any]:
        now = self.clock.now()
        presented = form.require("refresh_token")
        if not is_credential(presented, CredentialKind.REFRESH):
            raise OAuthError("invalid_grant", "This is not a refresh token.")
        successor = self._successor(presented)
        rotation = Rotation(
            digest=digest(presented),
            client_id=client_id,
            successor=digest(successor),
            successor_expires_at=now + IDLE_LIFETIME,
            graced_since=now - self.grace,
            scope=form.values.get("scope"),
        )
        found = await self.store.rotate(rotation, now)
        if found is None:
            raise OAuthError("invalid_grant", "The refresh token is not valid (any more).")
        if isinstance(found, Reused):
            self.log.warn(
                "A replaced refresh token came again: session {id} is over", id=found.session_id
            )
            raise OAuthError("invalid_grant", "The refresh token was replaced: log in again.")
        user, session = found
        scope = narrowed_scope(session.scope, form.values.get("scope"))
        return await self._answer(user, session, scope, successor, now)

    def _successor(self, refresh_token: str) -> str:
        entropy = hmac.digest(self.succession_key, refresh_token.encode(), hashlib.sha256)
        return write_credential(CredentialKind.REFRESH, entropy)

    async def _answer(
        self,
        user: User,
        session: Session,
        scope: tuple[str, ...],
        refresh_token: str,
        now: datetime,
    ) -> dict[str, Any]:
        if not self.policy.admits(user.subject, user.email):
            await self.store.end_session(session.id)
            raise OAuthError("invalid_grant", "You may not use this server any more.")
        ends = min(now + LIFETIME, session.expires_at)
        access_token = self.access_tokens.make(
            user_id=user.id, session=session, scope=scope, now=now, ends=ends
        )
        return {
            "access_token": access_token,
            "token_type": "Bearer",
            "expires_in": int((ends - now).total_seconds()),
            "refresh_token": refresh_token,
            "scope": " ".join(scope),
        }
