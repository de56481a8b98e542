"""What there is to say about the cells, as plain values for `/health` and operators."""

import os
from pathlib import Path
from typing import Final

import attrs

_PAGE: Final = os.sysconf("SC_PAGE_SIZE")
_TICKS: Final = os.sysconf("SC_CLK_TCK")


@attrs.frozen(kw_only=True)
class CellStatus:
    """
    One process. Sizes are in bytes, 0 when they are not known; `age` is in seconds.

    Attributes:
        account_id: Whose functions it runs; None: everybody's.
        function: The only one that it runs; None: several.
        data: What counts against its memory limit.
    """

    label: str
    key: str
    state: str
    pid: int | None
    in_flight: int
    served: int
    loaded: int
    resident: int
    account_id: str | None = None
    function: str | None = None
    data: int = 0
    age: float = 0.0


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
        startable: False when workerd did not come up the last times that it was started.
    """

    cells: tuple[CellStatus, ...]
    breakers: tuple[BreakerStatus, ...]
    max_cells: int
    waiting: int
    started: int
    crashed: int
    startable: bool


@attrs.frozen
class Usage:
    """
    What the kernel says of a process.

    Attributes:
        state: R runs or wants to, S sleeps, D waits for a disk, T is stopped, Z is dead.
        cpu: Seconds of CPU time that it has used.
        resident: Bytes of memory that it has.
    """

    state: str = "?"
    cpu: float = 0.0
    resident: int = 0


def usage(pid: int | None, proc: Path = Path("/proc")) -> Usage:
    """
    What `/proc/PID/stat` says; nothing when the process is not there.
    """
    try:
        # The second field is the program's name in parentheses and may hold anything.
        fields = (proc / str(pid) / "stat").read_text().rpartition(")")[2].split()
        cpu = (int(fields[11]) + int(fields[12])) / _TICKS
        return Usage(fields[0], cpu, int(fields[21]) * _PAGE)
    except (OSError, ValueError, IndexError):
        return Usage()


def resident_bytes(pid: int | None) -> int:
    """
    How much memory a process has; 0 when it is not known.
    """
    return usage(pid).resident


def data_bytes(pid: int | None, proc: Path = Path("/proc")) -> int:
    """
    How much a process has of what `RLIMIT_DATA` bounds (and its stack), used or only set aside;
    0 when it is not known.
    """
    try:
        return int((proc / str(pid) / "statm").read_text().split()[5]) * _PAGE
    except (OSError, ValueError, IndexError):
        return 0


def cpu_seconds(pid: int | None) -> float:
    """
    How much CPU time a process has used; 0 when it is not known.
    """
    return usage(pid).cpu
