"""API tokens: what machines authenticate with."""

import secrets
from collections.abc import Sequence
from datetime import datetime
from typing import Final

import attrs
from twisted.logger import Logger

from workerd_faas.domain.credentials import CredentialKind, digest, write_credential
from workerd_faas.domain.errors import Kind, Problem
from workerd_faas.domain.identity import ApiToken, User, check_token_name
from workerd_faas.domain.model import Account, Principal
from workerd_faas.domain.permissions import EVERYTHING, Permissions
from workerd_faas.usecases import ports
from workerd_faas.usecases.identity.ports import IdentityStore

MAX_TOKENS: Final = 1000
"""Of one account, expired ones included, since these are listed too; not for the operator."""


@attrs.frozen
class NewToken:
    """
    A token and its secret, which is shown once and not kept.
    """

    token: ApiToken
    secret: str = attrs.field(repr=False)


@attrs.frozen(kw_only=True)
class MachineTokens:
    """
    Makes, lists and revokes API tokens.
    """

    log = Logger()

    store: IdentityStore
    clock: ports.WallClock

    async def create(
        self,
        principal: Principal,
        name: object,
        expires_at: datetime | None,
        permissions: Permissions = EVERYTHING,
    ) -> NewToken:
        """
        Make a token for the principal's account. One that is made with another token does not
        outlive that one, and can do no more.

        Raises:
            Problem: `BAD_REQUEST`, `FORBIDDEN`.
        """
        label = check_token_name(name)
        if not principal.permissions.cover(permissions):
            raise Problem(
                kind=Kind.FORBIDDEN,
                message="A token cannot make one that may do more than itself: name its scopes.",
            )
        now = self.clock.now()
        if expires_at is not None and expires_at <= now:
            raise Problem(kind=Kind.BAD_REQUEST, message="expires_on must be in the future.")
        (account, *_) = principal.accounts
        if len(await self.store.tokens([account.id])) >= MAX_TOKENS:
            raise Problem(
                kind=Kind.BAD_REQUEST,
                message=f"Your account has {MAX_TOKENS} API tokens already: revoke some.",
            )
        user: User | None = None
        if principal.by_token:
            parent = await self.store.token_by_id(principal.credential)
            if parent is None:  # revoked since the request was authenticated
                raise Problem(kind=Kind.UNAUTHENTICATED, message="Authentication error")
            user = parent.user
            expires_at = _not_after(expires_at, parent.expires_at)
        else:
            found = await self.store.session(principal.credential, now)
            if found is None:
                raise Problem(kind=Kind.UNAUTHENTICATED, message="Authentication error")
            user = found[0]
        return await self._make(account, user, label, expires_at, permissions)

    async def create_as_operator(
        self, account_name: str, name: object, permissions: Permissions = EVERYTHING
    ) -> NewToken:
        """
        Make a token for the account that the operator named, which is made if it is new.

        Raises:
            Problem: `BAD_REQUEST`.
        """
        label = check_token_name(name)
        account = await self.store.operator_account(account_name, self.clock.now())
        return await self._make(account, None, label, None, permissions)

    async def _make(
        self,
        account: Account,
        user: User | None,
        name: str,
        expires_at: datetime | None,
        permissions: Permissions,
    ) -> NewToken:
        secret = write_credential(CredentialKind.API, secrets.token_bytes(32))
        token = ApiToken(
            id=secrets.token_hex(16),
            name=name,
            account=account,
            user=user,
            created_at=self.clock.now(),
            last_used_at=None,
            expires_at=expires_at,
            permissions=permissions,
        )
        await self.store.add_token(token, digest(secret))
        self.log.info(
            "API token {token} was made for account {account}", token=token.id, account=account.id
        )
        return NewToken(token, secret)

    async def of(self, principal: Principal) -> Sequence[ApiToken]:
        """
        The tokens of the principal's accounts, the newest first.
        """
        return await self.store.tokens([account.id for account in principal.accounts])

    async def all(self) -> Sequence[ApiToken]:
        """
        The tokens of all accounts, for the operator.
        """
        return await self.store.tokens(None)

    async def revoke(self, principal: Principal, token_id: str) -> None:
        """
        Revoke one of them.

        Raises:
            Problem: `NOT_FOUND`.
        """
        await self._revoke(token_id, [account.id for account in principal.accounts])

    async def revoke_as_operator(self, token_id: str) -> None:
        """
        Revoke any token.

        Raises:
            Problem: `NOT_FOUND`.
        """
        await self._revoke(token_id, None)

    async def _revoke(self, token_id: str, accounts: Sequence[str] | None) -> None:
        if not await self.store.remove_token(token_id, accounts):
            raise Problem(kind=Kind.NOT_FOUND, message="There is no token with this id.")
        self.log.info("API token {token} was revoked", token=token_id)


def _not_after(wished: datetime | None, limit: datetime | None) -> datetime | None:
    if wished is None or limit is None:
        return wished or limit
    if wished > limit:
        raise Problem(
            kind=Kind.BAD_REQUEST,
            message="expires_on must not be after the end of the token that this request uses.",
        )
    return wished
