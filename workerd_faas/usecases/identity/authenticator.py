"""From the `Authorization` header to who asks."""

import re
from datetime import timedelta
from typing import Final

import attrs
from twisted.logger import Logger

from workerd_faas.domain.credentials import CredentialKind, digest, is_credential
from workerd_faas.domain.errors import Kind, Problem
from workerd_faas.domain.identity import LoginPolicy
from workerd_faas.domain.model import Principal
from workerd_faas.domain.permissions import login_permissions
from workerd_faas.usecases import ports
from workerd_faas.usecases.identity.access_tokens import AccessTokens
from workerd_faas.usecases.identity.ports import IdentityStore

_BEARER: Final = re.compile(r"[Bb][Ee][Aa][Rr][Ee][Rr] +([A-Za-z0-9._~+/-]{1,4096}=*)")
TOUCH_AFTER: Final = timedelta(minutes=10)
"""`last used` is as coarse as this, so that reading does not mean writing."""


@attrs.frozen(kw_only=True)
class BearerAuthenticator:
    """
    Accepts access tokens and API tokens as bearer tokens (RFC 6750 section 2.1), nothing else.
    """

    log = Logger()

    store: IdentityStore
    access_tokens: AccessTokens
    policy: LoginPolicy
    clock: ports.WallClock

    async def authenticate(self, authorization: str | None) -> Principal:
        """
        See `usecases.ports.Authenticator`.
        """
        match = _BEARER.fullmatch(authorization or "")
        principal = None
        if match is not None:
            if is_credential(match[1], CredentialKind.API):
                principal = await self._by_api_token(match[1])
            elif match[1].count(".") == 2:
                principal = await self._by_access_token(match[1])
        if principal is None:
            raise Problem(kind=Kind.UNAUTHENTICATED, message="Authentication error")
        return principal

    async def _by_access_token(self, text: str) -> Principal | None:
        now = self.clock.now()
        token = self.access_tokens.check(text, now)
        if token is None:
            return None
        found = await self.store.session(token.session_id, now)
        if found is None:
            return None
        user, session = found
        if user.id != token.user_id or not self.policy.admits(user.subject, user.email):
            return None
        if now - session.last_used_at >= TOUCH_AFTER:
            try:
                await self.store.touch_session(session.id, now)
            except Problem as problem:  # a full disk must not lock people out
                self.log.warn("Last use not noted: {problem}", problem=problem)
        return Principal(
            accounts=(user.account,),
            subject=user.id,
            credential=session.id,
            email=user.email,
            permissions=login_permissions(token.scope),
        )

    async def _by_api_token(self, text: str) -> Principal | None:
        now = self.clock.now()
        token = await self.store.token(digest(text), now)
        if token is None:
            return None
        user = token.user
        if user is not None and not self.policy.admits(user.subject, user.email):
            return None
        if token.last_used_at is None or now - token.last_used_at >= TOUCH_AFTER:
            try:
                await self.store.touch_token(token.id, now)
            except Problem as problem:
                self.log.warn("Last use not noted: {problem}", problem=problem)
        return Principal(
            accounts=(token.account,),
            subject=user.id if user else f"token:{token.id}",
            credential=token.id,
            email=user.email if user else None,
            by_token=True,
            permissions=token.permissions,
        )


_check: type[ports.Authenticator] = BearerAuthenticator
