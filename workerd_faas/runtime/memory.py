"""How much memory there is, and how much of it processes have to themselves."""

import os
from pathlib import Path
from typing import Final

_PAGE: Final = os.sysconf("SC_PAGE_SIZE")
_KIB: Final = 1024

_GROUPS: Final = (
    "sys/fs/cgroup/memory.max",
    "sys/fs/cgroup/memory/memory.limit_in_bytes",
)
"""Where a container finds its own bound: cgroups of version 2 and of version 1."""


def available(root: Path = Path("/")) -> int | None:
    """
    Bytes that this machine has, or this container may use; None if nothing says so.
    """
    found = [_machine(root / "proc/meminfo"), *(_group(root / path) for path in _GROUPS)]
    known = [each for each in found if each]
    return min(known) if known else None


def _machine(meminfo: Path) -> int | None:
    try:
        for line in meminfo.read_text("ascii").splitlines():
            name, _, value = line.partition(":")
            if name == "MemTotal":
                return int(value.split()[0]) * _KIB
    except (OSError, ValueError, IndexError):
        pass
    return None


def _group(limit: Path) -> int | None:
    try:
        return int(limit.read_text("ascii"))
    except (OSError, ValueError):  # There is none, or it says "max".
        return None


def private(pid: int | None, proc: Path = Path("/proc")) -> int:
    """
    Bytes of memory that a process has and does not share with others; 0 when it is not known. All
    workerd processes share most of the program's own 45 MiB.
    """
    try:
        words = (proc / str(pid) / "statm").read_text().split()
        return (int(words[1]) - int(words[2])) * _PAGE
    except (OSError, ValueError, IndexError):
        return 0
