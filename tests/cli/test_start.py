"""How the programs start: Ctrl-C at any moment, and what is imported."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.support import SCRIPT, Cli

SCRIPTS = (SCRIPT, SCRIPT.with_name("workerd-faas"))


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.name)
@pytest.mark.parametrize("imports", [20, 120, 250])
def test_interrupted_while_it_starts(script: Path, imports: int, tmp_path: Path) -> None:
    """
    Ctrl-C while modules are being imported ends the program with 130 and one word at most.
    """
    # The module that is imported at that place sends the signal to its own process.
    (tmp_path / "sitecustomize.py").write_text(
        f"""\
import os, signal, sys
armed = []
class Finder:
    def find_spec(self, name, path=None, target=None):
        if signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
            armed.append(name)
        if len(armed) == {imports}:
            os.kill(os.getpid(), signal.SIGINT)
sys.meta_path.insert(0, Finder())
"""
    )
    done = subprocess.run(
        [script, "--help"],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(tmp_path), "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr, done.stdout) == (130, "stopped\n", "")


def test_interrupted_while_it_waits(cli: Cli) -> None:
    """
    Ctrl-C while a command waits for somebody ends it with 130 and one word.
    """
    process = subprocess.Popen(
        [SCRIPT, "login", "--no-browser"],
        cwd=cli.work,
        env=cli.environ(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    while "paste" not in process.stderr.readline():
        assert process.poll() is None
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=30)
    assert (process.returncode, errors.strip()) == (130, "stopped")


def imported_by(*arguments: str) -> set[str]:
    """
    The modules that a command line imports.
    """
    code = (
        "import json, sys; from workerd_faas.cli.root import run; "
        f"run({list(arguments)!r}); print(json.dumps(sorted(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    return set(json.loads(done.stdout.splitlines()[-1]))


def test_a_command_imports_what_it_needs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A command imports neither the other commands nor what it does not use.
    """
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    modules = imported_by("config", "show")
    assert "workerd_faas.cli.commands.config" in modules
    heavy = {"http.client", "rich", "ssl", "workerd_faas.cli.commands.deploy"}
    assert not modules & heavy


@pytest.mark.parametrize(
    ("script", "typed", "meant"),
    [(SCRIPTS[0], "depoly", "deploy"), (SCRIPTS[1], "doctr", "doctor")],
)
def test_typing_mistakes_are_understood(script: Path, typed: str, meant: str) -> None:
    """
    Both programs ask whether the command that is nearly called so was meant.
    """
    done = subprocess.run([script, typed], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert f"Did you mean '{meant}'?" in done.stderr
