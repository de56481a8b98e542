"""
A login: from the CLI's authorization request over the provider to a code for the CLI.

What must be remembered between the two redirects is sealed into our `state` at the provider, so a
stranger who begins logins fills nothing here. The browser keeps a secret of its own in a cookie,
and the state holds its digest: an answer is taken only from the browser that was sent out.
"""

import base64
import hashlib
import hmac
import json
import secrets
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from urllib.parse import urlencode

import attrs
from twisted.logger import Logger

from workerd_faas.domain.credentials import CredentialKind, digest, write_credential
from workerd_faas.domain.errors import Problem
from workerd_faas.domain.identity import LoginPolicy, User
from workerd_faas.domain.oauth import (
    SCOPES,
    AuthorizationRequest,
    OAuthError,
    Parameters,
    ReturnAddress,
    challenge_of,
    described,
)
from workerd_faas.usecases import ports
from workerd_faas.usecases.identity.keys import derive_key, seal, unseal
from workerd_faas.usecases.identity.ports import (
    IdentityProvider,
    IdentityStore,
    ProviderRefused,
    ProviderUnavailable,
    StoredCode,
)

LOGIN_LIFETIME: Final = timedelta(minutes=10)
CODE_LIFETIME: Final = timedelta(seconds=60)
VERIFICATION: Final = "device verification"
"""In the place of a client id: our own page, where a person decides about a device."""

NOT_ACCEPTED: Final = "The identity provider's answer was not accepted."


@attrs.define(auto_exc=True)
class LoginRefused(Exception):
    """
    An answer that belongs to no login of this browser: it gets a page, never a redirect.
    """

    message: str


@attrs.frozen(kw_only=True)
class Finished:
    """
    Where to send the browser, and whether its cookie has done its work.
    """

    url: str
    over: bool


@attrs.frozen(kw_only=True)
class Confirmation:
    """
    Somebody who signed in to decide about a device.

    Attributes:
        login_id: Names the cookie of the browser that signed in.
        name: What the person is called.
        browser: Digest of that cookie.
    """

    login_id: str
    user_id: str
    name: str
    user_code: str
    browser: str
    expires_at: datetime

    def sealed(self, key: bytes) -> str:
        """
        As text, for a page of ours.
        """
        document = attrs.asdict(self) | {"expires_at": self.expires_at.timestamp()}
        return seal(key, json.dumps(document).encode())

    @classmethod
    def unsealed(cls, key: bytes, text: str) -> "Confirmation | None":
        """
        The inverse; None for anything that `sealed` did not make with this key.
        """
        plain = unseal(key, text)
        if plain is None:
            return None
        document: dict[str, Any] = json.loads(plain)
        ends = datetime.fromtimestamp(document.pop("expires_at"), UTC)
        return cls(**document, expires_at=ends)


@attrs.frozen(kw_only=True)
class Begun:
    """
    Where to send the browser, and the cookie that it must bring back.
    """

    url: str
    login_id: str
    secret: str = attrs.field(repr=False)


@attrs.frozen(kw_only=True)
class _Login:
    """
    What a login remembers. `id` names its cookie; nonce and verifier never leave us in the clear
    before their time.
    """

    id: str
    request: AuthorizationRequest
    nonce: str
    verifier: str = attrs.field(repr=False)
    browser: str
    expires_at: datetime

    def sealed(self, key: bytes) -> str:
        state = self.request.back.state
        document = {
            "id": self.id,
            "client": self.request.client_id,
            "uri": self.request.back.redirect_uri,
            "state": None if state is None else _octets_to_text(state),
            # All of them would be half of a URL that has to pass through the provider.
            "scope": None if self.request.scope == SCOPES else self.request.scope,
            "challenge": self.request.challenge,
            "nonce": self.nonce,
            "verifier": self.verifier,
            "browser": self.browser,
            "expires": self.expires_at.timestamp(),
        }
        return seal(key, json.dumps(document, separators=(",", ":")).encode())

    @classmethod
    def unsealed(cls, key: bytes, text: str) -> "_Login | None":
        plain = unseal(key, text)
        if plain is None:
            return None
        document: dict[str, Any] = json.loads(plain)
        state, scope = document["state"], document["scope"]
        back = ReturnAddress(
            redirect_uri=document["uri"], state=None if state is None else _text_to_octets(state)
        )
        return cls(
            id=document["id"],
            request=AuthorizationRequest(
                client_id=document["client"],
                back=back,
                scope=SCOPES if scope is None else tuple(scope),
                challenge=document["challenge"],
            ),
            nonce=document["nonce"],
            verifier=document["verifier"],
            browser=document["browser"],
            expires_at=datetime.fromtimestamp(document["expires"], UTC),
        )


def _octets_to_text(state: str) -> str:
    return base64.b64encode(state.encode("utf-8", "surrogateescape")).decode()


def _text_to_octets(text: str) -> str:
    return base64.b64decode(text).decode("utf-8", "surrogateescape")


@attrs.frozen(kw_only=True)
class Logins:
    """
    Begins and finishes logins.

    Attributes:
        issuer: The API's URL.
        key: `Keys.login`.
    """

    log = Logger()

    issuer: str
    key: bytes = attrs.field(repr=False)
    provider: IdentityProvider
    store: IdentityStore
    policy: LoginPolicy
    clock: ports.WallClock

    async def begin(self, request: AuthorizationRequest) -> Begun:
        """
        Begin a login.

        Raises:
            OAuthError: `temporarily_unavailable` when the provider is.
        """
        secret, verifier = secrets.token_urlsafe(32), secrets.token_urlsafe(48)
        login = _Login(
            id=secrets.token_hex(16),
            request=request,
            nonce=secrets.token_urlsafe(32),
            verifier=verifier,
            browser=_browser(secret),
            expires_at=self.clock.now() + LOGIN_LIFETIME,
        )
        try:
            url = await self.provider.authorization_url(
                state=login.sealed(self.key), nonce=login.nonce, challenge=challenge_of(verifier)
            )
        except ProviderUnavailable as error:
            raise self._unavailable(error) from error
        return Begun(url=url, login_id=login.id, secret=secret)

    def login_id(self, answer: Parameters) -> str:
        """
        Which login the provider's answer belongs to.

        Raises:
            LoginRefused: none that began here.
        """
        return self._login(answer).id

    async def finish(self, answer: Parameters, browser_secrets: Sequence[str]) -> Finished:
        """
        Take the provider's answer; say where to send the browser: to the CLI, or to our page where
        a device waits for a decision.

        Args:
            answer: The query of the redirect.
            browser_secrets: The values of the login's cookie that the browser brought.

        Raises:
            LoginRefused: the answer belongs to no login of this browser, or to one that is over.
        """
        login = self._login(answer)
        if not any(hmac.compare_digest(_browser(s), login.browser) for s in browser_secrets):
            raise LoginRefused("This login was begun in another browser, or its cookie is gone.")
        back = login.request.back
        try:
            now = self.clock.now()
            if not await self.store.use_login(login.id, now, login.expires_at):
                raise LoginRefused("This login has been used already.")
            user = await self._user(login, answer)
            if login.request.client_id == VERIFICATION:
                return Finished(url=self._confirm_url(login, user), over=False)
            code = await self._code(login, user)
        except OAuthError as error:
            return Finished(url=back.error_url(self.issuer, error), over=True)
        except Problem as problem:
            self.log.error("A login could not be stored: {problem}", problem=problem)
            unavailable = OAuthError("temporarily_unavailable", problem.message)
            return Finished(url=back.error_url(self.issuer, unavailable), over=True)
        return Finished(url=back.url(self.issuer, {"code": code}), over=True)

    def confirmation(self, sealed: str, browser_secrets: Sequence[str]) -> Confirmation:
        """
        Who signed in to decide about a device.

        Raises:
            LoginRefused: not sealed by us, over, or brought by another browser.
        """
        found = Confirmation.unsealed(self._confirmation_key, sealed)
        if found is None or self.clock.now() >= found.expires_at:
            raise LoginRefused("This login took too long, or did not begin here.")
        if not any(hmac.compare_digest(_browser(s), found.browser) for s in browser_secrets):
            raise LoginRefused("This login was begun in another browser, or its cookie is gone.")
        return found

    @property
    def _confirmation_key(self) -> bytes:
        return derive_key(self.key, "workerd-faas device confirmation")

    def _confirm_url(self, login: _Login, user: User) -> str:
        confirmation = Confirmation(
            login_id=login.id,
            user_id=user.id,
            name=user.email or user.account.name,
            user_code=login.request.back.state or "",
            browser=login.browser,
            expires_at=login.expires_at,
        )
        query = urlencode(
            {"login": login.id, "sealed": confirmation.sealed(self._confirmation_key)}
        )
        return f"{login.request.back.redirect_uri}?{query}"

    def _login(self, answer: Parameters) -> _Login:
        login = _Login.unsealed(self.key, answer.once("state") or "")
        if login is None:
            raise LoginRefused("This is not the answer to a login that began here.")
        if self.clock.now() >= login.expires_at:
            raise LoginRefused("This login took too long.")
        return login

    async def _user(self, login: _Login, answer: Parameters) -> User:
        error = answer.once("error")
        if error is not None:
            said = described(f"{error} {answer.values.get('error_description', '')}".strip())
            self.log.info("The identity provider refused a login: {said}", said=said)
            raise OAuthError("access_denied", f"The identity provider said: {said}")
        code = answer.once("code")
        if code is None or answer.repeated:
            self.log.error("The identity provider's answer has no code, or something twice")
            raise OAuthError("access_denied", NOT_ACCEPTED)
        try:
            identity = await self.provider.identify(
                code=code,
                nonce=login.nonce,
                verifier=login.verifier,
                issuer=answer.values.get("iss"),
            )
        except ProviderUnavailable as unavailable:
            raise self._unavailable(unavailable) from unavailable
        except ProviderRefused as refused:
            self.log.error("A login was refused: {reason}", reason=refused.reason)
            raise OAuthError("access_denied", NOT_ACCEPTED) from refused
        if not self.policy.admits(identity.subject, identity.email):
            self.log.info("LOGIN_ALLOW does not admit {subject}", subject=identity.subject)
            raise OAuthError("access_denied", "You may not log in on this server.")
        return await self.store.user(identity, self.clock.now())

    async def _code(self, login: _Login, user: User) -> str:
        now = self.clock.now()
        ours = write_credential(CredentialKind.CODE, secrets.token_bytes(32))
        stored = StoredCode(
            digest=digest(ours),
            user_id=user.id,
            client_id=login.request.client_id,
            redirect_uri=login.request.back.redirect_uri,
            challenge=login.request.challenge,
            scope=login.request.scope,
            expires_at=now + CODE_LIFETIME,
        )
        await self.store.add_code(stored, now)
        return ours

    def _unavailable(self, error: ProviderUnavailable) -> OAuthError:
        self.log.error("The identity provider is not available: {reason}", reason=error.reason)
        return OAuthError(
            "temporarily_unavailable", "The identity provider does not answer; try again later."
        )


def _browser(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "surrogateescape")).hexdigest()
