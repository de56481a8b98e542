"""The statements of logins of devices, each a function of a cursor inside a transaction."""

from datetime import datetime, timedelta
from sqlite3 import Cursor
from typing import Final

from workerd_faas.domain.identity import Session, User
from workerd_faas.domain.model import timestamp
from workerd_faas.store.identity_sql import find_session, open_session
from workerd_faas.usecases.identity.ports import DeviceLogin, DevicePoll

_COLUMNS: Final = "digest, user_code, client_id, scope, address, expires_at"

REMEMBERED: Final = timedelta(minutes=10)
"""How long one that is over is remembered, so that its program is told that it is."""


def add_device(
    cursor: Cursor, login: DeviceLogin, interval: int, most_of_one: int, most: int, now: datetime
) -> bool:
    """
    Store a login unless too many wait.
    """
    cursor.execute(
        "DELETE FROM device_logins WHERE expires_at <= ?", (timestamp(now - REMEMBERED),)
    )
    (of_one,) = cursor.execute(
        "SELECT count(*) FROM device_logins WHERE address = ?", (login.address,)
    ).fetchone()
    (of_all,) = cursor.execute("SELECT count(*) FROM device_logins").fetchone()
    if of_one >= most_of_one or of_all >= most:
        return False
    cursor.execute(
        f"INSERT INTO device_logins ({_COLUMNS}, interval) VALUES (?, ?, ?, ?, ?, ?, ?)"
        " ON CONFLICT DO NOTHING",
        (
            login.digest,
            login.user_code,
            login.client_id,
            " ".join(login.scope),
            login.address,
            timestamp(login.expires_at),
            interval,
        ),
    )
    return cursor.rowcount == 1


def find_device(cursor: Cursor, user_code: str, now: datetime) -> DeviceLogin | None:
    """
    One that waits for a decision.
    """
    cursor.execute(
        f"SELECT {_COLUMNS} FROM device_logins"
        " WHERE user_code = ? AND allowed IS NULL AND expires_at > ?",
        (user_code, timestamp(now)),
    )
    row = cursor.fetchone()
    if row is None:
        return None
    digest, user_code, client_id, scope, address, expires_at = row
    return DeviceLogin(
        digest=digest,
        user_code=user_code,
        client_id=client_id,
        scope=tuple(scope.split(" ")),
        address=address,
        expires_at=datetime.fromisoformat(expires_at),
    )


def decide_device(cursor: Cursor, user_code: str, user_id: str | None, now: datetime) -> bool:
    """
    Decide, once.
    """
    cursor.execute(
        "UPDATE device_logins SET allowed = ?, user_id = ?"
        " WHERE user_code = ? AND allowed IS NULL AND expires_at > ?",
        (int(user_id is not None), user_id, user_code, timestamp(now)),
    )
    return cursor.rowcount == 1


def poll_device(cursor: Cursor, poll: DevicePoll, now: datetime) -> tuple[User, Session] | str:
    """
    Open the session, or say why not.
    """
    cursor.execute(
        "SELECT client_id, scope, expires_at, interval, asked_at, allowed, user_id"
        " FROM device_logins WHERE digest = ?",
        (poll.digest,),
    )
    row = cursor.fetchone()
    if row is None or row[0] != poll.client_id:
        return "invalid_grant"
    client_id, scope, expires_at, interval, asked_at, allowed, user_id = row
    if expires_at <= timestamp(now):
        return "expired_token"
    if allowed is None:
        early = asked_at is not None and now < datetime.fromisoformat(asked_at) + timedelta(
            seconds=interval
        )
        cursor.execute(
            "UPDATE device_logins SET asked_at = ?, interval = interval + ? WHERE digest = ?",
            (timestamp(now), poll.slow_down if early else 0, poll.digest),
        )
        return "slow_down" if early else "authorization_pending"
    cursor.execute("DELETE FROM device_logins WHERE digest = ?", (poll.digest,))
    if not allowed:
        return "access_denied"
    open_session(cursor, poll, user_id, client_id, scope.split(" "), now)
    return find_session(cursor, poll.session_id, now) or "expired_token"
