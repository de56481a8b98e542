"""
Which walls stand around functions on this machine: each is tried by a process that is confined like
a cell and tries what it may not.
"""

import json
import os
import socket
import stat
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import attrs

from workerd_faas.operator.finding import Finding, failed, ok, warning
from workerd_faas.runtime import jail, seccomp, uids, walls
from workerd_faas.runtime.jail import landlock_abi
from workerd_faas.runtime.process import MIB, RESERVED_DATA, Launch
from workerd_faas.runtime.walls import Walls
from workerd_faas.settings.model import Settings

_SECONDS: Final = 20
_TCP_ABI: Final = 4
_SCOPE_ABI: Final = 6

_TRY: Final = """
import ctypes, errno, json, os, socket, sys
def outcome(what):
    try:
        what()
        return "ok"
    except MemoryError:
        return "ENOMEM"
    except OSError as error:
        return errno.errorcode[error.errno]
def write(path):
    with open(path, "w"): pass
def names(prefix):
    with open("/proc/self/status") as status:
        return {line.split(":")[0]: line.split(":")[1].split() for line in status
                if line.startswith(prefix)}
def call(name, *arguments):
    if getattr(ctypes.CDLL(None, use_errno=True), name)(*arguments) < 0:
        raise OSError(ctypes.get_errno(), name)
def fork():
    if os.fork() == 0:
        os._exit(0)
    os.wait()
secret, outside, port, abstract, daemon, memory = sys.argv[1:]
print(json.dumps({
    "uid": os.getuid(),
    "capabilities": sorted({word[0] for word in names("Cap").values()}),
    "no_new_privs": names("NoNewPrivs")["NoNewPrivs"] == ["1"],
    "environment": len(open("/proc/self/environ").read()),
    "descriptors": sorted(int(fd) for fd in os.listdir("/proc/self/fd")),
    "read": outcome(lambda: open(secret)),
    "write": outcome(lambda: write(outside)),
    "connect": outcome(lambda: socket.create_connection(("127.0.0.1", int(port)), 1)),
    "bind": outcome(lambda: socket.socket().bind(("127.0.0.1", 0))),
    "abstract": outcome(lambda: socket.socket(socket.AF_UNIX).connect("\\0" + abstract)),
    "signal": outcome(lambda: os.kill(int(daemon), 0)),
    "namespace": outcome(lambda: call("unshare", 0x10000000)),
    "fork": outcome(fork),
    "memory": outcome(lambda: bytearray(int(memory))),
}))
"""


def try_out(stand: Walls, directory: Path, *, network: bool) -> Mapping[str, Any]:
    """
    What a process behind these walls can do. Blocks for some tenths of a second.

    Args:
        directory: An empty one that strangers can look into.
        network: Whether it is confined like a cell that may connect.

    Raises:
        OSError: it could not be confined; says what went wrong.
    """
    own, secret = directory / "own", directory / "secret"
    own.mkdir(mode=0o700)
    secret.write_text("secret")
    secret.chmod(0o644)
    uid = None if stand.uids is None else stand.uids.take()
    if uid is not None:
        uids.give(own, uid)
    memory = 64 * MIB
    python = os.path.realpath(sys.executable)
    launch = Launch(
        binary=Path(python),
        directory=own,
        memory=memory,
        connect=network,
        uid=uid,
        landlock=stand.landlock,
        seccomp=stand.seccomp,
        bwrap=stand.bwrap,
    )
    with (
        socket.create_server(("127.0.0.1", 0)) as tcp,
        socket.socket(socket.AF_UNIX) as abstract,
    ):
        name = f"workerd-faas-doctor-{os.getpid()}"
        abstract.bind(f"\0{name}")
        abstract.listen()
        words = [secret, directory / "new", tcp.getsockname()[1], name, os.getpid()]
        words.append(RESERVED_DATA + memory)
        specification = launch.specification(os.getpid())
        specification["argv"] = [python, "-I", "-S", "-c", _TRY, *map(str, words)]
        specification["readable"] += [sysconfig.get_path("stdlib"), f"{sys.base_prefix}/lib"]
        done = subprocess.run(
            jail.command(specification),
            capture_output=True,
            text=True,
            timeout=_SECONDS,
            check=False,
            env={},
        )
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines()
        raise OSError(lines[-1][:200] if lines else f"exit code {done.returncode}")
    seen: Mapping[str, Any] = json.loads(done.stdout)
    return seen


def examine(settings: Settings) -> list[Finding]:
    """
    All walls, with the daemon's settings.
    """
    try:
        with tempfile.TemporaryDirectory(prefix="wfaas-doctor-") as name:
            folder = Path(name)
            folder.chmod(0o755)
            stand = _as_set(settings, folder)
            try:
                seen = try_out(stand, folder, network=False)
            finally:
                if stand.uids is not None:
                    stand.uids.close()
    except walls.NoWall as missing:
        return [failed("walls", str(missing))]
    except (OSError, ValueError, subprocess.TimeoutExpired) as error:
        hidden = out_of_reach(Path(sys.executable))
        if hidden is not None:
            return [_not_tried(hidden, error)]
        return [failed("walls", f"no process can be confined as a cell is: {error}")]
    return [*judge(stand, seen), bubblewrap(stand)]


def out_of_reach(program: Path) -> Path | None:
    """
    What keeps users of their own, as cells are, from running a program: the file, or a directory
    on the way to it.
    """
    resolved = program.resolve()
    for each in (resolved, *resolved.parents):
        if not each.stat().st_mode & stat.S_IXOTH:
            return each
    return None


def _not_tried(hidden: Path, error: Exception) -> Finding:
    """
    Cells do without Python: it is only what tries the walls.
    """
    return warning(
        "walls",
        f"not tried: other users cannot enter {hidden}, where this Python is, which tries them "
        f"({error})",
    )


def _as_set(settings: Settings, folder: Path) -> Walls:
    sandbox = walls.Sandbox(settings.sandbox)
    stand = walls.build(sandbox, (0, 0), folder)
    users = walls.users_for(settings.cell_uids, settings.data_dir)
    if users is None:
        return stand
    # Noted elsewhere: a daemon may be using the same users now.
    return attrs.evolve(stand, uids=uids.Uids.between(*users, folder / "locks"))


def judge(stand: Walls, seen: Mapping[str, Any]) -> list[Finding]:
    """
    What it means that a process could do these things.
    """
    return [judged(stand, seen) for judged in _JUDGES]


def _user(stand: Walls, seen: Mapping[str, Any]) -> Finding:
    subject = "user"
    if stand.uids is not None:
        if seen["uid"] in (0, os.geteuid()):
            return failed(subject, "a cell did not become a user of its own")
        return ok(
            subject,
            f"each cell is one of its own, {stand.uids.state} to {stand.uids.last}",
        )
    lacking = ", ".join(uids.missing())
    why = f"for that the daemon lacks {lacking}" if lacking else "CELL_UIDS says so"
    return warning(subject, f"cells are the daemon's user, not each one of its own: {why}")


def _privileges(_: Walls, seen: Mapping[str, Any]) -> Finding:
    subject = "privileges"
    capable = [word for word in seen["capabilities"] if int(word, 16)]
    if not seen["no_new_privs"] or (capable and os.geteuid() == 0):
        return failed(subject, "a cell keeps some, or can get new ones")
    if seen["environment"] or seen["descriptors"] not in ([0, 1, 2, 3], [0, 1, 2, 3, 4]):
        return failed(subject, "a cell inherits environment or descriptors of the daemon")
    return ok(subject, "cells have no capability, environment or descriptor, and can get none")


def _files(stand: Walls, seen: Mapping[str, Any]) -> Finding:
    subject = "file system"
    if seen["read"] != "ok" and (stand.bwrap or seen["write"] != "ok"):
        how = "bubblewrap" if stand.bwrap else f"Landlock (version {landlock_abi()})"
        return ok(subject, f"{how} leaves cells libraries, certificates and their own directory")
    if stand.landlock and landlock_abi():
        return failed(subject, "Landlock is there and does not hold a cell")
    if not stand.landlock:
        return warning(subject, "SANDBOX=none: a function that breaks out of workerd can read "
                       "what its user can")  # fmt: skip
    return warning(
        subject,
        "this kernel has no Landlock, or a container forbids it: a function that breaks out of "
        "workerd can read what its user can",
    )


def _network(stand: Walls, seen: Mapping[str, Any]) -> Finding:
    subject = "network"
    open_ways = [way for way in ("connect", "bind", "abstract") if seen[way] == "ok"]
    if not open_ways:
        return ok(
            subject,
            "cells without a network reach nothing; others cannot listen"
            if not stand.landlock or landlock_abi() >= _TCP_ABI
            else "cells without a network reach nothing",
        )
    expected = stand.seccomp or (stand.landlock and landlock_abi() >= _SCOPE_ABI)
    told = failed if expected and open_ways != ["abstract"] else warning
    return told(
        subject,
        f"the kernel does not keep a cell from {', '.join(open_ways)}: only workerd's own rules "
        "do; Linux 6.12 has all that is used",
    )


def _calls(stand: Walls, seen: Mapping[str, Any]) -> Finding:
    subject = "system calls"
    if seen["namespace"] != "ok" and seen["fork"] != "ok" and seen["signal"] != "ok":
        return ok(subject, "cells can neither begin processes, make namespaces, nor send signals")
    if stand.seccomp and (seen["namespace"] == "ok" or seen["fork"] == "ok"):
        return failed(subject, "the filter is there and does not hold a cell")
    if stand.seccomp:
        return warning(subject, "filtered, but a cell can send signals to processes of its user")
    return warning(
        subject, f"not filtered: {'SANDBOX=none' if seccomp.available() else 'no seccomp here'}"
    )


def _memory(_: Walls, seen: Mapping[str, Any]) -> Finding:
    subject = "memory"
    if seen["memory"] == "ENOMEM":
        return ok(subject, "a cell gets CELL_MEMORY and no more")
    return failed(subject, "a cell gets more than its limit: RLIMIT_DATA does not hold here")


_JUDGES: Final[tuple[Callable[[Walls, Mapping[str, Any]], Finding], ...]] = (
    _user, _privileges, _files, _network, _calls, _memory,
)  # fmt: skip


def bubblewrap(stand: Walls) -> Finding:
    """
    Whether it is there, which nobody needs.
    """
    subject = "bubblewrap"
    if stand.bwrap is not None:
        return ok(subject, f"{stand.bwrap} is around each cell")
    program = walls.find_bubblewrap()
    if program is None:
        return ok(subject, "not installed, and not needed unless SANDBOX=bwrap")
    wrong = walls.try_bubblewrap(program)
    if wrong is not None:
        return ok(subject, f"not needed unless SANDBOX=bwrap, and does not work here: {wrong}")
    return ok(subject, "works; SANDBOX=bwrap would put it around each cell")
