"""How much memory there is."""

import os
from pathlib import Path

from workerd_faas.runtime import memory

GIB = 1 << 30


def machine(root: Path, **files: str) -> Path:
    """
    A machine with these files.
    """
    paths = {
        "meminfo": "proc/meminfo",
        "second": "sys/fs/cgroup/memory.max",
        "first": "sys/fs/cgroup/memory/memory.limit_in_bytes",
    }
    for name, text in files.items():
        path = root / paths[name]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


MEMINFO = f"MemTotal:       {8 * GIB // 1024} kB\nMemFree:  12 kB\n"


def test_the_least_of_what_bounds_it(tmp_path: Path) -> None:
    """
    It is the machine's memory, or what the container may use if that is less; a bound that is none
    does not count.
    """
    one, two, three = (tmp_path / name for name in ("one", "two", "three"))
    assert memory.available(machine(one, meminfo=MEMINFO)) == 8 * GIB
    assert memory.available(machine(two, meminfo=MEMINFO, second=f"{GIB}\n")) == GIB
    assert memory.available(machine(three, meminfo=MEMINFO, second="max\n")) == 8 * GIB
    assert memory.available(machine(three, first="9223372036854771712\n")) == 8 * GIB
    assert memory.available(machine(three, first=f"{2 * GIB}\n")) == 2 * GIB
    assert memory.available(tmp_path / "nothing") is None


def test_what_a_process_has_to_itself() -> None:
    """
    A process that takes memory has more to itself by that; one that is not there has nothing.
    """
    before = memory.private(os.getpid())
    taken = bytearray(os.urandom(1)) * (32 << 20)
    assert memory.private(os.getpid()) - before > 30 << 20
    assert len(taken) == 32 << 20
    assert memory.private(None) == memory.private(-1) == 0
