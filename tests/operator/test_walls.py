"""What doctor says of the walls around cells, from really trying them."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs
import pytest

from workerd_faas.operator import machine, walls
from workerd_faas.operator.finding import Level
from workerd_faas.runtime import seccomp, uids
from workerd_faas.runtime.jail import landlock_abi
from workerd_faas.runtime.uids import Uids
from workerd_faas.runtime.walls import Walls, find_bubblewrap, try_bubblewrap
from workerd_faas.settings.load import load

NOTHING = Walls(landlock=False, seccomp=False)


def tried(path: Path, stand: Walls, *, network: bool = False) -> Mapping[str, Any]:
    """
    What a process behind walls can do.
    """
    for folder in (path, *path.parents):
        if folder.owner() == path.owner() and folder != Path("/tmp"):
            folder.chmod(0o755)
    return walls.try_out(stand, path, network=network)


def levels(stand: Walls, seen: Mapping[str, Any]) -> dict[str, Level]:
    """
    How bad each subject is.
    """
    return {finding.subject: finding.level for finding in walls.judge(stand, seen)}


def test_all_walls(tmp_path: Path) -> None:
    """
    With everything that this machine has, a process like a cell without a network can do nothing
    of what it tries.
    """
    if landlock_abi() < 6 or not seccomp.available() or uids.missing():
        pytest.skip("this machine does not have all walls")
    stand = Walls(uids=Uids.between(1_900_000_000, 1_900_000_100, tmp_path / "locks"))
    seen = tried(tmp_path, stand)
    assert set(levels(stand, seen).values()) == {Level.OK}, seen
    ways = ("read", "write", "connect", "bind", "abstract", "signal", "namespace", "fork", "memory")
    assert {way: seen[way] for way in ways if seen[way] == "ok"} == {}


def test_a_cell_with_a_network_connects_and_does_not_listen(tmp_path: Path) -> None:
    """
    A cell that may connect can do that and nothing else.
    """
    if landlock_abi() < 6 or not seccomp.available():
        pytest.skip("this machine does not have all walls")
    seen = tried(tmp_path, Walls(), network=True)
    assert seen["connect"] == "ok"
    assert {seen[way] for way in ("read", "write", "bind", "abstract", "fork")}.isdisjoint({"ok"})


def test_no_walls(tmp_path: Path) -> None:
    """
    What is missing is a warning each when it was not wanted, and a failure when it was.
    """
    seen = tried(tmp_path, NOTHING)
    found = levels(NOTHING, seen)
    assert {found[subject] for subject in ("user", "file system", "network", "system calls")} == {
        Level.WARNING
    }
    assert found["privileges"] is found["memory"] is Level.OK
    if landlock_abi() and seccomp.available():
        wanted = attrs.evolve(NOTHING, landlock=True, seccomp=True)
        found = levels(wanted, seen)
        assert found["file system"] is found["system calls"] is found["network"] is Level.FAILED
    kept = {**seen, "no_new_privs": False}
    assert levels(NOTHING, kept)["privileges"] is Level.FAILED
    assert levels(NOTHING, {**seen, "memory": "ok"})["memory"] is Level.FAILED
    pool = Uids.between(1_900_000_000, 1_900_000_100, tmp_path / "locks")
    unswitched = attrs.evolve(NOTHING, uids=pool)
    assert levels(unswitched, {**seen, "uid": os.geteuid()})["user"] is Level.FAILED
    pool.close()


def test_in_bubblewrap(tmp_path: Path) -> None:
    """
    In bubblewrap a process sees neither the files nor the processes outside.
    """
    program = find_bubblewrap()
    if program is None or try_bubblewrap(program):
        pytest.skip("bubblewrap does not work here")
    stand = Walls(landlock=False, bwrap=program)
    seen = tried(tmp_path, stand)
    assert (seen["read"], seen["signal"]) == ("ENOENT", "ESRCH")
    assert levels(stand, seen)["file system"] is Level.OK
    assert walls.bubblewrap(stand).level is Level.OK


def test_what_an_operator_sees(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    All subjects are examined with the daemon's settings, and a wall that was asked for and cannot
    be had is a failure.
    """
    settings = load({"DATA_DIR": str(tmp_path)}, dev=True)
    found = walls.examine(settings)
    assert [finding.subject for finding in found] == [
        "user", "privileges", "file system", "network", "system calls", "memory", "bubblewrap",
    ]  # fmt: skip
    assert Level.FAILED not in {finding.level for finding in found}, found
    monkeypatch.setenv("PATH", str(tmp_path))
    (broken,) = walls.examine(attrs.evolve(settings, sandbox="bwrap"))
    assert broken.level is Level.FAILED
    assert "SANDBOX=bwrap" in broken.detail


def test_a_python_that_cells_cannot_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Where the interpreter is in somebody's own directory and does not start for others, that is told
    and is no failure, for cells do without it.
    """
    hidden = tmp_path / "home"
    hidden.mkdir(mode=0o700)
    python = hidden / "python"
    python.write_text("#!/bin/sh\necho no library >&2; exit 127\n")
    python.chmod(0o755)
    assert walls.out_of_reach(python) == hidden
    assert walls.out_of_reach(Path("/bin/sh")) is None
    settings = load({"DATA_DIR": str(tmp_path)}, dev=True)

    def fails(*_: object, **__: object) -> Mapping[str, Any]:
        raise OSError("no library")

    monkeypatch.setattr(walls, "try_out", fails)
    monkeypatch.setattr("sys.executable", "/bin/sh")
    (broken,) = walls.examine(settings)
    assert broken.level is Level.FAILED
    monkeypatch.setattr("sys.executable", str(python))
    (told,) = walls.examine(settings)
    assert told.level is Level.WARNING
    assert str(hidden) in told.detail and "no library" in told.detail


def test_open_files(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Too few descriptors for the clients that the relay takes are a warning that says how many it
    takes.
    """
    for limits, level in (((1024, 1_000_000), Level.OK), ((1024, 4096), Level.WARNING)):
        monkeypatch.setattr("resource.getrlimit", lambda _, limits=limits: limits)
        assert machine.open_files().level is level
    assert "75128" in machine.open_files().detail
