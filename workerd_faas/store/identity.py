"""Identity on the database. Each public method is one transaction; `identity_sql` has the SQL."""

from collections.abc import Sequence
from datetime import datetime
from sqlite3 import Cursor
from typing import Final

import attrs

from workerd_faas.domain.identity import ApiToken, Session, User
from workerd_faas.domain.idtoken import Identity
from workerd_faas.domain.model import Account, timestamp
from workerd_faas.store import device_sql
from workerd_faas.store.identity_rows import (
    CODE,
    SESSION,
    TOKENS,
    USER,
    session_of,
    token_of,
    words_of,
)
from workerd_faas.store.identity_sql import (
    find_account,
    find_session,
    in_accounts,
    operator_account,
    redeem_code,
    rotate,
    sweep,
    upsert_user,
)
from workerd_faas.usecases import ports
from workerd_faas.usecases.identity.ports import (
    DeviceLogin,
    DevicePoll,
    IdentityStore,
    Redemption,
    Refused,
    Reused,
    Rotation,
    StoredCode,
)

_TOKENS: Final = (
    "api_tokens JOIN accounts ON accounts.id = api_tokens.account_id"
    " LEFT JOIN users ON users.id = api_tokens.user_id"
    " LEFT JOIN accounts AS user_accounts ON user_accounts.id = users.account_id"
)


@attrs.frozen
class SQLIdentity:
    """
    `usecases.identity.ports.IdentityStore` and `usecases.ports.Accounts` on a `Database`.
    """

    _database: ports.Database

    async def use_login(self, login_id: str, now: datetime, expires_at: datetime) -> bool:
        """
        See `IdentityStore`.
        """

        def work(cursor: Cursor) -> bool:
            cursor.execute("DELETE FROM used_logins WHERE expires_at <= ?", (timestamp(now),))
            cursor.execute(
                "INSERT INTO used_logins (id, expires_at) VALUES (?, ?) ON CONFLICT DO NOTHING",
                (login_id, timestamp(expires_at)),
            )
            return cursor.rowcount == 1

        return await self._database.run(work)

    async def user(self, identity: Identity, now: datetime) -> User:
        """
        See `IdentityStore`.
        """
        return await self._database.run(lambda cursor: upsert_user(cursor, identity, now))

    async def add_code(self, code: StoredCode, now: datetime) -> None:
        """
        See `IdentityStore`.
        """

        def work(cursor: Cursor) -> None:
            sweep(cursor, now)
            cursor.execute(
                f"INSERT INTO codes ({CODE}) VALUES (?, ?, ?, ?, ?, ?, ?)",
                (
                    code.digest,
                    code.user_id,
                    code.client_id,
                    code.redirect_uri,
                    code.challenge,
                    " ".join(code.scope),
                    timestamp(code.expires_at),
                ),
            )

        await self._database.run(work)

    async def redeem_code(
        self, redemption: Redemption, now: datetime
    ) -> tuple[User, Session] | Reused | Refused:
        """
        See `IdentityStore`.
        """
        return await self._database.run(lambda cursor: redeem_code(cursor, redemption, now))

    async def rotate(
        self, rotation: Rotation, now: datetime
    ) -> tuple[User, Session] | Reused | None:
        """
        See `IdentityStore`.
        """
        return await self._database.run(lambda cursor: rotate(cursor, rotation, now))

    async def add_device(
        self, login: DeviceLogin, interval: int, most_of_one: int, most: int, now: datetime
    ) -> bool:
        """
        See `DeviceStore`.
        """
        return await self._database.run(
            lambda cursor: device_sql.add_device(cursor, login, interval, most_of_one, most, now)
        )

    async def device(self, user_code: str, now: datetime) -> DeviceLogin | None:
        """
        See `DeviceStore`.
        """
        return await self._database.run(
            lambda cursor: device_sql.find_device(cursor, user_code, now)
        )

    async def decide_device(self, user_code: str, user_id: str | None, now: datetime) -> bool:
        """
        See `DeviceStore`.
        """
        return await self._database.run(
            lambda cursor: device_sql.decide_device(cursor, user_code, user_id, now)
        )

    async def poll_device(self, poll: DevicePoll, now: datetime) -> tuple[User, Session] | str:
        """
        See `DeviceStore`.
        """
        return await self._database.run(lambda cursor: device_sql.poll_device(cursor, poll, now))

    async def session(self, session_id: str, now: datetime) -> tuple[User, Session] | None:
        """
        See `IdentityStore`.
        """
        return await self._database.run(lambda cursor: find_session(cursor, session_id, now))

    async def sessions(self, user_id: str, now: datetime) -> Sequence[Session]:
        """
        See `IdentityStore`.
        """

        def work(cursor: Cursor) -> Sequence[Session]:
            cursor.execute(
                f"SELECT {SESSION} FROM sessions"
                " WHERE user_id = ? AND expires_at > ? AND idle_at > ? ORDER BY created_at DESC",
                (user_id, timestamp(now), timestamp(now)),
            )
            return [session_of(row) for row in cursor]

        return await self._database.run(work)

    async def end_session(self, session_id: str, user_id: str | None = None) -> bool:
        """
        See `IdentityStore`.
        """

        def work(cursor: Cursor) -> bool:
            cursor.execute(
                "DELETE FROM sessions WHERE id = ? AND user_id = coalesce(?, user_id)",
                (session_id, user_id),
            )
            return cursor.rowcount == 1

        return await self._database.run(work)

    async def end_session_of(self, refresh_digest: str, client_id: str | None) -> str | None:
        """
        See `IdentityStore`.
        """

        def work(cursor: Cursor) -> str | None:
            cursor.execute(
                "DELETE FROM sessions WHERE client_id = coalesce(?, client_id) AND id ="
                " (SELECT session_id FROM refresh_tokens WHERE digest = ?) RETURNING id",
                (client_id, refresh_digest),
            )
            rows = cursor.fetchall()  # to the end, else SQLite cannot commit
            return rows[0][0] if rows else None

        return await self._database.run(work)

    async def touch_session(self, session_id: str, now: datetime) -> None:
        """
        See `IdentityStore`.
        """
        await self._database.run(
            lambda cursor: cursor.execute(
                "UPDATE sessions SET last_used_at = ? WHERE id = ?", (timestamp(now), session_id)
            )
        )

    async def add_token(self, token: ApiToken, digest: str) -> None:
        """
        See `IdentityStore`.
        """
        row = (
            token.id,
            digest,
            token.name,
            token.account.id,
            token.user.id if token.user else None,
            timestamp(token.created_at),
            timestamp(token.expires_at) if token.expires_at else None,
            *words_of(token.permissions),
        )
        await self._database.run(
            lambda cursor: cursor.execute(
                "INSERT INTO api_tokens"
                " (id, digest, name, account_id, user_id, created_at, expires_at,"
                " scopes, functions)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                row,
            )
        )

    async def token(self, digest: str, now: datetime) -> ApiToken | None:
        """
        See `IdentityStore`.
        """
        found = await self._tokens("WHERE digest = ?", (digest,))
        if not found or (found[0].expires_at is not None and found[0].expires_at <= now):
            return None
        return found[0]

    async def token_by_id(self, token_id: str) -> ApiToken | None:
        """
        See `IdentityStore`.
        """
        found = await self._tokens("WHERE api_tokens.id = ?", (token_id,))
        return found[0] if found else None

    async def tokens(self, account_ids: Sequence[str] | None) -> Sequence[ApiToken]:
        """
        See `IdentityStore`.
        """
        where, arguments = in_accounts("WHERE", account_ids)
        return await self._tokens(f"{where} ORDER BY api_tokens.created_at DESC", arguments)

    async def _tokens(self, where: str, arguments: tuple[str, ...]) -> Sequence[ApiToken]:
        def work(cursor: Cursor) -> Sequence[ApiToken]:
            cursor.execute(f"SELECT {TOKENS}, {USER} FROM {_TOKENS} {where}", arguments)
            return [token_of(row) for row in cursor]

        return await self._database.run(work)

    async def remove_token(self, token_id: str, account_ids: Sequence[str] | None) -> bool:
        """
        See `IdentityStore`.
        """
        where, arguments = in_accounts("AND", account_ids)

        def work(cursor: Cursor) -> bool:
            cursor.execute(
                f"DELETE FROM api_tokens WHERE id = ? {where}",
                (token_id, *arguments),
            )
            return cursor.rowcount == 1

        return await self._database.run(work)

    async def touch_token(self, token_id: str, now: datetime) -> None:
        """
        See `IdentityStore`.
        """
        await self._database.run(
            lambda cursor: cursor.execute(
                "UPDATE api_tokens SET last_used_at = ? WHERE id = ?", (timestamp(now), token_id)
            )
        )

    async def operator_account(self, name: str, now: datetime) -> Account:
        """
        See `IdentityStore`.
        """
        return await self._database.run(lambda cursor: operator_account(cursor, name, now))

    async def account(self, account_id: str) -> Account | None:
        """
        See `usecases.ports.Accounts`.
        """
        return await self._database.run(lambda cursor: find_account(cursor, account_id))


_check: type[IdentityStore] = SQLIdentity
_check_accounts: type[ports.Accounts] = SQLIdentity
