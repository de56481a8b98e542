"""
What only the kernel would bring to the disk: new folders, and large values of KV.

workerd's `disk` service gives a file its name when it is written, and leaves it to the kernel when
that reaches the disk. The row that names the file is synced by SQLite: after a power cut it would
name what is not there.
"""

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import attrs
from twisted.internet.threads import deferToThreadPool

BLOB: Final = re.compile(r"[0-9a-f]{64}/b/[0-9a-f]{64}")
"""A file below the folder of large values: namespace, `b`, the value."""


MODE: Final = 0o700


def make_folder(folder: Path, sync: Callable[[int], None] = os.fsync) -> bool:
    """
    Make a folder and those above it, for us alone, so that a power cut leaves them. False: it is
    there already.
    """
    if folder.is_dir():
        return False
    if folder.parent != folder:
        make_folder(folder.parent, sync)
    folder.mkdir(mode=MODE, exist_ok=True)
    _sync(folder.parent, sync)
    return True


def _sync(path: Path, sync: Callable[[int], None], flags: int = 0) -> None:
    descriptor = os.open(path, os.O_RDONLY | flags)
    try:
        sync(descriptor)
    finally:
        os.close(descriptor)


@attrs.frozen(kw_only=True)
class BlobSync:
    """
    Attributes:
        reactor: Provides a thread pool.
        folder: An account's large values.
    """

    reactor: Any
    folder: Path
    sync: Callable[[int], None] = os.fsync

    async def __call__(self, name: str) -> bool:
        """
        When this returns, the file of this name is on the disk. False: there is none.

        Raises:
            OSError: it could not be synced.
        """
        if not BLOB.fullmatch(name):
            return False
        done: bool = await deferToThreadPool(
            self.reactor, self.reactor.getThreadPool(), self._sync, self.folder / name
        )
        return done

    def _sync(self, file: Path) -> bool:
        try:
            # The folders too, which may be new: each is named in the one above it.
            for path in (file, *list(file.parents)[:3]):
                # The cell has made them: nothing but files and folders is waited for or followed.
                _sync(path, self.sync, os.O_NOFOLLOW | os.O_NONBLOCK)
        except FileNotFoundError:
            return False
        return True
