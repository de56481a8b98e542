"""What identity needs of the store and of the identity provider."""

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

import attrs

from workerd_faas.domain.identity import ApiToken, Session, User
from workerd_faas.domain.idtoken import Identity
from workerd_faas.domain.model import Account
from workerd_faas.domain.oauth import narrowed_scope, proves


@attrs.define(auto_exc=True)
class ProviderUnavailable(Exception):
    """
    The identity provider cannot be asked at the moment. The reason is for the log.
    """

    reason: str


@attrs.define(auto_exc=True)
class ProviderRefused(Exception):
    """
    The identity provider said no, or something that cannot be believed. The reason is for the log.
    """

    reason: str


class IdentityProvider(Protocol):
    """
    The installation's OpenID provider. Both methods are bounded in time.
    """

    async def authorization_url(self, *, state: str, nonce: str, challenge: str) -> str:
        """
        Where to send the browser.

        Raises:
            ProviderUnavailable: its metadata cannot be had.
        """

    async def identify(
        self, *, code: str, nonce: str, verifier: str, issuer: str | None
    ) -> Identity:
        """
        Turn the provider's answer into who logged in.

        Args:
            code: The authorization code.
            nonce: What the ID token must repeat.
            verifier: PKCE.
            issuer: The `iss` parameter of the answer (RFC 9207), if there was one.

        Raises:
            ProviderUnavailable: it does not answer, or not with what can be read.
            ProviderRefused: it refused the code, or the answer does not hold.
        """


@attrs.frozen(kw_only=True)
class StoredCode:
    """
    An authorization code of ours: what it is bound to.
    """

    digest: str
    user_id: str
    client_id: str
    redirect_uri: str
    challenge: str
    scope: tuple[str, ...]
    expires_at: datetime


@attrs.frozen(kw_only=True)
class Redemption:
    """
    A request to turn a code into a session, and the session that it will be.

    Attributes:
        digest: Of the code that was presented.
        session_expires_at: However busy the session is.
        refresh_digest: Of its first refresh token.
        refresh_expires_at: Unless that is used before.
    """

    digest: str
    client_id: str
    redirect_uri: str
    verifier: str
    session_id: str
    session_expires_at: datetime
    refresh_digest: str
    refresh_expires_at: datetime

    def refusal(self, code: StoredCode, now: datetime) -> str | None:
        """
        Why this must not redeem `code`, or None.
        """
        if now >= code.expires_at:
            return "The code has expired."
        if self.client_id != code.client_id:
            return "The code was given to another client."
        if self.redirect_uri != code.redirect_uri:
            return "redirect_uri is not the one of the authorization request."
        if not proves(self.verifier, code.challenge):
            return "code_verifier is not the one that code_challenge was made of."
        return None


@attrs.frozen(kw_only=True)
class Rotation:
    """
    A refresh token that is to be replaced.

    Attributes:
        digest: Of the token that was presented.
        successor: Digest of the one that takes its place.
        successor_expires_at: Unless it is used before.
        graced_since: A token that was replaced at this time or later, and whose successor has not
            been used yet, was presented by somebody who raced: the same successor is right again.
        scope: What the request asks for, if anything.
    """

    digest: str
    client_id: str
    successor: str
    successor_expires_at: datetime
    graced_since: datetime
    scope: str | None

    def check(self, session: Session) -> None:
        """
        Raises:
            OAuthError: `invalid_scope` when more is asked for than was granted.
        """
        narrowed_scope(session.scope, self.scope)


@attrs.frozen
class Reused:
    """
    A code or refresh token was presented again: the session that came of it has been ended.
    """

    session_id: str | None


@attrs.frozen
class Refused:
    """
    A credential was not accepted.
    """

    reason: str


@attrs.frozen(kw_only=True)
class DeviceLogin:
    """
    A login that a program without a browser waits for.

    Attributes:
        digest: Of the device code.
        address: Where the program is.
    """

    digest: str
    user_code: str
    client_id: str
    scope: tuple[str, ...]
    address: str
    expires_at: datetime


@attrs.frozen(kw_only=True)
class DevicePoll:
    """
    A program's question whether it has been let in, and the session that it gets if so.

    Attributes:
        digest: Of the device code that was presented.
        slow_down: Seconds that are added to the interval of one who asks too often.
    """

    digest: str
    client_id: str
    slow_down: int
    session_id: str
    session_expires_at: datetime
    refresh_digest: str
    refresh_expires_at: datetime


class DeviceStore(Protocol):
    """
    Logins of devices. Each method is one transaction; those that are over are swept out.
    """

    async def add_device(
        self, login: DeviceLogin, interval: int, most_of_one: int, most: int, now: datetime
    ) -> bool:
        """
        Store a login; False if so many wait already, of its address or of all.
        """

    async def device(self, user_code: str, now: datetime) -> DeviceLogin | None:
        """
        The login with this user code that waits for a decision.
        """

    async def decide_device(self, user_code: str, user_id: str | None, now: datetime) -> bool:
        """
        Allow a waiting login to this user, or (None) refuse it; False if none waits.
        """

    async def poll_device(self, poll: DevicePoll, now: datetime) -> tuple[User, Session] | str:
        """
        Open the session of a login that was allowed, once; else the error code of RFC 8628
        section 3.5 that says why not.
        """


class IdentityStore(DeviceStore, Protocol):
    """
    Accounts, users, codes, sessions, tokens. Each method is one transaction; only digests of
    credentials reach it. All raise `Problem` (`UNAVAILABLE`, `STORAGE_FULL`) as `Database.run`.
    """

    async def use_login(self, login_id: str, now: datetime, expires_at: datetime) -> bool:
        """
        Mark a login as used until it expires; False if it was used before.
        """

    async def user(self, identity: Identity, now: datetime) -> User:
        """
        The user with this (issuer, subject), made with an account of its own if it is new; e-mail
        and names follow `identity`.
        """

    async def add_code(self, code: StoredCode, now: datetime) -> None:
        """
        Store a code. Logins, codes and sessions that are over are swept out.
        """

    async def redeem_code(
        self, redemption: Redemption, now: datetime
    ) -> tuple[User, Session] | Reused | Refused:
        """
        Use a code up and open the session that it stands for, all at once: of any number of
        redemptions at most one gets the session, and a later one ends it. A code that is refused
        is used up too.

        Returns:
            The session with its user; `Reused`; or `Refused`, saying why.
        """

    async def rotate(
        self, rotation: Rotation, now: datetime
    ) -> tuple[User, Session] | Reused | None:
        """
        Replace a refresh token, all at once: of any number of rotations of one token all get the
        same successor, within the grace, and later ones end the session.

        Returns:
            The session with its user; `Reused`; None for a token that is not valid (unknown,
            expired, another client's).

        Raises:
            OAuthError: what `rotation.check` says; nothing has been replaced then.
        """

    async def session(self, session_id: str, now: datetime) -> tuple[User, Session] | None:
        """
        A session that has not ended.
        """

    async def sessions(self, user_id: str, now: datetime) -> Sequence[Session]:
        """
        A user's sessions, the newest first.
        """

    async def end_session(self, session_id: str, user_id: str | None = None) -> bool:
        """
        End a session (of this user, if one is given): its refresh tokens are gone.
        """

    async def end_session_of(self, refresh_digest: str, client_id: str | None) -> str | None:
        """
        End the session of a refresh token, used or not (and of this client, if one is given).
        Returns the session's id.
        """

    async def touch_session(self, session_id: str, now: datetime) -> None:
        """
        Note when it was last used.
        """

    async def add_token(self, token: ApiToken, digest: str) -> None:
        """
        Store a token for a machine.
        """

    async def token(self, digest: str, now: datetime) -> ApiToken | None:
        """
        A token that has not expired, by its digest.
        """

    async def token_by_id(self, token_id: str) -> ApiToken | None:
        """
        A token by its id.
        """

    async def tokens(self, account_ids: Sequence[str] | None) -> Sequence[ApiToken]:
        """
        The tokens of these accounts (None: of all), the newest first.
        """

    async def remove_token(self, token_id: str, account_ids: Sequence[str] | None) -> bool:
        """
        Revoke a token of these accounts (None: of any).
        """

    async def touch_token(self, token_id: str, now: datetime) -> None:
        """
        Note when it was last used.
        """

    async def operator_account(self, name: str, now: datetime) -> Account:
        """
        The account that the operator means: the one with this id, else the one that an operator
        made under this name, made now if it is new. Never one of a login by its display name.

        Raises:
            Problem: `BAD_REQUEST` when `name` cannot be an account's, or is an unknown id.
        """

    async def account(self, account_id: str) -> Account | None:
        """
        See `usecases.ports.Accounts`.
        """
