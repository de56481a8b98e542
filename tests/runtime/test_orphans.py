"""A daemon that is killed leaves no workerd behind."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.runtime.support import alive, workerd
from workerd_faas.runtime import leftovers


@pytest.fixture
def directory() -> Iterator[Path]:
    """
    A short directory.
    """
    with tempfile.TemporaryDirectory(prefix="wf") as name:
        yield Path(name)


def _started(directory: Path) -> tuple[subprocess.Popen[str], list[int]]:
    daemon = subprocess.Popen(
        [sys.executable, "-m", "tests.runtime.small_daemon", str(directory)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    )
    assert daemon.stdout is not None
    pids = [int(pid) for pid in daemon.stdout.readline().split()]
    if len(pids) != 2:
        daemon.kill()
        daemon.communicate()
    assert len(pids) == 2
    return daemon, pids


def _wait_until_gone(pids: list[int]) -> None:
    deadline = time.monotonic() + 20
    while any(alive(pid) for pid in pids):
        assert time.monotonic() < deadline, "workerd lives on without its daemon"
        time.sleep(0.02)


def test_kill_9_of_the_daemon_ends_its_cells(directory: Path) -> None:
    """
    Cells die with a daemon that is killed without a chance to clean up.
    """
    daemon, pids = _started(directory)
    try:
        assert all(alive(pid) for pid in pids)
    finally:
        daemon.kill()
        daemon.communicate()
    _wait_until_gone(pids)


def test_a_new_daemon_starts_on_what_the_old_one_left(directory: Path) -> None:
    """
    The directory of a killed daemon, files and all, serves the next one.
    """
    for _ in range(2):
        daemon, pids = _started(directory)
        daemon.kill()
        daemon.communicate()
        _wait_until_gone(pids)


def test_a_cell_whose_daemon_has_gone_does_not_begin(directory: Path) -> None:
    """
    The jail refuses to start a process whose parent is not the daemon that wanted it.
    """
    from workerd_faas.runtime.process import Launch

    launch = Launch(
        binary=workerd(),
        directory=directory,
        memory=1 << 27,
        connect=False,
    )
    command = launch.jailed(parent=1)
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=20)
    assert done.returncode == 126
    assert done.stderr == "jail: the daemon ended before its cell began\n"


def test_leftovers_of_this_directory_are_killed(directory: Path) -> None:
    """
    A workerd that runs on a configuration of this directory is killed at the start, one of another
    directory is not.
    """
    mine, other = directory / "mine", directory / "other"
    processes = []
    for folder in (mine, other):
        (folder / "c1").mkdir(parents=True)
        config = folder / "c1" / "workerd.capnp"
        config.write_text(
            'using W = import "/workerd/workerd.capnp"; const c :W.Config = (sockets = ['
            f'(name = "s", address = "unix:{folder}/s", service = "internet", http = ())]);'
        )
        argv = [str(folder / "c1" / "workerd"), "serve", str(config)]
        processes.append(subprocess.Popen(argv, executable=workerd()))
    try:
        deadline = time.monotonic() + 20
        while not ((mine / "s").exists() and (other / "s").exists()):
            assert time.monotonic() < deadline
            time.sleep(0.02)
        assert list(leftovers.workerds_of(mine)) == [processes[0].pid]
        leftovers.clear(mine)
        assert processes[0].wait(20) == -signal.SIGKILL
        assert processes[1].poll() is None
        assert not (mine / "c1").exists()
    finally:
        for process in processes:
            process.kill()
            process.wait()


def test_only_cells_are_taken_for_cells(directory: Path) -> None:
    """
    Command lines that merely mention the directory are nobody's cell.
    """
    cell = os.fsencode(directory / "c1" / "workerd")
    for argv, expected in (
        ([cell, b"serve", b"--experimental", b"/proc/self/fd/4", b""], True),
        ([b"/usr/bin/vim", b"serve", cell], False),
        ([cell, b"compile"], False),
        ([cell], False),
        ([cell + b".bak", b"serve"], False),
        ([os.fsencode(directory / "workerd"), b"serve"], False),
        ([os.fsencode(directory / "a" / "b" / "workerd"), b"serve"], False),
        ([b""], False),
        ([], False),
    ):
        assert leftovers.is_cell(argv, directory) is expected, argv
