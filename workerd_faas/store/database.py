"""
SQLite behind a door: one connection, one thread, one transaction at a time.

WAL with `synchronous=FULL`: a transaction is on the disk before `run` returns. NORMAL lost
acknowledged rows in simulated power cuts.
"""

import sqlite3
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, TypeVar

from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger
from twisted.python.threadpool import ThreadPool

from workerd_faas.domain.errors import Kind, Problem
from workerd_faas.store.schema import SCHEMA, NewerSchema, migrate
from workerd_faas.usecases import ports

T = TypeVar("T")

FILE_NAME: Final = "faas.db"
"""Of the database in `DATA_DIR`."""

BUSY_SECONDS: Final = 5.0
"""How long to wait for another process (the operator's command) to end its transaction."""

_OUT_OF_SPACE: Final = {sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_WRITE}
_MISFORTUNES: Final = {
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_CORRUPT,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_PROTOCOL,
    sqlite3.SQLITE_NOTADB,
}
_PRIMARY: Final = 0xFF
"""The part of an error code that names its kind; the rest is detail."""

_log = Logger()


class DatabaseUnusable(Exception):
    """
    The database cannot be opened; the message says what is wrong with which file.
    """


def connect(path: Path) -> sqlite3.Connection:
    """
    Open (or create) the database at `path`, check it, and bring its schema up to date.

    Raises:
        DatabaseUnusable: it is corrupt, newer than this program, or the file cannot be opened.
    """
    try:
        connection = sqlite3.connect(
            path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False
        )
    except sqlite3.Error as error:
        raise DatabaseUnusable(f"{path} cannot be opened: {error}") from error
    try:
        path.chmod(0o600)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute("PRAGMA trusted_schema = OFF")
        (found,) = connection.execute("PRAGMA quick_check(1)").fetchone()
        if found != "ok":
            raise DatabaseUnusable(f"{path} is damaged ({found}): restore it from a backup")
        migrate(connection, path, SCHEMA)
    except (sqlite3.Error, OSError, NewerSchema) as error:
        connection.close()
        raise DatabaseUnusable(f"{path} cannot be used: {error}") from error
    except BaseException:
        connection.close()
        raise
    return connection


def transact(connection: sqlite3.Connection, work: Callable[[sqlite3.Cursor], T]) -> T:
    """
    Run `work` in one transaction on the calling thread.

    Raises:
        Problem: as `usecases.ports.Database.run`.
    """
    cursor = connection.cursor()
    try:
        cursor.execute("BEGIN IMMEDIATE")
        try:
            result = work(cursor)
            cursor.execute("COMMIT")
        except BaseException:
            with suppress(sqlite3.Error):  # a failed COMMIT may have rolled back already
                connection.rollback()
            raise
        return result
    except sqlite3.DatabaseError as error:
        problem = _problem(error)
        if problem is None:  # a mistake of ours, not a misfortune
            raise
        _log.error("the database failed: {reason}", reason=str(error))
        raise problem from error
    finally:
        cursor.close()


def _problem(error: sqlite3.DatabaseError) -> Problem | None:
    code = getattr(error, "sqlite_errorcode", 0)
    if code in _OUT_OF_SPACE:
        return Problem(
            kind=Kind.STORAGE_FULL,
            message="There is no space left for this on the server's disk; nothing was changed.",
        )
    if code & _PRIMARY in _MISFORTUNES:
        return Problem(
            kind=Kind.UNAVAILABLE,
            message="The server's database does not take this at the moment; nothing was changed.",
            retry_after=5,
        )
    return None


class SQLiteDatabase:
    """
    The database of a running daemon: `usecases.ports.Database`.
    """

    def __init__(self, reactor: Any, path: Path) -> None:
        self._reactor = reactor
        self._path = path
        self._connection: sqlite3.Connection | None = None
        # One thread: transactions run in the order in which they were asked for.
        self._pool = ThreadPool(minthreads=1, maxthreads=1, name="database")

    async def start(self) -> None:
        """
        Open it.

        Raises:
            DatabaseUnusable: it cannot be used.
        """
        self._pool.start()
        try:
            self._connection = await deferToThreadPool(
                self._reactor, self._pool, connect, self._path
            )
        except BaseException:
            self._pool.stop()
            raise

    async def stop(self) -> None:
        """
        Finish what was asked for and close it. Idempotent.
        """
        if self._connection is not None:
            connection, self._connection = self._connection, None
            await deferToThreadPool(self._reactor, self._pool, connection.close)
            self._pool.stop()

    async def run(self, work: Callable[[Any], T]) -> T:
        """
        See `usecases.ports.Database.run`.
        """
        if self._connection is None:
            raise Problem(kind=Kind.UNAVAILABLE, message="The server is stopping.", retry_after=5)
        result: T = await deferToThreadPool(
            self._reactor, self._pool, transact, self._connection, work
        )
        return result


_check: type[ports.Database] = SQLiteDatabase
