"""
Which file it is that a state cell cannot use.

workerd says that SQLite failed, not where. So when it does, the files of the account are looked
through, off the reactor thread, and those that are damaged are named in the daemon's log.
"""

import sqlite3
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger
from twisted.python.failure import Failure

from workerd_faas.runtime.process import Exit, ProcessOwner
from workerd_faas.runtime.state.config import OBJECTS

SIGNS: Final = ("SQLITE_NOTADB", "SQLITE_CORRUPT")
"""What workerd says in a line of a damaged file."""

PAUSE: Final = 60.0
"""Seconds between two looks at one account's files: its cell may fail again and again."""

PATIENCE: Final = 20.0
"""Seconds that a look takes at most. Files that are whole, and large, take longest."""

_STEPS: Final = 100_000
"""Of SQLite's machine between two looks at the clock."""


@attrs.frozen
class Damaged:
    """
    A file and what SQLite says of it.
    """

    path: Path
    reason: str


def look_through(folder: Path, patience: float = PATIENCE) -> Sequence[Damaged]:
    """
    The damaged databases below a folder, which may be in use.
    """
    end = time.monotonic() + patience
    found = []
    for path in sorted(folder.rglob("*.sqlite")):
        reason = _damage(path, end)
        if reason is not None:
            found.append(Damaged(path, reason))
    return found


def _damage(path: Path, end: float) -> str | None:
    try:
        with closing(
            sqlite3.connect(f"file:{quote(str(path))}?mode=ro", uri=True, isolation_level=None)
        ) as connection:
            connection.set_progress_handler(lambda: time.monotonic() > end, _STEPS)
            (said,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    except sqlite3.DatabaseError as error:
        code = getattr(error, "sqlite_errorname", "")
        return str(error) if code.startswith(SIGNS) else None
    return None if said == "ok" else str(said)


@attrs.define(eq=False, kw_only=True)
class DamageReports:
    """
    Attributes:
        reactor: Provides IReactorTime and a thread pool.
        data: Where the accounts' state directories are.
    """

    reactor: Any
    data: Path
    look: Callable[[Path], Sequence[Damaged]] = look_through
    _looked: dict[str, float] = attrs.Factory(dict)

    _log = Logger()

    def watching(self, account_id: str, owner: ProcessOwner) -> ProcessOwner:
        """
        Told what the process of this account's state does, and tells `owner`.
        """
        return _Watch(owner, lambda: self._look(account_id))

    def _look(self, account_id: str) -> None:
        now = self.reactor.seconds()
        if now - self._looked.get(account_id, -PAUSE) < PAUSE:
            return
        self._looked[account_id] = now
        looking: Deferred[Sequence[Damaged]] = deferToThreadPool(
            self.reactor,
            self.reactor.getThreadPool(),
            self.look,
            self.data / account_id / OBJECTS,
        )
        looking.addCallbacks(self._report, self._failed, callbackArgs=(account_id,))

    def _report(self, found: Sequence[Damaged], account_id: str) -> None:
        for each in found:
            self._log.error(
                "the storage of account {account} is damaged: {path}: {reason}; what is in this "
                "file cannot be used until it is restored from a backup",
                account=account_id,
                path=str(each.path),
                reason=each.reason,
            )

    def _failed(self, failure: Failure) -> None:
        self._log.failure("looking for damaged files", failure=failure)


@attrs.frozen
class _Watch:
    _owner: ProcessOwner
    _damaged: Callable[[], None]

    def process_listening(self, socket: str) -> None:
        self._owner.process_listening(socket)

    def process_said(self, line: str) -> None:
        self._owner.process_said(line)
        if any(sign in line for sign in SIGNS):
            self._damaged()

    def process_ended(self, how: Exit) -> None:
        self._owner.process_ended(how)


_check: type[ProcessOwner] = _Watch
