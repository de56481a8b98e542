"""What there is to say about the cells, as plain values for `/health` and operators."""

import os
from pathlib import Path
from typing import Final

import attrs

_PAGE: Final = os.sysconf("SC_PAGE_SIZE")


@attrs.frozen(kw_only=True)
class CellStatus:
    """
    One process. `resident` is in bytes; 0 when it is not known.
    """

    label: str
    key: str
    state: str
    pid: int | None
    in_flight: int
    served: int
    loaded: int
    resident: int


@attrs.frozen(kw_only=True)
class BreakerStatus:
    """
    A tenant whose cell died, again and again perhaps: no new one before `retry_in` seconds.
    """

    key: str
    failures: int
    retry_in: float
    cause: str | None
    last_words: tuple[str, ...]


@attrs.frozen(kw_only=True)
class FleetStatus:
    """
    All cells.

    Attributes:
        waiting: Tenants whose cell waits for room.
        started: Cells made since the start.
        crashed: Cells that ended without being asked to.
    """

    cells: tuple[CellStatus, ...]
    breakers: tuple[BreakerStatus, ...]
    max_cells: int
    waiting: int
    started: int
    crashed: int


def resident_bytes(pid: int | None, proc: Path = Path("/proc")) -> int:
    """
    How much memory a process has, as `/proc/PID/statm` says; 0 when it does not.
    """
    try:
        return int((proc / str(pid) / "statm").read_text().split()[1]) * _PAGE
    except (OSError, ValueError, IndexError):
        return 0


def cpu_seconds(pid: int | None, proc: Path = Path("/proc")) -> float:
    """
    How much CPU time a process has used, as `/proc/PID/stat` says; 0 when it does not.
    """
    try:
        # The second field is the program's name in parentheses and may hold anything.
        fields = (proc / str(pid) / "stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError, IndexError):
        return 0.0
