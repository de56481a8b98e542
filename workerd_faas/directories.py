"""Where the daemon keeps its things: the data directory, and a short one for unix sockets."""

import fcntl
import os
import secrets
import shutil
import stat
import tempfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

import attrs

from workerd_faas.lifecycle import StartRefused
from workerd_faas.store.database import FILE_NAME
from workerd_faas.store.keyfile import FILE_NAME as KEY_FILE_NAME
from workerd_faas.store.lock import AlreadyRunning, DirectoryLock
from workerd_faas.store.logs import FILE_NAME as LOGS_FILE_NAME
from workerd_faas.wire.instants import OPERATOR_LINK

MAX_RUN_PATH: Final = 60
"""A unix socket's path has at most 107 bytes (unix(7)); the longest name below needs the rest."""


@attrs.frozen
class DataDirectory:
    """
    `DATA_DIR` and the names in it.
    """

    path: Path

    @property
    def database(self) -> Path:
        """
        The SQLite file.
        """
        return self.path / FILE_NAME

    @property
    def logs(self) -> Path:
        """
        The SQLite file of the log of functions.
        """
        return self.path / LOGS_FILE_NAME

    @property
    def bundles(self) -> Path:
        """
        The directory of bundles.
        """
        return self.path / "bundles"

    @property
    def secrets_key(self) -> Path:
        """
        The file of generated keys for secrets.
        """
        return self.path / KEY_FILE_NAME

    @property
    def assets(self) -> Path:
        """
        The directory of files of sites.
        """
        return self.path / "assets"

    @property
    def state(self) -> Path:
        """
        The directory of the accounts' state: KV namespaces, D1 databases, queues.
        """
        return self.path / "state"

    @property
    def transfers(self) -> Path:
        """
        Files of SQL on their way in or out.
        """
        return self.path / "transfers"

    @property
    def upgrade(self) -> Path:
        """
        How the last hand-over to a new daemon went.
        """
        return self.path / "upgrade.json"

    @property
    def operator(self) -> Path:
        """
        What leads to the running daemon's socket for operators' commands.
        """
        return self.path / OPERATOR_LINK

    @property
    def restoring(self) -> Path:
        """
        Where a backup is unpacked; while it is there, the rest of the directory is unfinished.
        """
        return self.path / "restoring"

    def make(self) -> None:
        """
        Create it, for us alone.

        Raises:
            OSError: it cannot be created.
        """
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)

    def check(self) -> None:
        """
        Raises:
            StartRefused: a restore into it was not finished.
        """
        if self.restoring.exists():
            raise StartRefused(
                f"{self.path} has half of a backup in it: run `workerd-faas restore` again"
            )

    def secret(self, name: str) -> str:
        """
        A generated secret of 256 bits that stays the same from start to start (mode 0600).
        """
        path = self.path / name
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError:
            return path.read_text("ascii").strip()
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(secrets.token_hex(32) + "\n")
        return self.secret(name)


def run_directory(data: DataDirectory, environ: Mapping[str, str]) -> Path:
    """
    The directory for unix sockets, of mode 0700 and with a short path: systemd's, or `run` in the
    data directory, or one in the system's temporary directory whose name is kept in the data
    directory, so that a daemon that was killed finds what it left.
    """
    given = environ.get("RUNTIME_DIRECTORY", "").partition(":")[0]
    candidate = Path(given) if given else data.path / "run"
    if len(os.fsencode(candidate)) > MAX_RUN_PATH:
        candidate = _temporary(data.path / "run.path")
    candidate.mkdir(mode=0o700, parents=True, exist_ok=True)
    candidate.chmod(0o700)
    return candidate


def _temporary(note: Path) -> Path:
    try:
        known = Path(note.read_text("utf-8").strip())
        found = known.lstat()
    except (FileNotFoundError, ValueError):
        pass
    else:
        if stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid():
            return known
    made = Path(tempfile.mkdtemp(prefix="workerd-faas-", dir="/tmp"))
    note.write_text(f"{made}\n", "utf-8")
    return made


_OWN: Final = "wf-"
"""What the name of a daemon's own directory begins with."""

_SHARED: Final = frozenset({"c", "f", "s"})
"""Directories of cells as earlier releases had them, which were no daemon's own."""


@attrs.define(eq=False)
class RunDirectory:
    """
    One daemon's own part of the directory for unix sockets. Two daemons have cells at the same time
    while one takes the other's place; the kernel tells which of them lives.

    Attributes:
        path: Where this daemon's sockets go.
    """

    base: Path
    path: Path
    _descriptor: int | None

    @classmethod
    def claim(cls, base: Path) -> "RunDirectory":
        """
        Make one.

        Raises:
            OSError: it cannot be made.
        """
        path = Path(tempfile.mkdtemp(prefix=_OWN, dir=base))
        return cls(base, path, _locked(path))

    def sweep(self, end_cells: Callable[[Path], None]) -> None:
        """
        Clear away what daemons that were killed have left.

        Args:
            end_cells: Ends and removes all cells whose directories are in this one.
        """
        for entry in list(self.base.iterdir()):
            if entry == self.path or entry.is_symlink() or not entry.is_dir():
                continue
            if entry.name.startswith(_OWN):
                descriptor = _locked(entry)
                if descriptor is None:
                    continue  # Its daemon finishes what it has.
                for cells in [one for one in entry.iterdir() if one.is_dir()]:
                    end_cells(cells)
                os.close(descriptor)
            elif entry.name in _SHARED:
                end_cells(entry)
            else:
                continue
            shutil.rmtree(entry, ignore_errors=True)

    def remove(self) -> None:
        """
        The daemon is down. Idempotent.
        """
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
            shutil.rmtree(self.path, ignore_errors=True)


def _locked(directory: Path) -> int | None:
    """
    A descriptor that holds the lock on a directory until it is closed; None: another daemon does.
    """
    with suppress(FileNotFoundError):
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
        else:
            return descriptor
    return None


@attrs.define(eq=False)
class DirectoryStage:
    """
    The first stage: the directory is there and ours alone.

    Attributes:
        end_cells: See `RunDirectory.sweep`.
    """

    data: DataDirectory
    run: RunDirectory
    end_cells: Callable[[Path], None]
    _lock: DirectoryLock | None = None

    async def start(self) -> None:
        """
        See `lifecycle.Stage.start`.
        """
        lock = DirectoryLock(self.data.path)
        try:
            lock.acquire()
        except AlreadyRunning as error:
            raise StartRefused(str(error)) from error
        self._lock = lock
        self.data.check()
        self.run.sweep(self.end_cells)

    def release(self) -> None:
        """
        Leave the data directory to another daemon. Idempotent.
        """
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    async def stop(self) -> None:
        """
        See `lifecycle.Stage.stop`.
        """
        self.release()
        self.run.remove()
