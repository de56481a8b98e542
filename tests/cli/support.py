"""Running `wrkst` in a test: in this process or as the console script."""

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs
import pytest

from tests.cli.fake_server import State
from workerd_faas.cli.root import run

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = Path(sys.executable).parent / "wrkst"


@attrs.frozen
class Done:
    """
    How a command ended.
    """

    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """
        What it printed, as JSON.
        """
        return json.loads(self.out)


@attrs.define
class Cli:
    """
    A user: a home, a working directory, an environment.
    """

    home: Path
    work: Path
    monkeypatch: pytest.MonkeyPatch
    capsys: pytest.CaptureFixture[str]
    server: State

    @property
    def credentials(self) -> Path:
        """
        Where logins are stored.
        """
        return self.home / ".config" / "wrkst" / "credentials.json"

    def __call__(self, *arguments: str) -> Done:
        """
        Run a command line in this process.
        """
        self.monkeypatch.chdir(self.work)
        self.capsys.readouterr()
        status = run(arguments)
        captured = self.capsys.readouterr()
        return Done(status, captured.out, captured.err)

    def process(self, *arguments: str, input: str = "") -> Done:
        """
        Run the console script.
        """
        done = subprocess.run(
            [SCRIPT, *arguments],
            cwd=self.work,
            env=self.environ(),
            input=input,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        return Done(done.returncode, done.stdout, done.stderr)

    def environ(self) -> dict[str, str]:
        """
        The environment of the console script.
        """
        return {
            "HOME": str(self.home),
            "PATH": f"{SCRIPT.parent}:/usr/bin:/bin",
            "WRKST_URL": self.server.base_url,
        }

    def log_in(self) -> dict[str, Any]:
        """
        Store a login as `wrkst login` does.
        """
        session = self.server.issue_session()
        self.credentials.parent.mkdir(parents=True, exist_ok=True)
        entry = {
            "access_token": session["access_token"],
            "refresh_token": session["refresh_token"],
            "expires_at": 4102444800.0,
        }
        document = {"version": 1, "servers": {self.server.base_url: entry}}
        self.credentials.write_text(json.dumps(document))
        self.credentials.chmod(0o600)
        return session

    def write(self, files: Mapping[str, str | bytes]) -> None:
        """
        Put files into the working directory.
        """
        write_files(self.work, files)


def write_files(directory: Path, files: Mapping[str, str | bytes]) -> None:
    """
    Put files into a directory.
    """
    for name, content in files.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
