"""Who am I: `/user…`, `/accounts`, `/memberships`."""

from datetime import UTC, datetime
from typing import Any

import attrs
from klein import Klein
from twisted.web.iweb import IRequest

from workerd_faas.api.access import principal_of
from workerd_faas.api.envelope import answer, answer_page, read_json
from workerd_faas.domain.errors import Kind, Problem
from workerd_faas.domain.identity import ApiToken, Session
from workerd_faas.domain.model import Account, Principal, timestamp
from workerd_faas.domain.oauth import CLIENTS
from workerd_faas.domain.permissions import EVERYTHING, read_permissions
from workerd_faas.usecases.access import account_for
from workerd_faas.usecases.identity.machine_tokens import MachineTokens
from workerd_faas.usecases.identity.sessions import Sessions
from workerd_faas.usecases.ports import Authenticator


@attrs.frozen(kw_only=True)
class UserRoutes:
    """
    The caller's accounts, tokens and sessions.
    """

    auth: Authenticator
    tokens: MachineTokens
    sessions: Sessions

    def register(self, app: Klein) -> None:
        """
        See `api.app.Routes.register`.
        """
        self._register_user(app)
        self._register_accounts(app)
        self._register_tokens(app)
        self._register_sessions(app)

    async def _principal(self, request: IRequest) -> Principal:
        return await principal_of(self.auth, request)

    async def _known(self, request: IRequest, kind: Kind = Kind.NOBODY) -> Principal:
        """
        Wrangler asks who it is when a credential was refused: then another 10000 makes it break
        off with a stack trace, and these codes do not.
        """
        try:
            return await self._principal(request)
        except Problem as problem:
            if problem.kind is not Kind.UNAUTHENTICATED:
                raise
            raise Problem(kind=kind, message="Invalid access token") from None

    def _register_user(self, app: Klein) -> None:
        @app.route("/user", methods=["GET"])
        async def user(request: IRequest) -> bytes:
            principal = await self._known(request)
            name = principal.accounts[0].name
            # Wrangler wants an e-mail address to show; without one it shows the name.
            return answer(
                request,
                {"id": principal.subject, "email": principal.email or name, "username": name},
            )

        @app.route("/user/tokens/verify", methods=["GET"])
        async def verify(request: IRequest) -> bytes:
            principal = await self._known(request, Kind.TOKEN_INVALID)
            return answer(request, {"id": principal.credential, "status": "active"})

    def _register_accounts(self, app: Klein) -> None:
        @app.route("/accounts", methods=["GET"])
        async def accounts(request: IRequest) -> bytes:
            principal = await self._known(request)
            return answer_page(request, principal.accounts, _account)

        @app.route("/accounts/<account>", methods=["GET"])
        async def one_account(request: IRequest, account: str) -> bytes:
            principal = await self._principal(request)
            return answer(request, _account(account_for(principal, account)))

        @app.route("/memberships", methods=["GET"])
        async def memberships(request: IRequest) -> bytes:
            principal = await self._known(request)
            return answer_page(request, principal.accounts, _membership)

    def _register_tokens(self, app: Klein) -> None:
        @app.route("/user/tokens", methods=["GET"])
        async def tokens(request: IRequest) -> bytes:
            principal = await self._principal(request)
            return answer_page(request, await self.tokens.of(principal), _token)

        @app.route("/user/tokens", methods=["POST"])
        async def create_token(request: IRequest) -> bytes:
            principal = await self._principal(request)
            document = read_json(request)
            expires_at = _moment(document.get("expires_on"))
            permissions = read_permissions(
                document.get("scopes"),
                document.get("functions"),
                EVERYTHING if principal.by_token else principal.permissions,
            )
            new = await self.tokens.create(principal, document.get("name"), expires_at, permissions)
            return answer(request, {**_token(new.token), "value": new.secret})

        @app.route("/user/tokens/<token>", methods=["DELETE"])
        async def revoke_token(request: IRequest, token: str) -> bytes:
            await self.tokens.revoke(await self._principal(request), token)
            return answer(request, {"id": token})

    def _register_sessions(self, app: Klein) -> None:
        @app.route("/user/sessions", methods=["GET"])
        async def sessions(request: IRequest) -> bytes:
            principal = await self._principal(request)
            found = await self.sessions.of(principal)
            return answer_page(request, found, lambda each: _session(each, principal))

        @app.route("/user/sessions/<session>", methods=["DELETE"])
        async def end_session(request: IRequest, session: str) -> bytes:
            await self.sessions.end(await self._principal(request), session)
            return answer(request, {"id": session})


def _account(account: Account) -> dict[str, Any]:
    return {"id": account.id, "name": account.name, "type": "standard"}


def _membership(account: Account) -> dict[str, Any]:
    return {
        "id": account.id,
        "status": "accepted",
        "account": {"id": account.id, "name": account.name},
        "roles": ["Administrator"],
    }


def _token(token: ApiToken) -> dict[str, Any]:
    functions = token.permissions.functions
    return {
        "id": token.id,
        "name": token.name,
        "created_on": timestamp(token.created_at),
        "last_used_on": timestamp(token.last_used_at) if token.last_used_at else None,
        "expires_on": timestamp(token.expires_at) if token.expires_at else None,
        "account": {"id": token.account.id, "name": token.account.name},
        "scopes": sorted(token.permissions.scopes),
        "functions": None if functions is None else sorted(functions),
    }


def _session(session: Session, principal: Principal) -> dict[str, Any]:
    client = CLIENTS.get(session.client_id)
    return {
        "id": session.id,
        "client": client.name if client else session.client_id,
        "created_on": timestamp(session.created_at),
        "last_used_on": timestamp(session.last_used_at),
        "current": session.id == principal.credential,
    }


def _moment(text: object) -> datetime | None:
    if text is None:
        return None
    try:
        if not isinstance(text, str):
            raise ValueError
        moment = datetime.fromisoformat(text)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        raise Problem(
            kind=Kind.BAD_REQUEST,
            message="expires_on must be a time such as 2030-01-31T12:00:00Z.",
        ) from None
