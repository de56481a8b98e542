"""
The log of functions: an SQLite file of its own, off the reactor thread.

Logs are no promises: what was written in the last moments may be gone after a power cut
(`synchronous=NORMAL`), a file that is damaged is put aside for a new one, and when more comes than
can be written, it is dropped, counted, and said.
"""

import sqlite3
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import attrs
from twisted.internet.defer import Deferred, DeferredLock
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger
from twisted.python.threadpool import ThreadPool

from workerd_faas.domain.errors import Problem
from workerd_faas.domain.invocation import Invocation
from workerd_faas.domain.log_query import LogPage, LogQuery
from workerd_faas.domain.routing import Route
from workerd_faas.store import logs_sql
from workerd_faas.store.database import transact
from workerd_faas.store.schema import NewerSchema, migrate
from workerd_faas.usecases import ports

FILE_NAME: Final = "logs.db"
"""In `DATA_DIR`."""

FLUSH_SECONDS: Final = 0.25
SWEEP_SECONDS: Final = 600.0
MAX_WAITING: Final = 8 << 20
"""Bytes that wait to be written."""

MAX_WAITING_OF_ACCOUNT: Final = 2 << 20


def connect(path: Path) -> sqlite3.Connection:
    """
    Open the log at `path`, or a new one.

    Raises:
        sqlite3.Error: it is damaged, or the file cannot be opened.
        NewerSchema: it was written by a newer release.
    """
    connection = sqlite3.connect(path, timeout=5, isolation_level=None, check_same_thread=False)
    try:
        path.chmod(0o600)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute("PRAGMA trusted_schema = OFF")
        connection.execute("PRAGMA journal_size_limit = 16777216")
        (found,) = connection.execute("PRAGMA quick_check(1)").fetchone()
        if found != "ok":
            raise sqlite3.DatabaseError(str(found))
        migrate(connection, path, logs_sql.SCHEMA)
    except BaseException:
        connection.close()
        raise
    return connection


@attrs.define(eq=False, kw_only=True)
class SQLLogs:
    """
    `usecases.ports.LogStore` in SQLite.

    Attributes:
        reactor: Provides IReactorTime and IReactorFromThreads.
        keep_seconds: How long an invocation is kept.
        keep_bytes: How many bytes of invocations an account may keep. Beyond that, the function
            of it with the most of them loses its oldest.
    """

    reactor: Any
    path: Path
    clock: ports.WallClock
    keep_seconds: float
    keep_bytes: int
    lost: Callable[[Route, int], None] = lambda route, count: None
    _pool: ThreadPool = attrs.field(init=False)
    _connection: sqlite3.Connection | None = None
    _sizes: logs_sql.Sizes = attrs.Factory(logs_sql.Sizes)
    _waiting: list[Invocation] = attrs.Factory(list)
    _bytes: dict[str, int] = attrs.Factory(dict)
    _writing: DeferredLock = attrs.Factory(DeferredLock)
    _timer: IDelayedCall | None = None
    _sweeper: IDelayedCall | None = None
    _failing: bool = False

    log = Logger()

    def __attrs_post_init__(self) -> None:
        """
        One thread, for writing and reading.
        """
        self._pool = ThreadPool(minthreads=1, maxthreads=1, name="logs")

    async def start(self) -> None:
        """
        Open the file, a new one if it cannot be used; see `lifecycle.Stage`. Never fails for want
        of a log.
        """
        self._pool.start()
        try:
            self._connection = await self._in_thread(self._open)
        except (sqlite3.Error, OSError) as error:
            self.log.error(
                "{path} cannot be opened, so no log of functions is kept: {error}",
                path=str(self.path),
                error=str(error),
            )
            return
        await self._sweep()

    async def stop(self) -> None:
        """
        Write what waits, and close.
        """
        for call in (self._timer, self._sweeper):
            if call is not None and call.active():
                call.cancel()
        await self._flush()
        connection, self._connection = self._connection, None
        if connection is not None:
            await self._in_thread(connection.close)
        if self._pool.started:
            self._pool.stop()

    def keep(self, invocation: Invocation) -> None:
        """
        See `usecases.ports.LogStore.keep`.
        """
        account_id, size = invocation.route.account_id, logs_sql.size_of(invocation)
        if self._connection is None:
            return
        of_account = self._bytes.get(account_id, 0) + size
        full = sum(self._bytes.values()) + size > MAX_WAITING
        if full or of_account > MAX_WAITING_OF_ACCOUNT:
            self._drop([invocation])
            return
        self._bytes[account_id] = of_account
        self._waiting.append(invocation)
        if self._timer is None:
            self._timer = self.reactor.callLater(FLUSH_SECONDS, self._flush_soon)

    async def query(self, query: LogQuery) -> LogPage:
        """
        See `usecases.ports.LogStore.query`.
        """
        await self._flush()
        if self._connection is None:
            return LogPage((), None)
        page: LogPage = await self._run(lambda cursor: logs_sql.select(cursor, query))
        return page

    async def forget(self, account_id: str, function: str) -> None:
        """
        See `usecases.ports.LogStore.forget`.
        """
        await self._flush()
        if self._connection is not None:
            await self._run(lambda c: logs_sql.forget(c, self._sizes, account_id, function))

    def _open(self) -> sqlite3.Connection:
        try:
            connection = connect(self.path)
        except (sqlite3.DatabaseError, NewerSchema) as error:
            aside = self.path.with_name(f"{self.path.name}.unusable")
            self.log.warn(
                "{path} cannot be used and is now {aside}: {error}",
                path=str(self.path),
                aside=aside.name,
                error=str(error),
            )
            for suffix in ("-wal", "-shm"):
                Path(f"{self.path}{suffix}").unlink(missing_ok=True)
            self.path.replace(aside)
            connection = connect(self.path)
        self._sizes = transact(connection, logs_sql.sizes)
        return connection

    def _flush_soon(self) -> None:
        self._timer = None
        flushing = Deferred.fromCoroutine(self._flush())
        flushing.addErrback(lambda failure: self.log.failure("writing logs", failure=failure))

    async def _flush(self) -> None:
        """
        Write what waits. One at a time, so that nothing is read before what came before it is
        written.
        """
        await self._writing.acquire()
        try:
            if self._waiting and self._connection is not None:
                batch, self._waiting = self._waiting, []
                self._bytes = {}
                await self._write(batch)
        finally:
            self._writing.release()

    async def _write(self, batch: Sequence[Invocation]) -> None:
        try:
            await self._run(
                lambda cursor: logs_sql.insert(cursor, self._sizes, batch, self.keep_bytes)
            )
            self._failing = False
        except (Problem, sqlite3.Error) as error:
            if not self._failing:
                self._failing = True
                self.log.error("the log of functions cannot be written: {error}", error=str(error))
            self._drop(batch)
            with suppress(Problem, sqlite3.Error):
                self._sizes = await self._run(logs_sql.sizes)

    def _drop(self, batch: Sequence[Invocation]) -> None:
        for invocation in batch:
            if not invocation.is_loss:  # that one would be lost in its turn
                self.lost(invocation.route, 1)

    async def _sweep(self) -> None:
        """
        Remove what is too old, now and then.
        """
        oldest = int((self.clock.now().timestamp() - self.keep_seconds) * 1000)
        with suppress(Problem, sqlite3.Error):
            await self._run(lambda cursor: logs_sql.remove_older(cursor, self._sizes, oldest))
        self._sweeper = self.reactor.callLater(SWEEP_SECONDS, self._sweep_soon)

    def _sweep_soon(self) -> None:
        sweeping = Deferred.fromCoroutine(self._sweep())
        sweeping.addErrback(lambda failure: self.log.failure("sweeping logs", failure=failure))

    async def _run(self, work: Callable[[sqlite3.Cursor], Any]) -> Any:
        assert self._connection is not None
        return await self._in_thread(transact, self._connection, work)

    async def _in_thread(self, work: Callable[..., Any], *arguments: Any) -> Any:
        return await deferToThreadPool(self.reactor, self._pool, work, *arguments)


_check: type[ports.LogStore] = SQLLogs
