"""The filter of system calls: as a program, run by an interpreter of the kernel's language."""

import re
import struct
from pathlib import Path

import pytest

from workerd_faas.runtime import seccomp
from workerd_faas.runtime.seccomp import MACHINES

HEADERS = {
    "x86_64": (
        "/usr/include/x86_64-linux-gnu/asm/unistd_64.h",
        "/usr/include/asm/unistd_64.h",
    ),
    "aarch64": ("/usr/include/asm-generic/unistd.h",),
}

ALLOW, EPERM, ENOSYS, KILL = 0x7FFF0000, 0x00050001, 0x00050026, 0x80000000


def run(program: bytes, number: int, audit: int, argument: int = 0) -> int:
    """
    What the kernel does at a system call.
    """
    data = struct.pack("<IIQQ", number, audit, 0, argument)
    at = accumulator = 0
    for _ in range(10_000):
        code, if_true, if_false, constant = struct.unpack_from("<HBBI", program, at * 8)
        at += 1
        if code == 0x20:
            (accumulator,) = struct.unpack_from("<I", data, constant)
        elif code == 0x06:
            return int(constant)
        else:
            holds = {
                0x15: accumulator == constant,
                0x35: accumulator >= constant,
                0x45: bool(accumulator & constant),
            }[code]
            at += if_true if holds else if_false
    raise AssertionError("it does not end")


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("network", [False, True])
def test_what_is_refused(machine: str, network: bool) -> None:
    """
    Every call of the list is refused, and those that workerd lives of are allowed; threads may be
    begun and processes may not; sockets are unix ones, and others where there is a network; another
    kind of processor's calls end the process.
    """
    kind = MACHINES[machine]
    program = seccomp.program(network=network, machine=machine)

    def call(number: int, argument: int = 0) -> int:
        return run(program, number, kind.audit, argument)

    assert {call(number) for number in kind.refused.values()} == {EPERM}
    read, mmap, futex = {"x86_64": (0, 9, 202), "aarch64": (63, 222, 98)}[machine]
    assert {call(number) for number in (read, mmap, futex)} == {ALLOW}
    thread = 0x3D0F00  # what glibc's pthread_create gives
    assert (call(kind.clone, thread), call(kind.clone, 17)) == (ALLOW, EPERM)
    assert call(kind.clone3) == ENOSYS
    assert call(0x40000000 | read) == ENOSYS
    assert call(kind.socket, 1) == ALLOW
    inet = ALLOW if network else EPERM
    assert {call(kind.socket, family) for family in (2, 10, 16)} == {inet}
    assert {call(kind.socket, family) for family in (17, 38, 40, 44)} == {EPERM}
    assert run(program, read, 0x40000003) == KILL


@pytest.mark.parametrize("machine", MACHINES)
def test_numbers(machine: str) -> None:
    """
    The numbers are those of the kernel's headers.
    """
    found = [Path(path) for path in HEADERS[machine] if Path(path).exists()]
    if not found:
        pytest.skip("the kernel's headers are not installed")
    text = found[0].read_text()
    numbers = dict(re.findall(r"#define __NR(?:3264)?_(\w+)\s+(\d+)", text))
    kind = MACHINES[machine]
    ours = {**kind.refused, "clone": kind.clone, "socket": kind.socket, "clone3": kind.clone3}
    # Newer than the headers may be.
    assert {name: str(n) for name, n in ours.items() if name in numbers} == {
        name: numbers[name] for name in ours if name in numbers
    }
    assert len(ours.keys() - numbers.keys()) < 3


def test_unknown_machines_have_none(tmp_path: Path) -> None:
    """
    There is no filter where its numbers are not known or the kernel has none.
    """
    assert not seccomp.available("riscv64")
    assert not seccomp.available("x86_64", tmp_path)
