"""Rows of identity's tables to values."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

from workerd_faas.domain.identity import ApiToken, Session, User
from workerd_faas.domain.model import Account
from workerd_faas.domain.permissions import EVERYTHING, Permissions
from workerd_faas.usecases.identity.ports import StoredCode

CODE: Final = "digest, user_id, client_id, redirect_uri, challenge, scope, expires_at"

SESSION: Final = (
    "sessions.id, sessions.client_id, sessions.scope, sessions.created_at, sessions.last_used_at,"
    " sessions.expires_at"
)

USER: Final = (
    "users.id, users.issuer, users.subject, users.email, user_accounts.id, user_accounts.name"
)
"""Of `users` joined with their `accounts AS user_accounts`."""

TOKENS: Final = (
    "api_tokens.id, api_tokens.name, accounts.id, accounts.name, api_tokens.created_at,"
    " api_tokens.last_used_at, api_tokens.expires_at, api_tokens.scopes, api_tokens.functions"
)
"""Of `api_tokens` joined with `accounts`."""


def code_of(row: Sequence[Any]) -> StoredCode:
    """
    A code, from the columns of `CODE`.
    """
    digest, user_id, client_id, redirect_uri, challenge, scope, expires_at = row
    return StoredCode(
        digest=digest,
        user_id=user_id,
        client_id=client_id,
        redirect_uri=redirect_uri,
        challenge=challenge,
        scope=tuple(scope.split()),
        expires_at=datetime.fromisoformat(expires_at),
    )


def session_of(row: Sequence[Any]) -> Session:
    """
    A session, from the columns of `SESSION`.
    """
    id_, client_id, scope, created_at, last_used_at, expires_at = row
    return Session(
        id=id_,
        client_id=client_id,
        scope=tuple(scope.split()),
        created_at=datetime.fromisoformat(created_at),
        last_used_at=datetime.fromisoformat(last_used_at),
        expires_at=datetime.fromisoformat(expires_at),
    )


def user_of(row: Sequence[Any]) -> User:
    """
    A user, from the columns of `USER`.
    """
    id_, issuer, subject, email, account_id, account_name = row
    return User(
        id=id_,
        issuer=issuer,
        subject=subject,
        email=email,
        account=Account(id=account_id, name=account_name),
    )


def token_of(row: Sequence[Any]) -> ApiToken:
    """
    A token, from the columns of `TOKENS` and then those of `USER` (all NULL without one).
    """
    id_, name, account_id, account_name, created_at, last_used_at, expires_at, *more = row
    scopes, functions, *user = more
    return ApiToken(
        id=id_,
        name=name,
        account=Account(id=account_id, name=account_name),
        user=None if user[0] is None else user_of(user),
        created_at=datetime.fromisoformat(created_at),
        last_used_at=None if last_used_at is None else datetime.fromisoformat(last_used_at),
        expires_at=None if expires_at is None else datetime.fromisoformat(expires_at),
        permissions=Permissions(
            scopes=EVERYTHING.scopes if scopes is None else frozenset(scopes.split()),
            functions=None if functions is None else frozenset(functions.split()),
        ),
    )


def words_of(permissions: Permissions) -> tuple[str | None, str | None]:
    """
    The columns `scopes` and `functions` of `api_tokens`.
    """
    scopes, functions = permissions.scopes, permissions.functions
    return (
        None if permissions == EVERYTHING else " ".join(sorted(scopes)),
        None if functions is None else " ".join(sorted(functions)),
    )
