"""Deploying and calling for a long time leaves the memory of daemon and cells where it was."""

import re
from pathlib import Path

from tests.e2e.daemon import Daemon, running, workerds_of

DEPLOYS = 80
FUNCTIONS = 60


def resident(pid: int) -> float:
    """
    MiB.
    """
    found = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text("ascii"))
    assert found is not None
    return int(found[1]) / 1024


def of_cells(daemon: Daemon) -> float:
    """
    What the largest process that runs functions has.
    """
    cells = [
        pid for pid in workerds_of(daemon) if Path(f"/proc/{pid}/cwd").resolve().parent.name == "f"
    ]
    return max(resident(pid) for pid in cells)


def code(number: int) -> str:
    """
    A function that answers with its number and is not small.
    """
    return (
        f"/* {'x' * 50_000} */ const table = Array.from({{ length: 20000 }}, () => {number});"
        "export default { fetch() { return new Response(String(table[0])); } };"
    )


def test_deploys_leave_nothing_behind() -> None:
    """
    After three times as many deploys of a function, each called, the daemon has at most a tenth
    more and its cell at most half more, and every one of them answered.
    """
    with running() as daemon:
        assert daemon.process is not None
        seen = []
        for turn in range(3):
            for number in range(turn * DEPLOYS, (turn + 1) * DEPLOYS):
                assert daemon.upload("hello", code(number)).status == 200
                assert daemon.function("hello").text == str(number)
            seen.append((resident(daemon.process.pid), of_cells(daemon)))
        (daemon_before, cell_before), *later = seen
        assert max(size for size, _ in later) < daemon_before * 1.1, seen
        assert max(size for _, size in later) < cell_before * 1.5, seen


def test_more_functions_than_a_cell_has_room_for() -> None:
    """
    Functions that do not all fit into a cell are called round and round: each answers for itself
    every time, and the cell does not grow from round to round.
    """
    with running(CELL_MEMORY="64MiB") as daemon:
        for number in range(FUNCTIONS):
            assert daemon.upload(f"f{number}", code(number)).status == 200
        sizes = []
        for _ in range(3):
            for number in range(FUNCTIONS):
                assert daemon.function(f"f{number}").text == str(number)
            sizes.append(of_cells(daemon))
        assert max(sizes[1:]) < sizes[0] * 1.5, sizes
