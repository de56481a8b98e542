"""
System calls that no cell needs, as a filter for the kernel (seccomp(2), classic BPF). Pure: the
daemon makes the program, the jail hands it over.

A list of what is refused and not of what is allowed: it takes away what has been good for breaking
out of kernels, and does not break with the next release of workerd or glibc.
"""

import errno
import platform
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import attrs

# linux/filter.h, linux/seccomp.h, linux/audit.h.
_LOAD: Final = 0x20  # BPF_LD | BPF_W | BPF_ABS
_JUMP_EQUAL, _JUMP_LEAST, _JUMP_BITS = 0x15, 0x35, 0x45  # BPF_JMP | BPF_JEQ, BPF_JGE, BPF_JSET
_RETURN: Final = 0x06  # BPF_RET | BPF_K
_ALLOW: Final = 0x7FFF0000
_ERRNO: Final = 0x00050000
_KILL: Final = 0x80000000
_NUMBER, _ARCHITECTURE, _FIRST_ARGUMENT = 0, 4, 16  # struct seccomp_data, little endian
_X32: Final = 0x40000000
_CLONE_THREAD: Final = 0x00010000
_AF_UNIX, _AF_INET, _AF_INET6, _AF_NETLINK = 1, 2, 10, 16

COMMON: Final = {
    "io_uring_setup": 425, "io_uring_enter": 426, "io_uring_register": 427, "open_tree": 428,
    "move_mount": 429, "fsopen": 430, "fsconfig": 431, "fsmount": 432, "fspick": 433,
    "pidfd_getfd": 438, "process_madvise": 440, "mount_setattr": 442, "memfd_secret": 447,
}  # fmt: skip
"""Numbers that are the same everywhere."""

X86_64: Final = {
    "fork": 57, "vfork": 58, "ptrace": 101, "syslog": 103, "personality": 135, "vhangup": 153,
    "modify_ldt": 154, "pivot_root": 155, "adjtimex": 159, "chroot": 161, "acct": 163,
    "settimeofday": 164, "mount": 165, "umount2": 166, "swapon": 167, "swapoff": 168,
    "reboot": 169, "sethostname": 170, "setdomainname": 171, "iopl": 172, "ioperm": 173,
    "init_module": 175, "delete_module": 176, "quotactl": 179, "lookup_dcookie": 212,
    "clock_settime": 227, "kexec_load": 246, "add_key": 248, "request_key": 249, "keyctl": 250,
    "unshare": 272, "move_pages": 279, "perf_event_open": 298, "fanotify_init": 300,
    "name_to_handle_at": 303, "open_by_handle_at": 304, "clock_adjtime": 305, "setns": 308,
    "process_vm_readv": 310, "process_vm_writev": 311, "kcmp": 312, "finit_module": 313,
    "kexec_file_load": 320, "bpf": 321, "userfaultfd": 323,
}  # fmt: skip

AARCH64: Final = {
    "lookup_dcookie": 18, "umount2": 39, "mount": 40, "pivot_root": 41, "chroot": 51,
    "vhangup": 58, "quotactl": 60, "acct": 89, "personality": 92, "unshare": 97, "kexec_load": 104,
    "init_module": 105, "delete_module": 106, "clock_settime": 112, "syslog": 116, "ptrace": 117,
    "reboot": 142, "sethostname": 161, "setdomainname": 162, "settimeofday": 170, "adjtimex": 171,
    "add_key": 217, "request_key": 218, "keyctl": 219, "swapon": 224, "swapoff": 225,
    "move_pages": 239, "perf_event_open": 241, "fanotify_init": 262, "name_to_handle_at": 264,
    "open_by_handle_at": 265, "clock_adjtime": 266, "setns": 268, "process_vm_readv": 270,
    "process_vm_writev": 271, "kcmp": 272, "finit_module": 273, "bpf": 280, "userfaultfd": 282,
    "kexec_file_load": 294,
}  # fmt: skip


_Instruction = tuple[int, int] | tuple[int, int, str | None, str | None]
"""Code, constant, and where a jump goes if it holds and if not."""

_Line = str | _Instruction


@attrs.frozen(kw_only=True)
class Machine:
    """
    What differs from one kind of processor to another.

    Attributes:
        audit: Its `AUDIT_ARCH_…`.
        refused: System calls by name.
    """

    audit: int
    refused: Mapping[str, int]
    clone: int
    socket: int
    clone3: int = 435


MACHINES: Final = {
    "x86_64": Machine(audit=0xC000003E, refused=X86_64 | COMMON, clone=56, socket=41),
    "aarch64": Machine(audit=0xC00000B7, refused=AARCH64 | COMMON, clone=220, socket=198),
}


def available(machine: str | None = None, proc: Path = Path("/proc")) -> bool:
    """
    Whether this kernel filters, and we know its numbers.
    """
    known = (machine or platform.machine()) in MACHINES
    return known and (proc / "sys/kernel/seccomp/actions_avail").exists()


def program(*, network: bool, machine: str | None = None) -> bytes:
    """
    The filter: an array of `struct sock_filter`.

    Args:
        network: Whether it may have sockets other than unix ones; those for names included.
        machine: As `platform.machine()` says.
    """
    kind = MACHINES[machine or platform.machine()]
    families = [_AF_UNIX, *([_AF_INET, _AF_INET6, _AF_NETLINK] if network else [])]
    lines: list[_Line] = [
        (_LOAD, _ARCHITECTURE),
        (_JUMP_EQUAL, kind.audit, None, "kill"),
        (_LOAD, _NUMBER),
        (_JUMP_LEAST, _X32, "unknown", None),
        # glibc then uses the older one, whose arguments can be looked at.
        (_JUMP_EQUAL, kind.clone3, "unknown", None),
        *((_JUMP_EQUAL, number, "refuse", None) for number in sorted(kind.refused.values())),
        (_JUMP_EQUAL, kind.clone, "clone", None),
        (_JUMP_EQUAL, kind.socket, "socket", "allow"),
        "clone",
        (_LOAD, _FIRST_ARGUMENT),
        (_JUMP_BITS, _CLONE_THREAD, "allow", "refuse"),
        "socket",
        (_LOAD, _FIRST_ARGUMENT),
        *((_JUMP_EQUAL, family, "allow", None) for family in families),
        "refuse",
        (_RETURN, _ERRNO | errno.EPERM),
        "unknown",
        (_RETURN, _ERRNO | errno.ENOSYS),
        "kill",
        (_RETURN, _KILL),
        "allow",
        (_RETURN, _ALLOW),
    ]
    return _assembled(lines)


def _assembled(lines: Sequence[_Line]) -> bytes:
    """
    Instructions, with labels between them, as the kernel takes them. A jump to None goes on.
    """
    at: dict[str | None, int] = {}
    instructions: list[_Instruction] = []
    for line in lines:
        if isinstance(line, str):
            at[line] = len(instructions)
        else:
            instructions.append(line)

    def distance(label: str | None, here: int) -> int:
        return 0 if label is None else at[label] - here - 1

    return b"".join(
        struct.pack(
            "=HBBI",
            line[0],
            distance(line[2], here) if len(line) == 4 else 0,
            distance(line[3], here) if len(line) == 4 else 0,
            line[1],
        )
        for here, line in enumerate(instructions)
    )
