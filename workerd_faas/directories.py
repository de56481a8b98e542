"""Where the daemon keeps its things: the data directory, and a short one for unix sockets."""

import os
import secrets
import stat
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import attrs

from workerd_faas.lifecycle import StartRefused
from workerd_faas.store.database import FILE_NAME
from workerd_faas.store.keyfile import FILE_NAME as KEY_FILE_NAME
from workerd_faas.store.lock import AlreadyRunning, DirectoryLock
from workerd_faas.store.logs import FILE_NAME as LOGS_FILE_NAME

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

    def make(self) -> None:
        """
        Create it, for us alone.

        Raises:
            OSError: it cannot be created.
        """
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)

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


@attrs.define(eq=False)
class DirectoryStage:
    """
    The first stage: the directory is there and ours alone.
    """

    data: DataDirectory
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

    async def stop(self) -> None:
        """
        See `lifecycle.Stage.stop`.
        """
        if self._lock is not None:
            self._lock.release()
