"""
Making a backup.

The catalog is of the instant at which it begins. Code and files of sites never change, so those
that this catalog names are kept (`Staging`) until they are copied. Then, one account after the
other, each state is of one instant after that. So what was acknowledged before the backup began is
in it, and nothing that the catalog names is missing.
"""

import hashlib
import json
import os
import re
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from datetime import UTC, datetime
from importlib.metadata import version
from io import BytesIO
from pathlib import Path
from typing import Any, Final, TypeVar

import attrs

from workerd_faas.directories import DataDirectory
from workerd_faas.domain.model import timestamp
from workerd_faas.operator.backup import layout
from workerd_faas.operator.backup.archive import ArchiveWriter
from workerd_faas.operator.backup.instants import PATIENCE, Holds, Instant, NoInstant, all_of
from workerd_faas.operator.backup.progress import Progress
from workerd_faas.operator.backup.staging import Staging
from workerd_faas.operator.token import finished
from workerd_faas.store.catalog import SQLCatalog
from workerd_faas.store.rotation import SEALED
from workerd_faas.usecases import ports
from workerd_faas.wire.site.document import files_of

T = TypeVar("T")

_ACCOUNT: Final = re.compile(r"[0-9a-f]{32}")
_ATTEMPTS: Final = 5
_BUSY_SECONDS: Final = 10.0
_PAUSE: Final = 0.2


class Damaged(Exception):
    """
    The catalog is damaged.
    """


@attrs.define(kw_only=True)
class Report:
    """
    What was made.

    Attributes:
        running: Whether a daemon was running.
        accounts: How many have state.
        secrets: How many secrets of functions are in the catalog, encrypted.
        keys: Names of the key files that are in it.
        longest_hold: Seconds in which one account's storage stood still, at most.
        damaged: Files that should be in it and are missing or damaged in `DATA_DIR`.
    """

    running: bool = False
    accounts: int = 0
    secrets: int = 0
    keys: list[str] = attrs.Factory(list)
    longest_hold: float = 0.0
    damaged: list[str] = attrs.Factory(list)


@attrs.frozen
class _Pinned:
    """
    `usecases.ports.Database` that reads an instant.
    """

    _connection: sqlite3.Connection

    async def run(self, work: Callable[[Any], T]) -> T:
        return work(self._connection.cursor())


_check: type[ports.Database] = _Pinned


@attrs.define(kw_only=True, eq=False)
class Backup:
    """
    Attributes:
        logs: Whether the log of functions is to be in it.
        keys: Whether the generated keys are to be in it.
    """

    data: DataDirectory
    staging: Staging
    holds: Holds
    writer: ArchiveWriter
    progress: Progress
    logs: bool
    keys: bool
    report: Report = attrs.Factory(Report)
    _gone: set[str] = attrs.Factory(set)

    def make(self) -> Report:
        """
        Write all of it.

        Raises:
            Damaged: there would be nothing to restore.
            NoInstant: an account did not stand still.
            OSError, sqlite3.Error: something could not be read or written.
        """
        now = datetime.now(UTC)
        self.report.running = self.holds.running
        self.progress.step("catalog")
        names = self._catalog()
        copy = self.staging.path / layout.CATALOG
        with closing(sqlite3.connect(copy, isolation_level=None)) as catalog:
            catalog.execute("PRAGMA journal_mode = DELETE")
            catalog.execute("PRAGMA trusted_schema = OFF")
            catalog.execute("PRAGMA foreign_keys = ON")
            self._describe(catalog, now)
            for name in names:
                self._kept(name)
            with closing(Instant(self.data.database, _BUSY_SECONDS)) as live:
                live.connection.execute("COMMIT")  # Not an instant: it sees what is now.
                for account in self._accounts():
                    self._state(account, catalog, live.connection)
            if self.logs and self.data.logs.exists():
                self._database(layout.LOGS, Instant(self.data.logs, _BUSY_SECONDS))
            if self.keys:
                self._keys()
            # Removed before their account's instant: they would be there, and empty.
            catalog.executemany(
                "DELETE FROM resources WHERE id = ?", [(id_,) for id_ in self._gone]
            )
        self._file(layout.CATALOG, copy)
        self.writer.finish(int(now.timestamp()))
        return self.report

    # The catalog and what it names.

    def _catalog(self) -> list[str]:
        """
        Copy an instant of the catalog, and keep the files that it names. What is removed while they
        are being kept is no longer named by the next instant.
        """
        for attempt in range(_ATTEMPTS):
            with closing(Instant(self.data.database, _BUSY_SECONDS)) as instant:
                names = list(self._named(instant.connection))
                missing = [name for name in names if not self.staging.keep(name)]
                if not missing or attempt == _ATTEMPTS - 1:
                    instant.copy_to(self.staging.path / layout.CATALOG)
                    break
        self.report.damaged += missing
        return sorted(set(names) - set(missing))

    def _named(self, connection: sqlite3.Connection) -> Iterator[str]:
        catalog = SQLCatalog(_Pinned(connection))
        for digest in finished(catalog.bundles()):
            yield f"bundles/{digest[:2]}/{digest}"
        for account, digests in finished(catalog.sites()).items():
            for digest in digests:
                name = f"bundles/{digest[:2]}/{digest}"
                if self.staging.keep(name):
                    for file in self._files_of(self.staging.path / name, digest):
                        yield f"assets/{account}/{file}"

    def _files_of(self, path: Path, digest: str) -> frozenset[str]:
        data = path.read_bytes()
        if hashlib.sha256(data).hexdigest() != digest:
            return frozenset()  # Said when it is copied.
        return files_of(data)

    def _describe(self, catalog: sqlite3.Connection, now: datetime) -> None:
        (found,) = catalog.execute("PRAGMA quick_check(1)").fetchone()
        if found != "ok":
            raise Damaged(f"{self.data.database} is damaged: {found}")
        (schema,) = catalog.execute("PRAGMA user_version").fetchone()
        for table, _ in SEALED:
            (count,) = catalog.execute(f"SELECT count(*) FROM {table}").fetchone()
            self.report.secrets += count
        description = {
            "format": layout.FORMAT,
            "made": timestamp(now),
            "release": version("workerd-faas"),
            "schema": schema,
        }
        text = (json.dumps(description, indent=2) + "\n").encode()
        self.writer.add(layout.DESCRIPTION, BytesIO(text), len(text), int(now.timestamp()))

    def _kept(self, name: str) -> None:
        self.progress.step("code and sites")
        expected = layout.digest_in(name)
        path = self.staging.path / name
        if expected is not None and _digest(path) != expected:
            self.report.damaged.append(name)
        else:
            self._file(name, path)
        self.staging.drop(name)

    def _file(self, name: str, path: Path) -> None:
        layout.check_name(name)
        with path.open("rb") as file:
            found = path.stat()
            self.writer.add(name, file, found.st_size, int(found.st_mtime))

    # The accounts' state.

    def _accounts(self) -> list[str]:
        if not self.data.state.is_dir():
            return []
        return sorted(
            entry.name for entry in self.data.state.iterdir() if _ACCOUNT.fullmatch(entry.name)
        )

    def _state(self, account: str, catalog: sqlite3.Connection, live: sqlite3.Connection) -> None:
        self.report.accounts += 1
        self.progress.step(f"state of account {self.report.accounts}")

        def note() -> None:
            self._gone |= _resources(catalog, account) - _resources(live, account)

        with self._account(account, note) as (databases, blobs):
            for name, instant in databases.items():
                self._database(name, instant)
            for name in blobs:
                self._file(name, self.staging.path / name)
                self.staging.drop(name)

    @contextmanager
    def _account(
        self, account: str, held: Callable[[], None]
    ) -> Iterator[tuple[dict[str, Instant], list[str]]]:
        """
        The databases and the large values of one instant of an account; `held` is called at it.

        Raises:
            NoInstant: there is none to be had.
        """
        folder = self.data.state / account
        kept: set[str] = set()
        for seconds in PATIENCE:
            # Most of them before anybody has to wait. They never change, they come and go.
            self._keep_all(folder / "blobs", kept)
            with ExitStack() as stack:
                busy = False
                with self.holds.hold(account, seconds) as hold:
                    paths = sorted((folder / "objects").rglob("*.sqlite"))
                    try:
                        instants = stack.enter_context(all_of(paths))
                    except sqlite3.OperationalError:
                        busy = True  # Stopped while it opened or closed one of them.
                    else:
                        blobs = self._keep_all(folder / "blobs", kept)
                        held()
                self.report.longest_hold = max(self.report.longest_hold, hold.seconds)
                if hold.whole and not busy:
                    names = [str(path.relative_to(self.data.path)) for path in paths]
                    yield dict(zip(names, instants, strict=True)), blobs
                    return
            time.sleep(_PAUSE)
        raise NoInstant(f"the state of account {account} did not stand still")

    def _keep_all(self, folder: Path, kept: set[str]) -> list[str]:
        """
        Keep every file below a folder that is not among those kept already; the names of all.
        """
        found = []
        for place, _, files in os.walk(folder):
            base = os.path.relpath(place, self.data.path)
            for file in files:
                name = f"{base}/{file}"
                # What workerd has not yet given its name is none of ours.
                if name not in kept and layout.known(name) and self.staging.keep(name):
                    kept.add(name)
                if name in kept:
                    found.append(name)
        return sorted(found)

    # Files.

    def _database(self, name: str, instant: Instant) -> None:
        copy = self.staging.path / "copy"
        with closing(instant):
            instant.copy_to(copy, lambda: self.progress.wrote(0))
        self._file(name, copy)
        copy.unlink()

    def _keys(self) -> None:
        for name in layout.KEYS:
            path = self.data.path / name
            if path.exists():
                self._file(name, path)
                self.report.keys.append(name)


def _resources(connection: sqlite3.Connection, account: str) -> set[str]:
    rows = connection.execute("SELECT id FROM resources WHERE account_id = ?", (account,))
    return {id_ for (id_,) in rows}


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
