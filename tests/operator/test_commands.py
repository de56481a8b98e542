"""The operator's command, in processes of its own as an operator runs it."""

import json
import os
import re
import secrets
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs
import click
import pytest

from workerd_faas.operator.root import operate
from workerd_faas.settings.model import Settings

COMMAND = Path(sys.executable).parent / "workerd-faas"
SECRET = secrets.token_urlsafe(48)
CLIENT_SECRET = secrets.token_urlsafe(24)
PRODUCTION = {
    "BASE_DOMAIN": "faas.localhost",
    "JWT_SECRET": SECRET,
    "OIDC_CLIENT_ID": "us",
    "OIDC_CLIENT_SECRET": CLIENT_SECRET,
}


def run(cwd: Path, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """
    Run the command with an environment of its own.
    """
    return subprocess.run(
        [COMMAND, *arguments],
        cwd=cwd,
        env={"PATH": os.environ["PATH"], **environ},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def by_subject(document: dict[str, Any]) -> dict[str, dict[str, str]]:
    """
    Findings by what was looked at.
    """
    return {finding["subject"]: finding for finding in document["findings"]}


def test_the_help_names_every_command(tmp_path: Path) -> None:
    """`workerd-faas --help` lists doctor, check-config and token, and how the daemon starts."""
    result = run(tmp_path, "--help")
    assert result.returncode == 0
    for word in ("doctor", "check-config", "token", "twistd -n workerd-faas"):
        assert word in result.stdout


def all_commands(command: click.Command, words: str) -> Iterator[tuple[str, click.Command]]:
    """
    All that can be typed, and what it runs.
    """
    if not isinstance(command, click.Group):
        yield words, command
        return
    for name, each in command.commands.items():
        yield from all_commands(each, f"{words} {name}")


def test_help_shows_how_a_command_is_typed() -> None:
    """The help of each command has an example of it."""
    for words, command in all_commands(operate, "workerd-faas"):
        with click.Context(command, info_name=words) as context:
            shown = command.get_help(context).partition("\n")[2]
        assert f"  {words}" in shown or f"&& {words}" in shown, words


def test_the_version_is_printed(tmp_path: Path) -> None:
    """`--version` says the program and its version."""
    assert run(tmp_path, "--version").stdout.startswith("workerd-faas, version ")


def test_a_right_configuration_is_described_without_its_secrets(tmp_path: Path) -> None:
    """`check-config` says what the settings come to, exits with 0 and hides both secrets."""
    environ = {**PRODUCTION, "OIDC_ISSUER": "https://login.example.com"}
    for arguments in (["check-config"], ["check-config", "--json"]):
        result = run(tmp_path, *arguments, **environ)
        assert result.returncode == 0, result.stderr
        assert "http://faas.localhost:8080" in result.stdout
        assert SECRET not in result.stdout + result.stderr
        assert CLIENT_SECRET not in result.stdout + result.stderr
    document = json.loads(result.stdout)
    assert document["ok"] is True
    text = run(tmp_path, "check-config", **environ).stdout
    assert re.search("^cell_uids +auto$", text, re.MULTILINE)
    assert re.search("^cells_memory +three quarters", text, re.MULTILINE)
    parts = {"public", "provider", "secrets_keys", "limits", "warnings"}
    fields = {field.name for field in attrs.fields(Settings)} - parts
    assert fields <= document["settings"].keys()


def test_a_wrong_configuration_is_reported_whole(tmp_path: Path) -> None:
    """`check-config` exits with 1 and names every problem, as text and as JSON."""
    result = run(tmp_path, "check-config", LISTEN="x")
    assert result.returncode == 1
    assert result.stdout == ""
    for name in ("BASE_DOMAIN", "JWT_SECRET", "OIDC_ISSUER", "LISTEN"):
        assert f"  {name}: " in result.stderr
    as_json = run(tmp_path, "check-config", "--json", LISTEN="x")
    assert as_json.returncode == 1
    named = {problem["setting"] for problem in json.loads(as_json.stdout)["problems"]}
    assert {"BASE_DOMAIN", "JWT_SECRET", "OIDC_ISSUER", "LISTEN"} <= named


def test_check_config_reads_the_env_file(tmp_path: Path) -> None:
    """`check-config` sees the `.env` of the working directory, as the daemon does."""
    (tmp_path / ".env").write_text("MAX_CELLS=7\n")
    result = run(tmp_path, "check-config", "--dev", "--json")
    assert json.loads(result.stdout)["settings"]["max_cells"] == 7


def test_a_backup_that_cannot_be_written_is_told_by_its_name(tmp_path: Path) -> None:
    """Where `backup` cannot write, it names the file that was asked for and no other."""
    (tmp_path / "faas.db").touch()
    target = tmp_path / "missing" / "b.tar"
    result = run(tmp_path, "backup", str(target), DATA_DIR=str(tmp_path))
    assert result.returncode == 1
    assert result.stderr == f"Error: {target} cannot be written: No such file or directory\n"


def test_doctor_passes_a_development_machine(tmp_path: Path) -> None:
    """`doctor --dev` finds nothing that would keep the daemon from working here."""
    result = run(tmp_path, "doctor", "--dev", "--json", LISTEN="unix:./faas.sock", DATA_DIR="data")
    document = json.loads(result.stdout)
    bad = [finding for finding in document["findings"] if finding["level"] == "failed"]
    assert (result.returncode, bad) == (0, [])
    assert {"DATA_DIR", "disk", "workerd", "CA certificates"} <= by_subject(document).keys()
    assert not (tmp_path / "data").exists()


def test_doctor_reports_wrong_settings(tmp_path: Path) -> None:
    """`doctor` without settings exits with 1 and has each missing one as a finding."""
    result = run(tmp_path, "doctor")
    assert result.returncode == 1
    assert "failed" in result.stdout
    assert "JWT_SECRET" in result.stdout


def test_doctor_looks_at_the_machine_while_settings_are_wrong(tmp_path: Path) -> None:
    """`doctor` without a configuration says what it finds of workerd, directory and walls."""
    environ = {"DATA_DIR": "data", "CELL_UIDS": "nonsense"}
    result = run(tmp_path, "doctor", "--json", **environ)
    assert result.returncode == 1
    found = by_subject(json.loads(result.stdout))
    assert found["BASE_DOMAIN"]["level"] == found["CELL_UIDS"]["level"] == "failed"
    assert str(tmp_path / "data") in found["DATA_DIR"]["detail"]
    assert found["workerd"]["level"] == "ok" and found["CA certificates"]["level"] == "ok"
    assert "privileges" in found and "OIDC_ISSUER" in found
    missing = by_subject(json.loads(run(tmp_path, "doctor", "--json", WORKERD="/nope").stdout))
    assert "/nope" in missing["WORKERD"]["detail"]


@pytest.mark.parametrize("issuer", ["http://127.0.0.1:1"])
def test_doctor_says_that_the_provider_is_away(tmp_path: Path, issuer: str) -> None:
    """A provider that refuses connections fails, with the URL that was asked."""
    environ = {**PRODUCTION, "OIDC_ISSUER": issuer, "LISTEN": "unix:./faas.sock"}
    result = run(tmp_path, "doctor", "--json", DATA_DIR="data", **environ)
    finding = by_subject(json.loads(result.stdout))["OIDC_ISSUER"]
    assert result.returncode == 1
    assert finding["level"] == "failed"
    assert f"{issuer}/.well-known/openid-configuration" in finding["detail"]
