"""Our own files: where they are, and how to write them so that nobody else reads a secret."""

import contextlib
import fcntl
import os
import stat
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from workerd_faas.cli.failure import Failure
from workerd_faas.cli.terminal import warn


def config_dir(environ: Mapping[str, str]) -> Path:
    """
    `$XDG_CONFIG_HOME/wrkst`, by default `~/.config/wrkst` (XDG Base Directory Specification: a
    relative path counts as unset).
    """
    configured = environ.get("XDG_CONFIG_HOME", "")
    if configured and Path(configured).is_absolute():
        return Path(configured) / "wrkst"
    home = environ.get("HOME")
    return (Path(home) if home else Path.home()) / ".config" / "wrkst"


def make_private_dir(directory: Path) -> None:
    """
    Make it with mode 0700; an existing one of ours is brought to that mode.
    """
    directory.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.suppress(FileExistsError):
        directory.mkdir(mode=0o700)
    if directory.stat().st_mode & 0o077:
        directory.chmod(0o700)


def keep_private(path: Path) -> None:
    """
    Take a file of ours from all others who may open it: it came from a backup or an archive, say.

    Raises:
        OSError: it is not there.
    """
    mode = path.stat().st_mode
    if mode & 0o077 and stat.S_ISREG(mode):
        with contextlib.suppress(OSError):  # it is not ours, or the file system has no modes
            path.chmod(0o600)
            if not path.stat().st_mode & 0o077:
                warn(f"others could read {path}; it has mode 0600 now")


def write_private(path: Path, content: bytes) -> None:
    """
    Replace the file in one step. It has mode 0600 from the first moment, and after a crash
    either the old content or the new one is there.

    Raises:
        Failure: the file cannot be written.
    """
    try:
        make_private_dir(path.parent)
        descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            Path(temporary).replace(path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise Failure(f"Cannot write {path}: {error.strerror}.") from error


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """
    Hold an exclusive lock on a file beside our files, waiting for it. The kernel frees it when
    its holder dies.

    Raises:
        Failure: the file cannot be made.
    """
    try:
        make_private_dir(path.parent)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise Failure(f"Cannot write {path}: {error.strerror}.") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
