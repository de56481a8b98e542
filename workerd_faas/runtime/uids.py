"""
Users for cells: each cell that runs code of others is a user of its own, so that the kernel keeps
them apart from one another and from the daemon even where nothing else does.
"""

import fcntl
import os
import struct
from collections import deque
from pathlib import Path
from typing import Final

import attrs

UNUSED: Final = (1_900_000_000, 2_096_607_999)
"""
Taken where the operator names none: no system gives these numbers to anybody (systemd's "Users,
Groups, UIDs and GIDs" calls 1 879 048 192 to 2 147 483 647 unused).
"""

_NEEDED: Final = {0: "CAP_CHOWN", 1: "CAP_DAC_OVERRIDE", 5: "CAP_KILL", 6: "CAP_SETGID",
                  7: "CAP_SETUID"}  # fmt: skip
"""Capabilities by number: to give folders away, to look into them, to end processes, to switch."""


@attrs.define(eq=False)
class Uids:
    """
    A range of users that nobody else has.

    Attributes:
        state: The user of all state cells: they run none of the tenants' code, and what they keep
            is the same user's from start to start.
    """

    state: int
    last: int
    _locks: int
    _fresh: int
    _ended: deque[int] = attrs.Factory(deque)

    @classmethod
    def between(cls, first: int, last: int, locks: Path) -> "Uids":
        """
        From `first` to `last`, both included; at least two.

        Args:
            locks: A file in which daemons with the same range, of which one takes the other's
                place, note what they have: a lock of the byte of that number.

        Raises:
            OSError: the file cannot be opened.
        """
        return cls(first, last, os.open(locks, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600), first)

    def take(self) -> int:
        """
        One that no cell has: a fresh one, else the one whose cell ended longest ago.

        Raises:
            OSError: all are in use.
        """
        for _ in range(self.state, self.last):
            if self._fresh < self.last:
                self._fresh += 1
                uid = self._fresh
            elif self._ended:
                uid = self._ended.popleft()
            else:
                break
            if self._note(uid, fcntl.F_WRLCK):
                return uid
            self._ended.append(uid)
        raise OSError("no user is free for another cell: CELL_UIDS has too few")

    def give_back(self, uid: int) -> None:
        """
        Its cell and all that the cell left are gone.
        """
        self._note(uid, fcntl.F_UNLCK)
        self._ended.append(uid)

    def _note(self, uid: int, kind: int) -> bool:
        # Of the open file, not of the process: fcntl_locking(2), struct flock.
        lock = struct.pack("hhqqi", kind, os.SEEK_SET, uid, 1, 0)
        try:
            fcntl.fcntl(self._locks, fcntl.F_OFD_SETLK, lock)
        except BlockingIOError:
            return False
        return True

    def close(self) -> None:
        """
        All of them are free.
        """
        os.close(self._locks)


def missing(status: str | None = None) -> tuple[str, ...]:
    """
    The capabilities that this process lacks for other users.

    Args:
        status: What `/proc/self/status` says.
    """
    text = Path("/proc/self/status").read_text("ascii") if status is None else status
    effective = next(
        (int(line.split()[1], 16) for line in text.splitlines() if line.startswith("CapEff:")), 0
    )
    return tuple(name for bit, name in _NEEDED.items() if not effective >> bit & 1)


def mapped(first: int, last: int, uid_map: str | None = None) -> bool:
    """
    Whether these users exist in our user namespace.

    Args:
        uid_map: What `/proc/self/uid_map` says.
    """
    text = Path("/proc/self/uid_map").read_text("ascii") if uid_map is None else uid_map
    for line in text.splitlines():
        inside, _, length = (int(word) for word in line.split())
        if inside <= first and last < inside + length:
            return True
    return False


def give(folder: Path, uid: int) -> None:
    """
    Give a folder and what lies in it (no folders) to a user and the group of the same number.
    """
    with os.scandir(folder) as entries:
        for entry in entries:
            os.chown(entry.path, uid, uid, follow_symlinks=False)
    os.chown(folder, uid, uid)
