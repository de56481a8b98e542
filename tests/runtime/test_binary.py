"""Finding workerd."""

import stat
from pathlib import Path

import pytest

from workerd_faas.runtime import binary
from workerd_faas.runtime.binary import NoWorkerd, find


def program(path: Path, text: str, mode: int = 0o755) -> Path:
    """
    A shell script in the place of workerd.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(stat.S_IFREG | mode)
    return path


def in_modules(root: Path) -> Path:
    """
    Where npm puts the program.
    """
    return root / "node_modules" / binary.npm_package() / "bin" / "workerd"


def test_the_projects_own(tmp_path: Path) -> None:
    """
    Without a setting the first root that has the program decides.
    """
    expected = program(in_modules(tmp_path / "b"), "echo workerd 2026-11-17")
    found = find(None, [tmp_path / "a", tmp_path / "b"])
    assert (found.path, found.version) == (expected.resolve(), "2026-11-17")
    assert "node_modules" in found.source


def test_the_setting_alone_decides(tmp_path: Path) -> None:
    """
    A setting that is wrong is an error, not a reason to look elsewhere.
    """
    program(in_modules(tmp_path), "echo workerd 2026-11-17")
    with pytest.raises(NoWorkerd) as caught:
        find(tmp_path / "nowhere", [tmp_path])
    assert "no such file" in str(caught.value)
    assert "Correct the setting WORKERD" in str(caught.value)
    mine = program(tmp_path / "mine", "echo workerd 2026-12-01")
    assert find(mine, [tmp_path]).version == "2026-12-01"


def test_the_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    What is on PATH is the last resort.
    """
    program(tmp_path / "bin" / "workerd", "echo workerd 2026-11-20")
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    found = find(None, [tmp_path])
    assert (found.version, found.source) == ("2026-11-20", "PATH")


@pytest.mark.parametrize(
    ("text", "mode", "complaint"),
    [
        ("echo workerd 2026-11-17", 0o644, "not executable"),
        ("echo something else", 0o755, "is not workerd"),
        ("echo workerd 2026-11-17; exit 1", 0o755, "is not workerd"),
        ("echo 'no such library' >&2; exit 127", 0o755, "no such library"),
    ],
)
def test_what_is_wrong_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, mode: int, complaint: str
) -> None:
    """
    Each candidate is listed with what is wrong with it.
    """
    path = program(in_modules(tmp_path), text, mode)
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    with pytest.raises(NoWorkerd) as caught:
        find(None, [tmp_path])
    assert complaint in str(caught.value)
    assert str(path) in str(caught.value)


def test_the_installed_one() -> None:
    """
    The checkout's own workerd is found and new enough.
    """
    found = find()
    assert found.version >= binary.OLDEST


def test_one_that_hangs_is_left_with_a_plain_word(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    A program that does not say its version is given up, without words of Python's own.
    """
    monkeypatch.setattr(binary, "_VERSION_SECONDS", 0.1)
    hangs = program(tmp_path / "hangs", "exec sleep 60")
    with pytest.raises(NoWorkerd, match="did not say its version") as caught:
        find(hangs)
    assert "Command" not in str(caught.value)


def test_no_place_is_looked_at_twice() -> None:
    """
    Each directory that may have the program is named once, although the environment is in it.
    """
    assert len(set(binary.install_roots())) == len(binary.install_roots())
