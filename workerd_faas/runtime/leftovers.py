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
    The processes of this user that run workerd with a configuration file below `directory`.
    """
    for entry in proc.iterdir():
        if not entry.name.isdigit():
            continue
        try:
            if entry.stat().st_uid != os.getuid():
                continue
            argv = (entry / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue  # It ended meanwhile, or is not ours to look at.
        if is_cell(argv, directory):
            yield int(entry.name)


def is_cell(argv: list[bytes], directory: Path) -> bool:
    """
    Whether a command line is that of a cell: `…/workerd serve … <directory>/…/workerd.capnp`.
    """
    arguments = [os.fsdecode(argument) for argument in argv if argument]
    if len(arguments) < 3 or Path(arguments[0]).name != "workerd" or arguments[1] != "serve":
        return False
    config = Path(arguments[-1])
    return config.name == "workerd.capnp" and config.parent.parent == directory


def clear(directory: Path) -> None:
    """
    Kill what still runs there and remove the cells' directories.
    """
    for pid in tuple(workerds_of(directory)):
        _log.warn("killing a cell of an earlier run, pid {pid}", pid=pid)
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    for entry in directory.iterdir():
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry, ignore_errors=True)
