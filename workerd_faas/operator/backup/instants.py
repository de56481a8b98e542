"""
An instant of a running daemon's data.

A database in WAL mode keeps the instant at which a reader began, whatever is written meanwhile. So
it is enough that nothing changes for the milliseconds in which all databases of an account are
opened: the daemon stops its process for so long (`Holds`), and the copying is done at leisure.
"""

import socket
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Final
from urllib.parse import quote

import attrs

from workerd_faas.directories import DataDirectory
from workerd_faas.store.lock import AlreadyRunning, DirectoryLock
from workerd_faas.wire import instants as wire

PATIENCE: Final = (2.0, 5.0, 10.0, wire.MAX_SECONDS)
"""Seconds of a hold, attempt by attempt."""

_RECONNECT: Final = 60.0
_ANSWER: Final = 120.0
_POLL: Final = 0.1
_PAGES: Final = 1024


class NoInstant(Exception):
    """
    There was no instant to be had; the message says why.
    """


class Instant:
    """
    An SQLite file as it was when this was made. Close it.

    Nothing of its schema is read, since functions make it: what it refers to need not be known
    here. Opened for reading only, so that closing it, perhaps as the last one, changes nothing.

    Raises:
        sqlite3.OperationalError: it is being opened or closed by another process.
    """

    def __init__(self, path: Path, patience: float = 0.0) -> None:
        self.connection = sqlite3.connect(
            f"file:{quote(str(path))}?mode=ro", uri=True, timeout=patience, isolation_level=None
        )
        try:
            self.connection.execute("BEGIN")
            self.connection.execute("PRAGMA schema_version").fetchone()
        except BaseException:
            self.connection.close()
            raise

    def copy_to(self, target: Path, copied: Callable[[], None] = lambda: None) -> None:
        """
        Write it to a new file.
        """
        target.touch(mode=0o600, exist_ok=False)
        with closing(sqlite3.connect(target, isolation_level=None)) as copy:
            # The file is synced as a whole, or not kept.
            copy.execute("PRAGMA synchronous = OFF")
            self.connection.backup(copy, pages=_PAGES, progress=lambda *_: copied())

    def close(self) -> None:
        """
        Let the instant go.
        """
        self.connection.close()


@attrs.define
class Hold:
    """
    Attributes:
        whole: Once it is over: whether nothing has changed all the while.
        seconds: How long it took.
    """

    whole: bool = False
    seconds: float = 0.0


@attrs.define(eq=False)
class Holds:
    """
    Asks the running daemon for holds; without a daemon, keeps others from starting meanwhile.
    """

    data: DataDirectory
    _lock: DirectoryLock | None = None
    _connection: socket.socket | None = None

    def __enter__(self) -> "Holds":
        """
        Raises:
            NoInstant: there is a daemon, and it cannot be reached.
        """
        lock = DirectoryLock(self.data.path)
        try:
            lock.acquire()
        except AlreadyRunning:
            self._connect()
        else:
            self._lock = lock
        return self

    def __exit__(self, *_: object) -> None:
        if self._lock is not None:
            self._lock.release()
        if self._connection is not None:
            self._connection.close()

    @property
    def running(self) -> bool:
        """
        Whether there is a daemon.
        """
        return self._lock is None

    @contextmanager
    def hold(self, account_id: str, seconds: float) -> Iterator[Hold]:
        """
        Nothing of this account's state changes within; `Hold.whole` says afterwards whether it was
        so to the end.

        Raises:
            NoInstant: the daemon does not do it, or does not come back.
        """
        hold = Hold()
        if self._lock is not None:
            yield hold
            hold.whole = True
            return
        self._hold(account_id, seconds)
        began = time.monotonic()
        try:
            yield hold
        finally:
            answer = self._ask(wire.RELEASE)
            hold.seconds = time.monotonic() - began
        hold.whole = answer == wire.WHOLE

    def _hold(self, account_id: str, seconds: float) -> None:
        """
        Raises:
            NoInstant: the daemon does not do it.
        """
        end = time.monotonic() + _RECONNECT
        while (answer := self._ask(wire.hold_line(account_id, seconds))) != wire.HELD:
            if time.monotonic() > end:
                said = "it ended" if answer is None else answer.removeprefix(wire.REFUSED)
                raise NoInstant(f"the daemon held nothing: {said}")
            time.sleep(_POLL)
            self._connect()  # It ended, or has handed over to another one.

    def _ask(self, line: str) -> str | None:
        assert self._connection is not None
        answer = b""
        with suppress(OSError):
            self._connection.sendall(f"{line}\n".encode("ascii"))
            while not answer.endswith(b"\n"):
                part = self._connection.recv(512)
                if not part:
                    return None
                answer += part
        return answer.decode("ascii", "replace").strip() or None

    def _connect(self) -> None:
        """
        Raises:
            NoInstant: nobody answers.
        """
        if self._connection is not None:
            self._connection.close()
        end = time.monotonic() + _RECONNECT
        while True:
            connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            connection.settimeout(_ANSWER)
            try:
                connection.connect(str(self.data.operator.readlink()))
            except OSError as error:
                connection.close()
                if time.monotonic() > end:
                    raise NoInstant(
                        f"the daemon that uses {self.data.path} cannot be reached "
                        f"({error.strerror}): it is starting, stopping, or too old"
                    ) from error
                time.sleep(_POLL)
            else:
                self._connection = connection
                return


@contextmanager
def all_of(files: list[Path]) -> Iterator[list[Instant]]:
    """
    The instants of several files, closed at the end.

    Raises:
        sqlite3.OperationalError: as `Instant`.
    """
    made: list[Instant] = []
    try:
        for path in files:
            made.append(Instant(path))
        yield made
    finally:
        for instant in made:
            instant.close()
