"""
What happens between fork and exec of a cell: the process takes its own rights away, then becomes
workerd.

Run as `command` says: standard library only, imports nothing of ours, says what went wrong in one
line on standard error and exits with 126. Each cell's start waits for it: what it does not import
(typing, json, signal with its enums) would cost three times what the rest does.
"""

from __future__ import annotations

import ctypes
import marshal
import os
import resource
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Final

PR_SET_PDEATHSIG: Final = 1
PR_SET_NO_NEW_PRIVS: Final = 38
FAILED: Final = 126
_SIGKILL: Final = 9
_EPERM: Final = 1

FIRST_HANDED_FD: Final = 5
"""
0 to 2 are the usual ones, 3 is workerd's control descriptor, 4 its configuration; then what
`confine` opens.
"""

_PR_SET_SECCOMP, _FILTER = 22, 2
_PR_CAPBSET_DROP: Final = 24
_PR_SET_SECUREBITS: Final = 28
_PR_CAP_AMBIENT, _CLEAR_ALL = 47, 4
_NO_ROOT: Final = 0b11 | 1 << 5 | 0b11 << 6
"""linux/securebits.h: uid 0 is nobody special, and nothing makes it so again."""
_CAPABILITY_VERSION_3: Final = 0x20080522
_CAPABILITIES: Final = 64

_LANDLOCK_CREATE_RULESET: Final = 444
_LANDLOCK_ADD_RULE: Final = 445
_LANDLOCK_RESTRICT_SELF: Final = 446
_RULE_PATH_BENEATH: Final = 1
_CREATE_RULESET_VERSION: Final = 1

# linux/landlock.h: LANDLOCK_ACCESS_FS_*, _NET_*, _SCOPE_*.
_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR = 1 << 0, 1 << 1, 1 << 2, 1 << 3
_REMOVE_FILE, _MAKE_REG, _MAKE_SOCK = 1 << 5, 1 << 8, 1 << 9
_ALL_FS_BITS: Final = {1: 13, 2: 14, 3: 15, 4: 15}
_ALL_FS_BITS_NEWEST: Final = 16
_BIND_TCP, _CONNECT_TCP = 1 << 0, 1 << 1
_SCOPES: Final = 0b11  # abstract unix sockets and signals stay inside
_READ: Final = _EXECUTE | _READ_FILE | _READ_DIR
_OWN: Final = _READ | _WRITE_FILE | _REMOVE_FILE | _MAKE_REG | _MAKE_SOCK
_REMOVE_DIR, _MAKE_DIR, _REFER, _TRUNCATE = 1 << 4, 1 << 7, 1 << 13, 1 << 14
_DATA: Final = (
    _READ | _WRITE_FILE | _REMOVE_FILE | _REMOVE_DIR | _MAKE_REG | _MAKE_DIR | _REFER | _TRUNCATE
)
_FOR_A_FILE: Final = _EXECUTE | _WRITE_FILE | _READ_FILE

_libc = ctypes.CDLL(None, use_errno=True)


class _Ruleset(ctypes.Structure):
    _fields_ = [
        ("fs", ctypes.c_uint64),
        ("net", ctypes.c_uint64),
        ("scoped", ctypes.c_uint64),
    ]


class _PathBeneath(ctypes.Structure):
    _pack_ = 1
    _fields_ = [("access", ctypes.c_uint64), ("parent", ctypes.c_int32)]


def _checked(result: int, what: str) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
    return result


def _prctl(option: int, value: int, what: str) -> None:
    _checked(_libc.prctl(option, ctypes.c_ulong(value), 0, 0, 0), what)


def landlock_abi() -> int:
    """
    The version of Landlock that this kernel speaks; 0: none.
    """
    version: int = _libc.syscall(_LANDLOCK_CREATE_RULESET, None, 0, _CREATE_RULESET_VERSION)
    return max(0, version)


def _ruleset(readable: list[str], own: str, writable: list[str], connect: bool) -> int | None:
    """
    What Landlock is to allow, as a descriptor; None where there is no Landlock. Made while paths
    can still be opened.
    """
    abi = landlock_abi()
    if abi < 1:
        return None
    handled = (1 << _ALL_FS_BITS.get(abi, _ALL_FS_BITS_NEWEST)) - 1
    net = 0
    if abi >= 4:
        net = _BIND_TCP if connect else _BIND_TCP | _CONNECT_TCP
    attributes = _Ruleset(handled, net, _SCOPES if abi >= 6 else 0)
    size = 24 if abi >= 6 else 16 if abi >= 4 else 8
    ruleset = _checked(
        _libc.syscall(_LANDLOCK_CREATE_RULESET, ctypes.byref(attributes), size, 0),
        "landlock_create_ruleset",
    )
    for path in readable:
        _allow(ruleset, path, _READ)
    _allow(ruleset, own, _OWN)
    for path in writable:
        _allow(ruleset, path, _DATA & handled)
    return ruleset


def _restrict(ruleset: int) -> None:
    _checked(_libc.syscall(_LANDLOCK_RESTRICT_SELF, ruleset, 0), "landlock_restrict_self")
    os.close(ruleset)


def _allow(ruleset: int, path: str, access: int) -> None:
    try:
        fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return  # Not on this system, or not for us: then not for the cell either.
    try:
        if not os.path.isdir(path):  # noqa: PTH112 - pathlib costs milliseconds to import
            access &= _FOR_A_FILE
        rule = _PathBeneath(access, fd)
        _checked(
            _libc.syscall(_LANDLOCK_ADD_RULE, ruleset, _RULE_PATH_BENEATH, ctypes.byref(rule), 0),
            f"landlock_add_rule {path}",
        )
    finally:
        os.close(fd)


def _limit(what: int, value: int) -> None:
    _, hard = resource.getrlimit(what)
    if hard != resource.RLIM_INFINITY:
        value = min(value, hard)
    resource.setrlimit(what, (value, value))


def _hand(paths: list[str]) -> None:
    """
    Open folders that the process may not find by their paths.
    """
    for number, path in enumerate(paths, FIRST_HANDED_FD):
        fd = os.open(path, os.O_PATH | os.O_DIRECTORY)
        if fd != number:
            os.dup2(fd, number)
            os.close(fd)
        os.set_inheritable(number, True)


def _own(folder: str, uid: int, gid: int) -> None:
    """
    Give all of a folder to a user, unless it is theirs already: it is somebody else's when cells
    had other users before, or none.
    """
    if os.stat(folder).st_uid == uid:  # noqa: PTH116
        return
    for _, names, files, at in os.fwalk(folder, topdown=False, follow_symlinks=False):
        for name in (*names, *files):
            os.chown(name, uid, gid, dir_fd=at, follow_symlinks=False)
    # The last one: who is interrupted begins anew.
    os.chown(folder, uid, gid, follow_symlinks=False)


def _become(uid: int | None) -> None:
    """
    Give up all capabilities for ever, and become another user if there is one to become.
    """
    try:
        _prctl(_PR_SET_SECUREBITS, _NO_ROOT, "prctl(PR_SET_SECUREBITS)")
        for capability in range(_CAPABILITIES):
            if _libc.prctl(_PR_CAPBSET_DROP, ctypes.c_ulong(capability), 0, 0, 0) < 0:
                break  # The kernel knows no more.
    except OSError as error:
        # Without CAP_SETPCAP; then `no_new_privs` is what keeps them from coming back.
        if error.errno != _EPERM:
            raise
    if uid is not None:
        os.setgroups([])
        os.setresgid(uid, uid, uid)
        os.setresuid(uid, uid, uid)
    _libc.prctl(_PR_CAP_AMBIENT, ctypes.c_ulong(_CLEAR_ALL), 0, 0, 0)
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
    try:
        _checked(_libc.capset(header, (ctypes.c_uint32 * 6)()), "capset")
    except OSError as error:
        # A filter of our service manager. Who is not root loses them at the next program anyway,
        # now that none is ambient.
        if error.errno != _EPERM or os.geteuid() == 0:
            raise


class _Filter(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("instructions", ctypes.c_char_p)]


def _filter_calls(instructions: bytes) -> None:
    program = _Filter(len(instructions) // 8, instructions)
    _checked(
        _libc.prctl(_PR_SET_SECCOMP, ctypes.c_ulong(_FILTER), ctypes.byref(program), 0, 0),
        "prctl(PR_SET_SECCOMP)",
    )


def _die_with(parent: int) -> None:
    _prctl(PR_SET_PDEATHSIG, _SIGKILL, "prctl(PR_SET_PDEATHSIG)")
    if os.getppid() != parent:
        raise OSError("the daemon ended before its cell began")


def _part_from(parent: int) -> None:
    """
    Keep nothing of the daemon but its watch over us.
    """
    _die_with(parent)
    os.setsid()
    os.dup2(os.open("/dev/null", os.O_RDWR), 0)
    os.set_inheritable(0, True)
    os.closerange(FIRST_HANDED_FD, 1 << 20)


def confine(spec: dict[str, Any]) -> int:
    """
    Take this process's rights away. Returns a descriptor of the program that it is to become.

    Args:
        spec: `parent`: the pid that must be our parent, with which we die; `directory`: the own
            directory; `data`: `RLIMIT_DATA` in bytes; `files`: `RLIMIT_NOFILE`; `processes`:
            `RLIMIT_NPROC`, which counts all of the user's; `oom_score_adj`;
            `readable`: paths that may be read and executed, everything else may not;
            `writable`: folders in which everything may be done with files, besides the own one;
            `connect`: whether TCP connections may be opened; `landlock`: whether Landlock is to
            hold the last three; `handed`: folders that are opened from `FIRST_HANDED_FD` on;
            `uid`: the user and group to become, who gets the `writable` folders, or None;
            `calls`: a filter for system calls (`seccomp`), or None; `program`: the path of the
            program.

    Raises:
        OSError: one of the walls could not be put up.
    """
    _part_from(spec["parent"])
    os.umask(0o077)
    os.chdir(spec["directory"])
    _hand(spec["handed"])
    with open("/proc/self/oom_score_adj", "w") as file:  # noqa: PTH123
        file.write(str(spec["oom_score_adj"]))
    _limit(resource.RLIMIT_CORE, 0)
    _limit(resource.RLIMIT_NOFILE, spec["files"])
    _limit(resource.RLIMIT_NPROC, spec["processes"])
    _limit(resource.RLIMIT_DATA, spec["data"])
    ruleset = None
    if spec["landlock"]:
        ruleset = _ruleset(spec["readable"], spec["directory"], spec["writable"], spec["connect"])
    program = os.open(spec["program"], os.O_PATH | os.O_CLOEXEC)
    uid = spec["uid"]
    for folder in spec["writable"]:
        if uid is None:
            _own(folder, os.geteuid(), os.getegid())
        else:
            _own(folder, uid, uid)
    _become(uid)
    # Changing the user undoes it.
    _die_with(spec["parent"])
    _prctl(PR_SET_NO_NEW_PRIVS, 1, "prctl(PR_SET_NO_NEW_PRIVS)")
    if ruleset is not None:
        _restrict(ruleset)
    if spec["calls"] is not None:
        _filter_calls(spec["calls"])
    return program


def command(spec: dict[str, Any]) -> tuple[str, ...]:
    """
    The command that begins with this module and becomes another program.

    Args:
        spec: What `confine` takes, and `argv` and `environment`, that program's command line and
            environment.
    """
    # Imported, since what is imported is compiled once; from the end of the path, where none of
    # our modules can stand for one of the standard library.
    begin = "import sys; sys.path.append(sys.argv.pop(1)); import jail; jail.main()"
    folder = os.path.dirname(os.path.abspath(__file__))  # noqa: PTH100, PTH120
    return (sys.executable, "-I", "-S", "-c", begin, folder, marshal.dumps(spec).hex())


def main() -> None:
    """
    Confine this process and replace it; or let bubblewrap, the `around` of the specification, do
    its part before and begin again inside.
    """
    spec = marshal.loads(bytes.fromhex(sys.argv[1]))  # noqa: S302 - our own daemon made it
    try:
        around = spec.get("around")
        if around is not None:
            _part_from(spec["parent"])
            if os.geteuid() != 0:
                # With capabilities, bubblewrap takes itself for badly installed.
                _become(None)
            inside = {**spec, "around": None, "parent": 1}
            again = (*sys.orig_argv[1:-1], marshal.dumps(inside).hex())
            os.execve(around[0], (*around, *again), {})  # noqa: S606
        _execute(spec["program"], confine(spec), spec["argv"], spec["environment"])
    except OSError as error:
        os.write(2, f"jail: {error}\n".encode())
        os._exit(FAILED)


def _execute(path: str, opened: int, argv: list[str], environment: dict[str, str]) -> None:
    try:
        os.execve(path, argv, environment)  # noqa: S606
    except PermissionError:
        # Below a folder that is not for everybody, such as a home directory: what was opened
        # before we became somebody else can still be run.
        os.execve(opened, argv, environment)  # noqa: S606
