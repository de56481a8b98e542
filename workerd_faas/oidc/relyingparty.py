"""Our side of OpenID Connect: `usecases.identity.ports.IdentityProvider` by discovery and treq."""

import base64
from collections.abc import Mapping, Sequence
from typing import Any, Final
from urllib.parse import quote, quote_plus, urlencode

from twisted.internet.interfaces import IReactorTime
from twisted.web.iweb import IAgent

from workerd_faas.domain.idtoken import (
    ClaimRefused,
    Expected,
    Identity,
    check_claims,
    identity_of,
)
from workerd_faas.oidc.http import TOTAL_TIMEOUT, CallFailed, ProviderCalls
from workerd_faas.oidc.metadata import Metadata, MetadataRefused, ProviderSettings, read_metadata
from workerd_faas.oidc.refreshing import Refreshing
from workerd_faas.oidc.signature import (
    Key,
    UnknownKey,
    check_access_token_hash,
    read_keys,
    verified_claims,
)
from workerd_faas.usecases import ports
from workerd_faas.usecases.identity.ports import (
    IdentityProvider,
    ProviderRefused,
    ProviderUnavailable,
)

SCOPE: Final = "openid email profile"

METADATA_MAX_AGE: Final = 3600.0
"""Seconds."""

KEYS_MAX_AGE: Final = 900.0
"""Seconds after which a key that the provider withdrew is not accepted any more."""

KEYS_SPACING: Final = 30.0
"""Seconds between two fetches for the sake of an unknown `kid`."""


class RelyingParty:
    """
    Logs people in at one provider. Nothing is fetched before the first login, so a provider that
    is down keeps nothing else from working.
    """

    def __init__(
        self,
        *,
        settings: ProviderSettings,
        agent: IAgent,
        reactor: IReactorTime,
        clock: ports.WallClock,
        timeout: float = TOTAL_TIMEOUT,
    ) -> None:
        """
        Args:
            settings: Which provider.
            agent: Makes connections; usually `http.provider_agent(reactor)`.
            reactor: Monotonic time for time-outs and caches.
            clock: The time of day for the times in ID tokens.
            timeout: Seconds for each call.
        """
        self._settings = settings
        self._calls = ProviderCalls(agent=agent, reactor=reactor, timeout=timeout)
        self._clock = clock
        self._metadata = Refreshing(
            reactor, self._fetch_metadata, max_age=METADATA_MAX_AGE, renew_spacing=KEYS_SPACING
        )
        self._keys = Refreshing(
            reactor, self._fetch_keys, max_age=KEYS_MAX_AGE, renew_spacing=KEYS_SPACING
        )

    def stop(self) -> None:
        """
        Give up what is being fetched. Idempotent.
        """
        self._keys.stop()
        self._metadata.stop()

    async def authorization_url(self, *, state: str, nonce: str, challenge: str) -> str:
        """
        See `IdentityProvider`.
        """
        endpoint = (await self._metadata.get()).authorization_endpoint
        query = urlencode(
            {
                "response_type": "code",
                "client_id": self._settings.client_id,
                "redirect_uri": self._settings.redirect_uri,
                "scope": SCOPE,
                "state": state,
                "nonce": nonce,
                "code_challenge": challenge,
                "code_challenge_method": "S256",
            },
            quote_via=quote,
        )
        return f"{endpoint}{'&' if '?' in endpoint else '?'}{query}"

    async def identify(
        self, *, code: str, nonce: str, verifier: str, issuer: str | None
    ) -> Identity:
        """
        See `IdentityProvider`.
        """
        metadata = await self._metadata.get()
        # RFC 9207 section 2.4: before the code is sent anywhere.
        if issuer != self._settings.issuer and (issuer is not None or metadata.says_issuer):
            raise ProviderRefused("iss of the answer is another issuer, or missing")
        id_token, access_token = await self._redeem(metadata, code, verifier)
        expected = Expected(
            issuer=self._settings.issuer,
            client_id=self._settings.client_id,
            nonce=nonce,
            now=self._clock.now().timestamp(),
        )
        try:
            claims, algorithm = await self._verified(id_token)
            subject = check_claims(claims, expected)
            check_access_token_hash(claims, algorithm, access_token)
            userinfo = await self._userinfo(metadata, access_token)
            return identity_of(self._settings.issuer, subject, claims, userinfo)
        except ClaimRefused as refused:
            raise ProviderRefused(refused.message) from refused

    async def _redeem(self, metadata: Metadata, code: str, verifier: str) -> tuple[str, str]:
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": self._settings.redirect_uri,
            "code_verifier": verifier,
        }
        headers = self._authenticate(metadata, form)
        try:
            answer = await self._calls.post(metadata.token_endpoint, form, headers)
        except CallFailed as failed:
            raise ProviderUnavailable(f"token endpoint: {failed.message}") from failed
        if answer.status >= 500:
            raise ProviderUnavailable(f"token endpoint: status {answer.status}")
        if answer.status != 200:
            raise ProviderRefused(
                f"token endpoint: status {answer.status}, {_code(answer.document)}"
            )
        id_token, access_token = (answer.document.get(n) for n in ("id_token", "access_token"))
        token_type = answer.document.get("token_type", "Bearer")
        if not isinstance(id_token, str) or not isinstance(access_token, str):
            raise ProviderRefused("token endpoint: no ID token, or no access token")
        if not isinstance(token_type, str) or token_type.lower() != "bearer":
            raise ProviderRefused("token endpoint: the access token is no bearer token")
        if not (access_token.isascii() and access_token.isprintable()):
            raise ProviderRefused("token endpoint: the access token cannot be sent in a header")
        return id_token, access_token

    def _authenticate(self, metadata: Metadata, form: dict[str, str]) -> dict[str, str]:
        secret = self._settings.client_secret
        if secret is not None and metadata.basic_authentication:
            # RFC 6749 section 2.3.1: both are form-encoded first.
            pair = f"{quote_plus(self._settings.client_id)}:{quote_plus(secret)}"
            return {"authorization": "Basic " + base64.b64encode(pair.encode()).decode()}
        form["client_id"] = self._settings.client_id
        if secret is not None:
            form["client_secret"] = secret
        return {}

    async def _verified(self, id_token: str) -> tuple[dict[str, Any], str]:
        keys: Sequence[Key] | None = await self._keys.get()
        for _ in range(2):
            if keys is None:
                break
            try:
                return verified_claims(id_token, keys)
            except UnknownKey:
                keys = await self._keys.renewed()
        raise ClaimRefused("the ID token's key is not one of the provider's")

    async def _userinfo(self, metadata: Metadata, access_token: str) -> Mapping[str, Any]:
        if metadata.userinfo_endpoint is None:
            return {}
        try:
            answer = await self._calls.get(
                metadata.userinfo_endpoint, {"authorization": f"Bearer {access_token}"}
            )
        except CallFailed as failed:
            raise ProviderUnavailable(f"userinfo: {failed.message}") from failed
        if answer.status != 200:
            raise ProviderUnavailable(f"userinfo: status {answer.status}")
        return answer.document

    async def _fetch_metadata(self) -> Metadata:
        try:
            answer = await self._calls.get(self._settings.discovery_url)
            if answer.status != 200:
                raise CallFailed(f"status {answer.status}")
            return read_metadata(answer.document, self._settings)
        except CallFailed as failed:
            raise ProviderUnavailable(f"discovery: {failed.message}") from failed
        except MetadataRefused as refused:
            raise ProviderUnavailable(f"discovery: {refused}") from refused

    async def _fetch_keys(self) -> tuple[Key, ...]:
        metadata = await self._metadata.get()
        try:
            answer = await self._calls.get(metadata.jwks_uri)
            if answer.status != 200:
                raise CallFailed(f"status {answer.status}")
            return read_keys(answer.document)
        except CallFailed as failed:
            raise ProviderUnavailable(f"keys: {failed.message}") from failed
        except ValueError as error:
            raise ProviderUnavailable(f"keys: {error}") from error


def _code(document: Mapping[str, Any]) -> str:
    error = document.get("error")
    return error[:80] if isinstance(error, str) else "no error code"


_check: type[IdentityProvider] = RelyingParty
