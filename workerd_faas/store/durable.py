"""
Files that are there after a power cut: written to a temporary file in the same directory, synced,
renamed, and the directory synced. Each of the four is needed.
"""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from workerd_faas.domain.errors import Kind, Problem

TEMPORARY: Final = ".new"


OWN: Final = 0o600
OWN_DIRECTORY: Final = 0o700


def make_directory(directory: Path, mode: int = OWN_DIRECTORY) -> None:
    """
    Make it, and its parents; for us alone unless the mode says otherwise.
    """
    if not directory.is_dir():
        make_directory(directory.parent, mode)
        directory.mkdir(mode=OWN_DIRECTORY, exist_ok=True)
        if mode != OWN_DIRECTORY:
            directory.chmod(mode)  # whatever the umask is
        sync_directory(directory.parent)


def write_file(path: Path, data: bytes, mode: int = OWN) -> None:
    """
    Put `data` into the place of `path`; durable once the directory has been synced. For us alone
    unless the mode says otherwise.
    """
    temporary = path.with_name(f"{path.name[:64]}.{os.urandom(8).hex()}{TEMPORARY}")
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, OWN)
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            if mode != OWN:
                os.fchmod(descriptor, mode)
            file.flush()
            os.fsync(file.fileno())
        temporary.rename(path)
    except BaseException:
        with suppress(OSError):
            temporary.unlink()
        raise


def sync_directory(directory: Path) -> None:
    """
    Make what was renamed in it durable.
    """
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def full_disk_is_a_problem() -> Iterator[None]:
    """
    Raises:
        Problem: `STORAGE_FULL` in the place of the error that says so.
    """
    try:
        yield
    except OSError as error:
        if error.errno in {errno.ENOSPC, errno.EDQUOT}:
            raise Problem(
                kind=Kind.STORAGE_FULL,
                message="There is no space left for this on the server's disk; "
                "nothing was changed.",
            ) from error
        raise
