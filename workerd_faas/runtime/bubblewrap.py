"""
bubblewrap around a cell: namespaces of its own, in which there is nothing but what the cell needs.

It comes before what the jail does, which goes on inside. The process that we start is bubblewrap's
then; what counts is the one in it.
"""

import os
import signal
import sys
import sysconfig
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import attrs

_ALWAYS: Final = (
    "--die-with-parent", "--unshare-ipc", "--unshare-pid", "--unshare-uts", "--unshare-cgroup-try",
    "--proc", "/proc", "--dev", "/dev",
)  # fmt: skip
_INSIDE_ALREADY: Final = ("/proc", "/dev")
_SIGNAL_BASE: Final = 128
"""bubblewrap ends with this and the number of the signal that ended what was in it."""


def command(
    program: Path, *, readable: Iterable[str], writable: Iterable[str], own: str, network: bool
) -> list[str]:
    """
    The command that runs another one, whose words follow.

    Args:
        readable: Paths that are there to read; those that do not exist are left out.
        writable: Folders that are there to write to.
        own: The working directory, writable too.
        network: Whether it shares the machine's network; else it has none.
    """
    # Root needs no user namespace, and inside of one there would be no other users to become.
    words = [str(program), *_ALWAYS]
    if os.geteuid() != 0:
        words.append("--unshare-user")
    if not network:
        words.append("--unshare-net")
    readable = [path for path in (*readable, *_python()) if not path.startswith(_INSIDE_ALREADY)]
    binds = [("--ro-bind-try", path) for path in readable]
    binds += [("--bind", path) for path in (own, *writable)]
    for folder in sorted({str(above) for _, path in binds for above in Path(path).parents} - {"/"}):
        # bubblewrap would make them for root alone.
        words += ("--perms", "0755", "--dir", folder)
    for how, path in binds:
        words += (how, path, path)
    return [*words, "--chdir", own, "--", os.path.realpath(sys.executable)]


def _python() -> tuple[str, ...]:
    """
    What the interpreter needs that begins the jail inside.
    """
    return (
        os.path.realpath(sys.executable),
        sysconfig.get_path("stdlib"),
        f"{sys.base_prefix}/lib",
        str(Path(__file__).parent),
    )


def inner(pid: int, proc: Path = Path("/proc")) -> int | None:
    """
    The process at the end of the line that begins with bubblewrap's; None while there is none.
    """
    for _ in range(2):
        try:
            children = (proc / f"{pid}/task/{pid}/children").read_text().split()
        except OSError:
            return None
        if not children:
            return None
        pid = int(children[0])
    return pid


def ended(code: int | None) -> int | None:
    """
    The signal that an exit code of bubblewrap tells of, if it tells of one.
    """
    if code is None or code <= _SIGNAL_BASE:
        return None
    number = code - _SIGNAL_BASE
    return number if number in signal.valid_signals() else None


@attrs.define(eq=False)
class Inside:
    """
    The process in bubblewrap as `cell` wants a process: an IProcessTransport as far as it goes.
    """

    _outer: Any
    _pid: int | None = None

    @property
    def pid(self) -> int | None:
        """
        Of the process in it; of bubblewrap while there is none yet.
        """
        outer: int | None = self._outer.pid
        if outer is None:
            return None
        if self._pid is None:
            self._pid = inner(outer)
        return self._pid or outer

    def signalProcess(self, name: str) -> None:
        """
        See IProcessTransport. Whatever is in it dies with bubblewrap.
        """
        pid = self.pid
        if name == "KILL" or pid is None or pid == self._outer.pid:
            self._outer.signalProcess(name)
            return
        # It cannot be another's: bubblewrap, which is there, reaps it and ends with it.
        with suppress(ProcessLookupError):
            os.kill(pid, getattr(signal, f"SIG{name}"))
