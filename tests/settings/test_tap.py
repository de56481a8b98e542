"""The twistd plugin, in processes of its own and its options in this one."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from twisted.scripts._twistd_unix import ServerOptions

from workerd_faas.settings.table import SETTINGS
from workerd_faas.tap import Options

BIN = Path(sys.executable).parent


def run(
    program: str, *arguments: str, cwd: Path, **environ: str
) -> subprocess.CompletedProcess[str]:
    """
    Run one of the installed programs in an environment of its own.
    """
    return subprocess.run(
        [BIN / program, *arguments],
        cwd=cwd,
        env={"PATH": os.environ["PATH"], **environ},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_twistd_lists_the_plugin(tmp_path: Path) -> None:
    """`twistd --help` names workerd-faas among its commands."""
    shown = run("twistd", "--help", cwd=tmp_path).stdout
    assert any(line.split()[:1] == ["workerd-faas"] for line in shown.splitlines())


def test_the_help_teaches_every_setting(tmp_path: Path) -> None:
    """`--help` has each setting's option and variable, `--dev`, and ends with examples."""
    result = run("twistd", "workerd-faas", "--help", cwd=tmp_path)
    assert result.returncode == 0
    words = " ".join(result.stdout.split())
    for setting in SETTINGS:
        assert f"--{setting.option}=" in words
        assert f"[{setting.variable};" in words
    assert "--dev" in words
    assert "twistd -n workerd-faas --dev" in words
    assert all(len(line) < 100 for line in result.stdout.splitlines())


@pytest.mark.parametrize(
    "program", [("twistd", "-n", "workerd-faas"), ("twist", "workerd-faas")], ids=lambda p: p[0]
)
def test_a_wrong_configuration_ends_the_start_with_every_problem(
    tmp_path: Path, program: tuple[str, ...]
) -> None:
    """Both runners exit non-zero, name each wrong setting once, and print no traceback."""
    (tmp_path / ".env").write_text("MAX_CELLS=7\n")
    result = run(*program, cwd=tmp_path, JWT_SECRET="change-me-in-production", LISTEN="8080")
    output = result.stdout + result.stderr
    assert result.returncode != 0
    report = output[output.index("settings are wrong:") :]
    for name in ("BASE_DOMAIN", "LISTEN", "JWT_SECRET", "OIDC_ISSUER", "OIDC_CLIENT_ID"):
        assert report.count(f"\n  {name}: ") == 1
    assert "change-me" not in output
    assert "--max-cells" not in output
    assert "and .env;" in output
    assert "Traceback" not in output


def test_a_foreign_reactor_is_refused_in_one_line(tmp_path: Path) -> None:
    """`twistd --reactor=poll` cannot run the daemon and says so without a traceback."""
    result = run("twistd", "--reactor=poll", "-n", "workerd-faas", "--dev", cwd=tmp_path)
    assert result.returncode != 0
    assert "leave --reactor out" in result.stdout + result.stderr
    assert "Traceback" not in result.stdout + result.stderr


def test_the_env_file_of_the_working_directory_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without `--env-file`, `.env` counts if there is one; an option counts before it."""
    (tmp_path / ".env").write_text("MAX_CELLS=7\nLOG_FORMAT=json # for machines\n")
    monkeypatch.chdir(tmp_path)
    for setting in SETTINGS:
        monkeypatch.delenv(setting.name, raising=False)
    options = Options()
    options.parseOptions(["--dev", "--log-format", "text"])
    assert options.settings.max_cells == 7
    assert options.settings.log_format == "text"


def test_a_named_env_file_counts_instead(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`--env-file` names another file, and `.env` is then left alone."""
    (tmp_path / ".env").write_text("MAX_CELLS=7\n")
    (tmp_path / "other").write_text("ISOLATION=shared\n")
    monkeypatch.chdir(tmp_path)
    for setting in SETTINGS:
        monkeypatch.delenv(setting.name, raising=False)
    options = Options()
    options.parseOptions(["--dev", "--env-file=other"])
    assert options.settings.max_cells == 64
    assert options.settings.isolation.value == "shared"


def test_a_secret_has_no_option_of_its_own() -> None:
    """A command line is public on the machine: only the file of a secret can be named there."""
    for arguments in (["--dev", "--jwt-secret=abc"], ["--dev", "--jwt-secret", "abc"]):
        with pytest.raises(SystemExit, match="use --jwt-secret-file FILE") as caught:
            Options().parseOptions(arguments)
        assert "abc" not in str(caught.value)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--dve"], "option --dve not recognized: did you mean --dev?"),
        (["--max-cells"], "option --max-cells requires argument"),
        (["--dev", "more"], "Wrong number of arguments"),
    ],
)
def test_a_wrong_command_line_is_told_in_two_lines(
    tmp_path: Path, arguments: list[str], says: str
) -> None:
    """What is wrong with an option is not hidden by the list of all options."""
    result = run("twistd", "-n", "workerd-faas", *arguments, cwd=tmp_path)
    assert result.returncode == 1 and result.stdout == ""
    first, second = result.stderr.splitlines()
    assert says in first and "--help" in second


def test_the_command_to_start_again_does_not_grow(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A daemon that took another's place is started again by the same words as that one."""
    monkeypatch.chdir(tmp_path)
    first = ["twistd", "-n", "workerd-faas", "--dev"]
    commands = []
    for _ in range(3):
        monkeypatch.setattr("sys.argv", first)
        monkeypatch.setattr("sys.orig_argv", [sys.executable, *first])
        twistd = ServerOptions()
        twistd["nodaemon"] = True
        options = Options()
        options.parent = twistd
        options.parseOptions(["--dev"])
        assert options.command is not None
        commands.append(list(options.command))
        first = commands[-1][1:]
    assert commands[0][1:] == ["twistd", "-n", "--pidfile=", "workerd-faas", "--dev"]
    assert commands[0] == commands[1] == commands[2]
