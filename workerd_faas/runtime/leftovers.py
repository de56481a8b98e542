"""
Processes and directories that an earlier run left.

Cells die with the daemon that started them (`jail.py`); this is the second line, for a runtime
directory that is used again.
"""

import os
import shutil
import signal
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from twisted.logger import Logger

_log = Logger()


def workerds_of(directory: Path, proc: Path = Path("/proc")) -> Iterator[int]:
    """
    The processes that say they are cells of `directory`.
    """
    for entry in proc.iterdir():
        if not entry.name.isdigit():
            continue
        try:
            argv = (entry / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue  # It ended meanwhile, or is not for us to look at.
        if is_cell(argv, directory):
            yield int(entry.name)


def is_cell(argv: list[bytes], directory: Path) -> bool:
    """
    Whether a command line is that of a cell: `<directory>/<cell>/workerd serve …`.
    """
    if len(argv) < 2 or argv[1] != b"serve":
        return False
    said = Path(os.fsdecode(argv[0]))
    return said.name == "workerd" and said.parent.parent == directory


def clear(directory: Path) -> None:
    """
    Kill what still runs there and remove the cells' directories.
    """
    for pid in tuple(workerds_of(directory)):
        _log.warn("killing a cell of an earlier run, pid {pid}", pid=pid)
        with suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signal.SIGKILL)
    for entry in directory.iterdir():
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry, ignore_errors=True)
