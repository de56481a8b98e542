"""One daemon per data directory."""

import fcntl
import os
from pathlib import Path


class AlreadyRunning(Exception):
    """
    Another daemon has the data directory.
    """


class DirectoryLock:
    """
    An advisory lock (flock) on `<directory>/daemon.lock`; the kernel lets go of it when the
    process dies, however it dies.
    """

    def __init__(self, directory: Path) -> None:
        self._path = directory / "daemon.lock"
        self._descriptor: int | None = None

    def acquire(self) -> None:
        """
        Take the lock.

        Raises:
            AlreadyRunning: another process has it.
        """
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(descriptor, 32).decode("ascii", "replace").strip()
            os.close(descriptor)
            raise AlreadyRunning(
                f"{self._path.parent} is in use by another daemon (process {holder or 'unknown'}): "
                "stop it first, or give this one a DATA_DIR of its own"
            ) from None
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        self._descriptor = descriptor

    def holder(self) -> int | None:
        """
        The process that has the lock; None: no process does. Changes nothing.

        Raises:
            OSError: the file cannot be read.
        """
        try:
            descriptor = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return int(os.read(descriptor, 32))
        finally:
            os.close(descriptor)
        return None

    def release(self) -> None:
        """
        Let go of it. Idempotent.
        """
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
