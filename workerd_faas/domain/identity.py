"""Users, their sessions and the tokens of machines."""

import re
from datetime import datetime
from typing import Final

import attrs

from workerd_faas.domain.errors import Kind, Problem
from workerd_faas.domain.model import Account
from workerd_faas.domain.permissions import EVERYTHING, Permissions

ACCOUNT_ID: Final = re.compile(r"[0-9a-f]{32}")
_LONGEST_NAME: Final = 100


@attrs.frozen(kw_only=True)
class User:
    """
    Somebody who logged in once. (`issuer`, `subject`) is who it is; `email` is verified or None.
    """

    id: str
    issuer: str
    subject: str
    email: str | None
    account: Account


@attrs.frozen(kw_only=True)
class Session:
    """
    One login of a CLI: a family of refresh tokens and the access tokens that came of it.

    Attributes:
        expires_at: However busy it is, it ends then.
    """

    id: str
    client_id: str
    scope: tuple[str, ...]
    created_at: datetime
    last_used_at: datetime
    expires_at: datetime


@attrs.frozen(kw_only=True)
class ApiToken:
    """
    A token for a machine, without its secret.

    Attributes:
        user: Who made it; None for one that the operator made.
        expires_at: None: it lives until it is revoked.
        permissions: What it can be used for.
    """

    id: str
    name: str
    account: Account
    user: User | None
    created_at: datetime
    last_used_at: datetime | None
    expires_at: datetime | None
    permissions: Permissions = EVERYTHING


@attrs.frozen
class LoginPolicy:
    """
    Who may log in. Rules are verified e-mail addresses, `@domain`, or `sub:SUBJECT`; without rules
    everybody whom the provider lets in.
    """

    rules: frozenset[str] = frozenset()

    def admits(self, subject: str, email: str | None) -> bool:
        """
        Whether a person with this subject and this *verified* e-mail address may log in.
        """
        if not self.rules or f"sub:{subject}" in self.rules:
            return True
        if email is None:
            return False
        address = email.lower()
        return address in self.rules or "@" + address.rpartition("@")[2] in self.rules


def check_token_name(name: object) -> str:
    """
    Return `name` if a token may be called so.

    Raises:
        Problem: `BAD_REQUEST`.
    """
    return _check_name("A token's name", name)


def check_handle(name: object) -> str:
    """
    Return `name` if an operator may make an account called so.

    Raises:
        Problem: `BAD_REQUEST`; also for 32 hex digits, which would look like an account's id.
    """
    handle = _check_name("An account's name", name)
    if ACCOUNT_ID.fullmatch(handle):
        raise Problem(kind=Kind.BAD_REQUEST, message="There is no account with this id.")
    return handle


def _check_name(what: str, name: object) -> str:
    if (
        not isinstance(name, str)
        or not name
        or name != name.strip()
        or not name.isprintable()
        or len(name) > _LONGEST_NAME
    ):
        raise Problem(
            kind=Kind.BAD_REQUEST,
            message=(
                f"{what} takes 1 to {_LONGEST_NAME} printable characters "
                "with no space at the beginning or end."
            ),
        )
    return name
