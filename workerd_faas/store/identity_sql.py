"""
The statements of identity, each a function of a cursor inside a transaction.

What may happen once is decided by one statement (`UPDATE … WHERE used_at IS NULL`), never by a
look before it.
"""

import secrets
from collections.abc import Sequence
from datetime import datetime, timedelta
from sqlite3 import Cursor
from typing import Final

from workerd_faas.domain.errors import Kind, Problem
from workerd_faas.domain.identity import ACCOUNT_ID, Session, User, check_handle
from workerd_faas.domain.idtoken import Identity
from workerd_faas.domain.model import Account, timestamp
from workerd_faas.store.identity_rows import CODE, SESSION, USER, code_of, session_of, user_of
from workerd_faas.usecases.identity.ports import (
    DevicePoll,
    Redemption,
    Refused,
    Reused,
    Rotation,
)

REPLAY_MEMORY: Final = timedelta(days=1)
"""How long a code is remembered, so that its second use is noticed."""

_USERS: Final = "users JOIN accounts AS user_accounts ON user_accounts.id = users.account_id"


def upsert_user(cursor: Cursor, identity: Identity, now: datetime) -> User:
    """
    The user of this identity, made with an account if it is new, with today's e-mail and name.
    """
    cursor.execute(
        "SELECT id, account_id FROM users WHERE issuer = ? AND subject = ?",
        (identity.issuer, identity.subject),
    )
    row = cursor.fetchone()
    if row is None:
        user_id = secrets.token_hex(16)
        account = make_account(cursor, identity.name, None, now)
        cursor.execute(
            "INSERT INTO users (id, issuer, subject, account_id, created_at, last_login_at)"
            " VALUES (?, ?, ?, ?, ?, ?)",
            (
                user_id,
                identity.issuer,
                identity.subject,
                account.id,
                timestamp(now),
                timestamp(now),
            ),
        )
        account_id = account.id
    else:
        user_id, account_id = row
    cursor.execute("UPDATE accounts SET name = ? WHERE id = ?", (identity.name, account_id))
    cursor.execute(
        "UPDATE users SET email = ?, last_login_at = ? WHERE id = ?",
        (identity.email, timestamp(now), user_id),
    )
    cursor.execute(f"SELECT {USER} FROM {_USERS} WHERE users.id = ?", (user_id,))
    return user_of(cursor.fetchone())


def make_account(cursor: Cursor, name: str, handle: str | None, now: datetime) -> Account:
    """
    A new account.
    """
    account = Account(id=secrets.token_hex(16), name=name)
    cursor.execute(
        "INSERT INTO accounts (id, name, handle, created_at) VALUES (?, ?, ?, ?)",
        (account.id, account.name, handle, timestamp(now)),
    )
    return account


def find_account(cursor: Cursor, account_id: str) -> Account | None:
    """
    The account with this id.
    """
    cursor.execute("SELECT id, name FROM accounts WHERE id = ?", (account_id,))
    row = cursor.fetchone()
    return None if row is None else Account(id=row[0], name=row[1])


def operator_account(cursor: Cursor, name: str, now: datetime) -> Account:
    """
    The account that an operator means by `name`.

    Raises:
        Problem: `BAD_REQUEST`.
    """
    if ACCOUNT_ID.fullmatch(name):
        account = find_account(cursor, name)
        if account is None:
            raise Problem(kind=Kind.BAD_REQUEST, message=f"There is no account with id {name}.")
        return account
    handle = check_handle(name)
    cursor.execute("SELECT id, name FROM accounts WHERE handle = ?", (handle,))
    row = cursor.fetchone()
    if row is not None:
        return Account(id=row[0], name=row[1])
    return make_account(cursor, handle, handle, now)


def sweep(cursor: Cursor, now: datetime) -> None:
    """
    Remove codes, refresh tokens and sessions that are over.
    """
    moment = timestamp(now)
    cursor.execute("DELETE FROM codes WHERE expires_at <= ?", (timestamp(now - REPLAY_MEMORY),))
    cursor.execute("DELETE FROM refresh_tokens WHERE expires_at <= ?", (moment,))
    cursor.execute("DELETE FROM sessions WHERE expires_at <= ? OR idle_at <= ?", (moment, moment))


def redeem_code(
    cursor: Cursor, redemption: Redemption, now: datetime
) -> tuple[User, Session] | Reused | Refused:
    """
    Use a code up and open its session.
    """
    cursor.execute(
        f"UPDATE codes SET used_at = ?, session_id = ? WHERE digest = ? AND used_at IS NULL"
        f" RETURNING {CODE}",
        (timestamp(now), redemption.session_id, redemption.digest),
    )
    # All rows are fetched: SQLite cannot commit while a RETURNING is not read to its end.
    rows = cursor.fetchall()
    if not rows:
        cursor.execute("SELECT session_id FROM codes WHERE digest = ?", (redemption.digest,))
        used = cursor.fetchone()
        if used is None:
            return Refused("The code is not valid.")
        cursor.execute("DELETE FROM sessions WHERE id = ?", used)
        return Reused(used[0])
    code = code_of(rows[0])
    reason = redemption.refusal(code, now)
    if reason is not None:
        return Refused(reason)
    open_session(cursor, redemption, code.user_id, code.client_id, code.scope, now)
    return find_session(cursor, redemption.session_id, now) or Refused(
        "The session is over already."
    )


def open_session(
    cursor: Cursor,
    wish: Redemption | DevicePoll,
    user_id: str,
    client_id: str,
    scope: Sequence[str],
    now: datetime,
) -> None:
    """
    A session with its first refresh token.
    """
    cursor.execute(
        "INSERT INTO sessions"
        " (id, user_id, client_id, scope, created_at, last_used_at, expires_at, idle_at)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (
            wish.session_id,
            user_id,
            client_id,
            " ".join(scope),
            timestamp(now),
            timestamp(now),
            timestamp(wish.session_expires_at),
            timestamp(wish.refresh_expires_at),
        ),
    )
    cursor.execute(
        "INSERT INTO refresh_tokens (digest, session_id, expires_at) VALUES (?, ?, ?)",
        (
            wish.refresh_digest,
            wish.session_id,
            timestamp(wish.refresh_expires_at),
        ),
    )


def find_session(cursor: Cursor, session_id: str, now: datetime) -> tuple[User, Session] | None:
    """
    A session that has not ended, with its user.
    """
    cursor.execute(
        f"SELECT {USER}, {SESSION} FROM {_USERS} JOIN sessions ON sessions.user_id = users.id"
        " WHERE sessions.id = ? AND sessions.expires_at > ? AND sessions.idle_at > ?",
        (session_id, timestamp(now), timestamp(now)),
    )
    row = cursor.fetchone()
    return None if row is None else (user_of(row[:6]), session_of(row[6:]))


def rotate(
    cursor: Cursor, rotation: Rotation, now: datetime
) -> tuple[User, Session] | Reused | None:
    """
    Replace a refresh token, once.
    """
    cursor.execute(
        "SELECT session_id, expires_at, used_at FROM refresh_tokens WHERE digest = ?",
        (rotation.digest,),
    )
    row = cursor.fetchone()
    if row is None:
        return None
    session_id, expires_at, used_at = row
    found = find_session(cursor, session_id, now)
    if found is None or found[1].client_id != rotation.client_id:
        return None
    rotation.check(found[1])
    if used_at is None and expires_at <= timestamp(now):
        return None
    cursor.execute(
        "UPDATE refresh_tokens SET used_at = ?, successor = ? WHERE digest = ? AND used_at IS NULL",
        (timestamp(now), rotation.successor, rotation.digest),
    )
    if cursor.rowcount == 1:
        _add_successor(cursor, session_id, rotation, now)
        return found
    if _raced(cursor, rotation):
        return found
    cursor.execute("DELETE FROM sessions WHERE id = ?", (session_id,))
    return Reused(session_id)


def _add_successor(cursor: Cursor, session_id: str, rotation: Rotation, now: datetime) -> None:
    expires_at = timestamp(rotation.successor_expires_at)
    cursor.execute(
        "INSERT INTO refresh_tokens (digest, session_id, expires_at) VALUES (?, ?, ?)",
        (rotation.successor, session_id, expires_at),
    )
    cursor.execute(
        "UPDATE sessions SET last_used_at = ?, idle_at = ? WHERE id = ?",
        (timestamp(now), expires_at, session_id),
    )


def _raced(cursor: Cursor, rotation: Rotation) -> bool:
    cursor.execute(
        "SELECT 1 FROM refresh_tokens AS used JOIN refresh_tokens AS next"
        " ON next.digest = used.successor"
        " WHERE used.digest = ? AND used.successor = ? AND used.used_at >= ?"
        " AND next.used_at IS NULL",
        (rotation.digest, rotation.successor, timestamp(rotation.graced_since)),
    )
    return cursor.fetchone() is not None


def in_accounts(keyword: str, account_ids: Sequence[str] | None) -> tuple[str, tuple[str, ...]]:
    """
    A condition on `api_tokens` and its arguments.
    """
    if account_ids is None:
        return "", ()
    marks = ", ".join("?" for _ in account_ids)
    return f"{keyword} api_tokens.account_id IN ({marks})", tuple(account_ids)
