"""One workerd process as Twisted sees it: started through the jail, read line by line."""

import json
import os
import re
import signal
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, Protocol

import attrs
from twisted.internet.error import ProcessDone, ProcessTerminated
from twisted.internet.interfaces import IProcessTransport, IReactorProcess, IReadDescriptor
from twisted.internet.protocol import ProcessProtocol
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from workerd_faas.runtime import bubblewrap, jail, seccomp
from workerd_faas.runtime.lines import Allowance, LineSplitter

MIB: Final = 1 << 20

RESERVED_DATA: Final = 550 * MIB
"""What workerd has reserved before any code runs (mostly room for compiled code): it counts as data
for `RLIMIT_DATA`."""

CONTROL_FD: Final = 3

CONFIG_FD: Final = 4
"""The configuration is a file in memory: a function's secrets may be in it, so no disk has it."""

READABLE: Final = (
    "/lib", "/lib64", "/usr/lib", "/usr/lib64", "/usr/local/lib",
    "/etc/ld.so.cache", "/etc/ssl", "/etc/pki", "/etc/ca-certificates",
    "/usr/share/ca-certificates", "/usr/local/share/ca-certificates",
    "/etc/resolv.conf", "/etc/hosts", "/etc/nsswitch.conf", "/etc/host.conf", "/etc/gai.conf",
    "/etc/services", "/run/systemd/resolve", "/etc/localtime", "/usr/share/zoneinfo",
    "/dev/urandom", "/dev/random", "/dev/null", "/proc/self", "/proc/meminfo", "/proc/cpuinfo",
    "/proc/stat", "/sys/devices/system/cpu", "/nix/store",
)  # fmt: skip
"""What workerd needs to read: libraries, certificates, name resolution, randomness."""


@attrs.frozen(kw_only=True)
class Launch:
    """
    How to start one process.

    Attributes:
        binary: workerd.
        directory: The process's own directory, the only one it may write to but for `writable`; its
            working directory.
        memory: Bytes that its JavaScript and buffers may take, on top of what workerd itself needs.
        connect: Whether it may open TCP connections at all.
        uid: The user that it becomes; None: it stays the daemon's.
        landlock: Whether Landlock holds it where the kernel can.
        seccomp: Whether system calls that it does not need are refused.
        bwrap: bubblewrap, if that is to hold it too.
        writable: Folders of data that it keeps; they become `uid`'s.
        readable: Folders that it may read besides `READABLE`.
        files: How many descriptors it may have.
        processes: How many processes and threads its user may have.
        environment: All that it has of variables.
    """

    binary: Path
    directory: Path
    memory: int
    connect: bool
    uid: int | None = None
    landlock: bool = True
    seccomp: bool = False
    bwrap: Path | None = None
    writable: tuple[Path, ...] = ()
    readable: tuple[Path, ...] = ()
    files: int = 16384
    processes: int = 8192
    oom_score_adj: int = 500
    environment: Mapping[str, str] = MappingProxyType({})

    @property
    def argv(self) -> tuple[str, ...]:
        """
        The command line that runs behind the jail. Its first word is what people and `leftovers`
        see: nothing else in it says which cell it is.
        """
        return (
            str(self.directory / "workerd"),
            "serve",
            "--experimental",  # The worker loader's binding needs it.
            f"--control-fd={CONTROL_FD}",
            f"/proc/self/fd/{CONFIG_FD}",
        )

    def jailed(self, parent: int) -> tuple[str, ...]:
        """
        The command to start.
        """
        return jail.command(self.specification(parent))

    def specification(self, parent: int) -> dict[str, Any]:
        """
        What the jail takes.
        """
        readable = [str(self.binary), *READABLE, *map(str, self.readable)]
        writable = [str(path) for path in self.writable]
        return {
            "parent": parent,
            "directory": str(self.directory),
            "data": RESERVED_DATA + self.memory,
            "files": self.files,
            "oom_score_adj": self.oom_score_adj,
            "readable": readable,
            "writable": writable,
            "handed": [str(path) for path in (*self.writable, *self.readable)],
            "connect": self.connect,
            "landlock": self.landlock,
            "calls": seccomp.program(network=self.connect) if self.seccomp else None,
            "processes": self.processes,
            "uid": self.uid,
            "program": str(self.binary),
            "argv": list(self.argv),
            "environment": dict(self.environment),
            "around": None
            if self.bwrap is None
            else bubblewrap.command(
                self.bwrap,
                readable=readable,
                writable=writable,
                own=str(self.directory),
                network=self.connect,
            ),
        }


def handed(index: int) -> Path:
    """
    How a process finds the folder with this number among `Launch.writable` and `Launch.readable`,
    whose path it cannot follow.
    """
    return Path(f"/proc/self/fd/{jail.FIRST_HANDED_FD + index}")


@attrs.frozen
class Exit:
    """
    How a process ended: a code, or the signal that ended it.
    """

    code: int | None
    signal: int | None

    def __str__(self) -> str:
        if self.signal is not None:
            return f"signal {signal.Signals(self.signal).name}"
        return f"exit code {self.code}"


class ProcessOwner(Protocol):
    """
    Who is told what a process does.
    """

    def process_listening(self, socket: str) -> None:
        """
        The control descriptor announced a listening socket.
        """

    def process_said(self, line: str) -> None:
        """
        A line on standard error: the runtime's own words, bounded in length and rate.
        """

    def process_ended(self, how: Exit) -> None:
        """
        It is gone and reaped. Called once, last.
        """


def listening_socket(line: bytes) -> str | None:
    """
    The socket's name if a control line says that it listens.
    """
    try:
        event = json.loads(line)
    except ValueError:
        return None
    if not isinstance(event, dict) or event.get("event") != "listen":
        return None
    name = event.get("socket")
    return name if isinstance(name, str) else None


_EVICTION: Final = ("script terminated for unknown reasons", "stack: ")
"""workerd's two lines for each eviction that the router asks for: not worth a word."""

_OUT_OF_MEMORY: Final = re.compile(r"Unable to allocate \d+ \(new failed\)")
"""
The allocator's last word. A hundred lines of statistics follow, which would push it out of what is
kept, and the process aborts.
"""


class WorkerdProcess(ProcessProtocol):
    """
    The parent's end. Standard output is what Workers print (`config` sees to that); functions'
    traces report it already, and it may be secret: nobody reads it.
    """

    _log = Logger()

    def __init__(
        self, owner: ProcessOwner, seconds: Callable[[], float], wrapped: bool = False
    ) -> None:
        self._owner = owner
        self._wrapped = wrapped
        self._seconds = seconds
        self._control = LineSplitter()
        self._errors = LineSplitter()
        self._allowance = Allowance(per_second=5, burst=50)
        self._said_all = False

    def childDataReceived(self, childFD: int, data: bytes) -> None:
        if childFD == CONTROL_FD:
            for line in self._control.feed(data):
                socket = listening_socket(line)
                if socket is not None:
                    self._owner.process_listening(socket)
        elif childFD == 2:
            for line in self._errors.feed(data):
                self._said(line)

    def _said(self, line: bytes) -> None:
        text = line.decode("utf-8", "replace")
        if self._said_all or any(known in text for known in _EVICTION):
            return
        last_word = _OUT_OF_MEMORY.match(text)
        if last_word is not None:
            text, self._said_all = last_word[0], True
        if self._allowance.take(self._seconds()):
            refused = self._allowance.take_refused()
            if refused:
                self._owner.process_said(f"({refused} lines left out)")
            self._owner.process_said(text)

    def processEnded(self, reason: Failure) -> None:
        for line in self._errors.end():
            self._said(line)
        how = _exit_of(reason)
        signal_inside = bubblewrap.ended(how.code) if self._wrapped else None
        self._owner.process_ended(how if signal_inside is None else Exit(None, signal_inside))


def _exit_of(reason: Failure) -> Exit:
    value = reason.value
    if isinstance(value, ProcessDone):
        return Exit(0, None)
    if isinstance(value, ProcessTerminated):
        return Exit(value.exitCode, value.signal)
    return Exit(None, None)


@implementer(IReadDescriptor)
class _End:
    """
    Reaps a child when its pidfd says that it has ended.

    Twisted relies on SIGCHLD, whose wake-up uvloop takes for itself; a pidfd needs no signal.
    """

    def __init__(self, reactor: Any, transport: Any) -> None:
        self._reactor = reactor
        self._transport = transport
        self._fd = os.pidfd_open(transport.pid)
        reactor.addReader(self)

    def fileno(self) -> int:
        return self._fd

    def logPrefix(self) -> str:
        return "pidfd"

    def doRead(self) -> None:
        self._reactor.removeReader(self)
        os.close(self._fd)
        if self._transport.pid is not None:  # Not reaped when its pipes were closed.
            self._transport.reapProcess()

    def connectionLost(self, reason: Failure) -> None:
        """
        The reactor has stopped: nobody waits for the child any more.
        """
        os.close(self._fd)


def _write(file: int, data: bytes) -> None:
    while data:
        data = data[os.write(file, data) :]


def spawn(reactor: Any, launch: Launch, config: str, owner: ProcessOwner) -> IProcessTransport:
    """
    Start the process.

    Args:
        reactor: Provides IReactorProcess, IReactorFDSet and IReactorTime.
        config: What workerd is to do, as text.

    Raises:
        OSError: no process could be made.
    """
    process_reactor: IReactorProcess = reactor
    argv = launch.jailed(os.getpid())
    nobody = os.open(os.devnull, os.O_WRONLY)
    file = os.memfd_create("workerd.capnp")
    try:
        _write(file, config.encode())
        transport = process_reactor.spawnProcess(
            WorkerdProcess(owner, reactor.seconds, wrapped=launch.bwrap is not None),
            argv[0],
            argv,
            env={},
            childFDs={1: nobody, 2: "r", CONTROL_FD: "r", CONFIG_FD: file},
        )
    finally:
        os.close(nobody)
        os.close(file)
    if transport.pid is not None:  # Else it has ended and been reaped while it was started.
        _End(reactor, transport)
    if launch.bwrap is not None:
        inside: Any = bubblewrap.Inside(transport)
        return inside  # type: ignore[no-any-return]
    return transport
