"""Users for cells, as values."""

import os
import stat
from pathlib import Path

import pytest

from workerd_faas.runtime import uids, walls
from workerd_faas.runtime.uids import Uids
from workerd_faas.runtime.walls import NoWall, Sandbox

ROOT = "Name:\tx\nCapEff:\t000001ffffffffff\n"
NOBODY = "Name:\tx\nCapEff:\t0000000000000400\n"


def test_each_is_had_once(tmp_path: Path) -> None:
    """
    No user is taken twice before it was given back, the first one, which is the state cells', never
    is, and the one that was given back last comes last.
    """
    pool = Uids.between(100, 104, tmp_path / "locks")
    taken = [pool.take() for _ in range(4)]
    assert sorted(taken) == [101, 102, 103, 104]
    with pytest.raises(OSError, match="CELL_UIDS"):
        pool.take()
    for uid in (103, 101):
        pool.give_back(uid)
    assert [pool.take(), pool.take()] == [103, 101]
    pool.close()


def test_two_daemons_have_different_ones(tmp_path: Path) -> None:
    """
    Of two daemons on one data directory neither takes what the other has, until that is given back
    or the other is gone.
    """
    old = Uids.between(100, 104, tmp_path / "locks")
    new = Uids.between(100, 104, tmp_path / "locks")
    held = [old.take(), old.take()]
    taken = [new.take(), new.take()]
    assert sorted([*held, *taken]) == [101, 102, 103, 104]
    with pytest.raises(OSError, match="CELL_UIDS"):
        new.take()
    old.give_back(held[0])
    assert new.take() == held[0]
    old.close()
    assert new.take() == held[1]
    new.close()


def test_what_it_takes_to_switch() -> None:
    """
    Root has what it takes; a process with another capability lacks all five, by name.
    """
    assert uids.missing(ROOT) == ()
    assert uids.missing(NOBODY) == (
        "CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_KILL", "CAP_SETGID", "CAP_SETUID",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("uid_map", "expected"),
    [
        ("         0          0 4294967295\n", True),
        ("0 100000 65536\n", False),
        ("0 100000 1000\n1000 200000 64536\n", False),
        ("150000 150000 1000\n", False),
        ("150000 150000 100000\n", True),
        ("", False),
    ],
)
def test_users_of_the_namespace(uid_map: str, expected: bool) -> None:
    """
    A range is usable when one line of the map has all of it.
    """
    assert uids.mapped(200_000, 210_000, uid_map) is expected


def test_installations_have_ranges_of_their_own() -> None:
    """
    The users of two data directories do not overlap, and are the same at each start; none are used
    when none are wanted.
    """
    if uids.missing():
        pytest.skip("this process may not become other users")
    one = walls.users_for(None, Path("/var/lib/one"))
    two = walls.users_for(None, Path("/var/lib/two"))
    assert one is not None
    assert two is not None
    assert one[1] < two[0] or two[1] < one[0]
    assert one == walls.users_for(None, Path("/var/lib/one"))
    assert uids.UNUSED[0] <= min(*one, *two) < max(*one, *two) <= uids.UNUSED[1]
    assert walls.users_for((0, 0), Path("/var/lib/one")) is None
    assert walls.users_for((200_000, 265_535), Path("/")) == (200_000, 265_535)


def test_walls_that_are_missing_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A sandbox that was asked for and cannot be had keeps the daemon from starting, with its name.
    """
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(NoWall, match=r"SANDBOX=bwrap.*not installed"):
        walls.build(Sandbox.BWRAP, (0, 0), tmp_path)
    broken = tmp_path / "bwrap"
    broken.write_text("#!/bin/sh\necho no namespaces here >&2; exit 1\n")
    broken.chmod(0o755)
    with pytest.raises(NoWall, match="no namespaces here"):
        walls.build(Sandbox.BWRAP, (0, 0), tmp_path)


def test_folders_are_given_away(tmp_path: Path) -> None:
    """
    A folder and the files in it become the user's; what a link in it leads to does not.
    """
    if uids.missing():
        pytest.skip("this process may not give files away")
    target, folder = tmp_path / "target", tmp_path / "folder"
    target.touch()
    folder.mkdir(mode=0o700)
    (folder / "file").touch()
    (folder / "link").symlink_to(target)
    uids.give(folder, 123_456)
    assert (folder.stat().st_uid, folder.stat().st_gid) == (123_456, 123_456)
    assert (folder / "file").stat().st_uid == 123_456
    assert target.stat().st_uid == os.geteuid()
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
