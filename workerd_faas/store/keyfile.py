"""
The generated key file for secrets: mode 0600, one key a line, the newest first.
"""

import os
import tempfile
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from cryptography.fernet import Fernet

FILE_NAME: Final = "secrets-key"
"""In `DATA_DIR`."""


class KeyFileUnusable(Exception):
    """
    The file has something else in it than keys; the message has nothing of it.
    """


def new_key() -> str:
    """
    A key that nobody can guess.
    """
    return Fernet.generate_key().decode("ascii")


def read_keys(path: Path) -> Sequence[str]:
    """
    The keys of the file, which is made with a new one if it is not there.

    Raises:
        OSError: it can be neither read nor made.
        KeyFileUnusable: there are no keys in it, or something else.
    """
    if not path.exists():
        with suppress(FileExistsError):  # another process was quicker
            _write(path, [new_key()], os.link)
    try:
        keys = path.read_text("ascii").split()
        for key in keys:
            Fernet(key)
    except ValueError:
        raise KeyFileUnusable(f"{path} is no file of keys for secrets") from None
    if not keys:
        raise KeyFileUnusable(f"{path} has no key in it: restore it from a backup")
    return keys


def write_keys(path: Path, keys: Sequence[str]) -> None:
    """
    Write the file durably and in one step: whoever reads it finds the old keys or the new ones.

    Raises:
        OSError: it could not be written; then it is as it was.
    """
    _write(path, keys, os.replace)


def _write(path: Path, keys: Sequence[str], place: Callable[[Path, Path], None]) -> None:
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f"{path.name}.")
    temporary = Path(name)
    try:
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.writelines(f"{key}\n" for key in keys)
            file.flush()
            os.fsync(file.fileno())
        place(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
