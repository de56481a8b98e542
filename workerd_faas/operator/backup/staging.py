"""A place in `DATA_DIR` for what must not change until it is copied."""

import fcntl
import os
import shutil
from contextlib import suppress
from pathlib import Path
from typing import Final

import attrs

FOLDER: Final = "backing-up"


class Busy(Exception):
    """
    Another backup is being made.
    """


@attrs.define(eq=False)
class Staging:
    """
    A folder that is ours for as long as this is entered, empty at the beginning and gone at the
    end. What a backup that was killed left in it is cleared by the next one.
    """

    _data: Path
    _descriptor: int | None = None

    @property
    def path(self) -> Path:
        """
        The folder.
        """
        return self._data / FOLDER

    def __enter__(self) -> "Staging":
        """
        Raises:
            Busy: another backup is being made.
        """
        self.path.mkdir(mode=0o700, exist_ok=True)
        self._descriptor = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._descriptor)
            raise Busy(f"another backup of {self._data} is being made") from None
        self._clear()
        return self

    def __exit__(self, *_: object) -> None:
        self._clear()
        with suppress(OSError):
            self.path.rmdir()
        if self._descriptor is not None:
            os.close(self._descriptor)

    def _clear(self) -> None:
        for entry in self.path.iterdir():
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry)
            else:
                entry.unlink()

    def keep(self, name: str) -> bool:
        """
        Have the file of this name in `DATA_DIR`, which never changes, here as well, so that it is
        still there when it has been removed. False: it is not there.
        """
        kept = self.path / name
        if kept.exists():
            return True
        kept.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            os.link(self._data / name, kept, follow_symlinks=False)
        except FileNotFoundError:
            return False
        except OSError:  # a file system without links, or too many of them
            try:
                shutil.copy2(self._data / name, kept, follow_symlinks=False)
            except FileNotFoundError:
                return False
        return True

    def drop(self, name: str) -> None:
        """
        It has been copied.
        """
        (self.path / name).unlink()
