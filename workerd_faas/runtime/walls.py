"""Which walls stand around the cells of this daemon."""

import enum
import os
import shutil
import subprocess
import sys
import tempfile
import zlib
from pathlib import Path
from typing import Final

import attrs

from workerd_faas.runtime import jail, seccomp, uids
from workerd_faas.runtime.jail import landlock_abi
from workerd_faas.runtime.process import MIB, Launch
from workerd_faas.runtime.uids import UNUSED, Uids

_BUBBLEWRAP_SECONDS: Final = 10
_TRIAL_MEMORY: Final = 64 * MIB
_BLOCK: Final = 1 << 16
"""How many users an installation takes for itself of those that nobody uses."""


_LOCKS: Final = "cell-uids"


class Sandbox(enum.Enum):
    """
    What besides users and limits is to stand.
    """

    AUTO = "auto"
    LANDLOCK = "landlock"
    BWRAP = "bwrap"
    NONE = "none"


class NoWall(Exception):
    """
    A wall that the operator asked for cannot be put up here; the message says why.
    """


@attrs.frozen(kw_only=True)
class Walls:
    """
    Attributes:
        uids: Users for the cells; None: they are the daemon's user.
        landlock: Whether Landlock holds them where the kernel has it.
        seccomp: Whether system calls are filtered.
        bwrap: bubblewrap, if it is to be around them.
    """

    uids: Uids | None = None
    landlock: bool = True
    seccomp: bool = attrs.Factory(seccomp.available)
    bwrap: Path | None = None


def build(sandbox: Sandbox, given: tuple[int, int] | None, data: Path) -> Walls:
    """
    The walls that the operator asks for. Blocks while bubblewrap is tried.

    Args:
        given: First and last user for cells; the same number twice: none are wanted; None: where
            they can be had.
        data: The data directory: installations on one machine do not share users.

    Raises:
        NoWall: one cannot be had.
    """
    if sandbox is Sandbox.LANDLOCK and not landlock_abi():
        raise NoWall("SANDBOX=landlock, but this kernel has no Landlock, or a container forbids it")
    users = users_for(given, data)
    bwrap = None
    if sandbox is Sandbox.BWRAP:
        if users is not None and os.geteuid() != 0:
            # Who is not root gets a user namespace for it, and there is but one user inside.
            if given is not None:
                raise NoWall("SANDBOX=bwrap and CELL_UIDS go together for root alone")
            users = None
        bwrap = find_bubblewrap()
        wrong = "it is not installed" if bwrap is None else try_bubblewrap(bwrap)
        if wrong is not None:
            raise NoWall(f"SANDBOX=bwrap, but bubblewrap does not work here: {wrong}")
    return Walls(
        uids=None if users is None else Uids.between(*users, data / _LOCKS),
        landlock=sandbox is not Sandbox.NONE,
        seccomp=sandbox is not Sandbox.NONE and seccomp.available(),
        bwrap=bwrap,
    )


def users_for(given: tuple[int, int] | None, data: Path) -> tuple[int, int] | None:
    """
    First and last user for cells; None: there are none.

    Raises:
        NoWall: some are wanted and cannot be had.
    """
    if given is not None and given[0] == given[1]:
        return None
    lacking = uids.missing()
    if given is None:
        blocks = (UNUSED[1] - UNUSED[0] + 1) // _BLOCK
        first = UNUSED[0] + zlib.crc32(str(data).encode()) % blocks * _BLOCK
        block = (first, first + _BLOCK - 1)
        return None if lacking or not uids.mapped(*block) else block
    if lacking:
        raise NoWall(f"CELL_UIDS needs root, or these capabilities: {', '.join(lacking)}")
    if not uids.mapped(*given):
        raise NoWall("CELL_UIDS names users that this container does not have")
    return given


def find_bubblewrap() -> Path | None:
    """
    Where it is.
    """
    found = shutil.which("bwrap")
    return None if found is None else Path(found)


def try_bubblewrap(program: Path) -> str | None:
    """
    What is wrong with it here; None: it works. Blocks.
    """
    python = os.path.realpath(sys.executable)
    try:
        with tempfile.TemporaryDirectory() as own:
            launch = Launch(
                binary=Path(python),
                directory=Path(own),
                memory=_TRIAL_MEMORY,
                connect=False,
                landlock=False,
                bwrap=program,
            )
            specification = launch.specification(os.getpid())
            specification["argv"] = [python, "-I", "-S", "-c", "pass"]
            done = subprocess.run(
                jail.command(specification),
                capture_output=True,
                text=True,
                timeout=_BUBBLEWRAP_SECONDS,
                check=False,
                env={},
            )
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    return None if done.returncode == 0 else done.stderr.strip()[:200] or "it fails"
