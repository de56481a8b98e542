"""
Stored logins, by server, and what a request is authorised with.

The file has mode 0600 and is replaced in one step. A refresh token is good for one use, so a
refresh happens under a lock: a second process waits and then finds the tokens of the first.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, Protocol

import attrs

from workerd_faas.cli.client.oauth import OAuth, SessionEnded, Tokens, login_needed
from workerd_faas.cli.failure import Failure
from workerd_faas.cli.files import keep_private, locked, write_private

_FILE: Final = "credentials.json"
_LOCK: Final = "credentials.lock"
EARLY_SECONDS: Final = 60.0
"""How long before its end an access token is no longer used."""


class Authorization(Protocol):
    """
    Where the bearer token of a request comes from.
    """

    def token(self) -> str:
        """
        The token to use now.

        Raises:
            Failure: there is none.
        """

    def rejected(self, token: str) -> bool:
        """
        The server did not take `token`. Returns whether `token()` now gives another one.
        """


@attrs.frozen
class EnvironmentToken:
    """
    An API token from `WRKST_TOKEN`.
    """

    value: str = attrs.field(repr=False)

    def token(self) -> str:
        """
        The token.
        """
        return self.value

    def rejected(self, token: str) -> bool:
        """
        There is no other.
        """
        # A login would not be used while the variable is there.
        raise login_needed(
            "The server does not accept the token in WRKST_TOKEN.",
            hint="set WRKST_TOKEN to a token that has not ended, or unset it and run `wrkst login`",
        )


@attrs.frozen
class CredentialStore:
    """
    The file of stored logins.
    """

    directory: Path

    @property
    def path(self) -> Path:
        """
        Where it is.
        """
        return self.directory / _FILE

    def load(self, base_url: str) -> Tokens | None:
        """
        The login at a server.

        Raises:
            Failure: the file cannot be understood.
        """
        entry = self._read().get(base_url)
        if entry is None:
            return None
        try:
            return Tokens(
                access_token=str(entry["access_token"]),
                refresh_token=entry.get("refresh_token"),
                expires_at=float(entry["expires_at"]),
            )
        except (KeyError, TypeError, ValueError, AttributeError):
            raise self._unreadable() from None

    def save(self, base_url: str, tokens: Tokens | None) -> None:
        """
        Replace (or with None remove) the login at a server. The caller holds the lock.
        """
        servers = self._read()
        servers.pop(base_url, None)
        if tokens is not None:
            servers[base_url] = {
                "access_token": tokens.access_token,
                "refresh_token": tokens.refresh_token,
                "expires_at": tokens.expires_at,
            }
        content = json.dumps({"version": 1, "servers": servers}, indent=2).encode() + b"\n"
        write_private(self.path, content)

    def change(self, work: Callable[[], None]) -> None:
        """
        Run `work` while no other process changes the file.
        """
        with locked(self.directory / _LOCK):
            work()

    def _read(self) -> dict[str, Any]:
        try:
            keep_private(self.path)
            document = json.loads(self.path.read_bytes())
            servers = document["servers"]
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, KeyError, TypeError):
            raise self._unreadable() from None
        if not isinstance(servers, dict):
            raise self._unreadable()
        return servers

    def _unreadable(self) -> Failure:
        return login_needed(
            f"The stored logins in {self.path} cannot be read.",
            hint=f"remove that file, then run `wrkst login`: {self.path}",
        )


@attrs.define
class StoredLogin:
    """
    The login at one server, refreshed when it is due or when the server no longer takes it.
    """

    store: CredentialStore
    oauth: OAuth
    _tokens: Tokens | None = attrs.field(default=None, repr=False)

    @property
    def base_url(self) -> str:
        """
        The server.
        """
        return self.oauth.base_url

    def token(self) -> str:
        """
        The access token.

        Raises:
            Failure: nobody is logged in, or the session has ended.
        """
        if self._tokens is None:
            self._tokens = self._load()
        if self._is_due(self._tokens):
            self._renew(self._is_due)
        return self._tokens.access_token

    def rejected(self, token: str) -> bool:
        """
        Refresh, unless another process has done so already.
        """
        self._renew(lambda stored: stored.access_token == token)
        return self._tokens is not None and self._tokens.access_token != token

    def _is_due(self, tokens: Tokens) -> bool:
        return tokens.expires_at - EARLY_SECONDS <= self.oauth.now()

    def _load(self) -> Tokens:
        tokens = self.store.load(self.base_url)
        if tokens is None:
            raise login_needed(f"You are not logged in at {self.base_url}.")
        return tokens

    def _renew(self, still_needed: Callable[[Tokens], bool]) -> None:
        def work() -> None:
            stored = self._load()
            if still_needed(stored):
                if stored.refresh_token is None:
                    raise SessionEnded
                try:
                    stored = self.oauth.refresh(stored.refresh_token)
                except SessionEnded:
                    self.store.save(self.base_url, None)
                    raise
                self.store.save(self.base_url, stored)
            self._tokens = stored

        self.store.change(work)
