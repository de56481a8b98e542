"""A server, a home and a working directory for each test of `wrkst`."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.fake_server import State, fake_server
from tests.cli.support import Cli


@pytest.fixture
def server() -> Iterator[State]:
    """
    The API in memory.
    """
    with fake_server() as state:
        yield state


@pytest.fixture
def cli(
    server: State,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Cli:
    """
    A user who has set the server's address and is not logged in.
    """
    home, work = tmp_path / "home", tmp_path / "work"
    home.mkdir()
    work.mkdir()
    for name in ("XDG_CONFIG_HOME", "WRKST_TOKEN", "WRKST_ACCOUNT", "CLOUDFLARE_ENV"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("DISPLAY", ":0")
    monkeypatch.setenv("WRKST_URL", server.base_url)
    return Cli(home, work, monkeypatch, capsys, server)
