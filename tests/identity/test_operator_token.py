"""`workerd-faas token`: tokens without a login."""

import json
import os
import re
import tempfile
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from workerd_faas.operator.partial import data_directory
from workerd_faas.operator.root import operate
from workerd_faas.store.database import FILE_NAME, connect


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """
    An empty DATA_DIR that is not there yet.
    """
    monkeypatch.setenv("DATA_DIR", str(tmp_path / "data"))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "data"


def run(*arguments: str) -> Result:
    """
    Run the command.
    """
    return CliRunner().invoke(operate, ["token", *arguments])


def made(*arguments: str) -> Any:
    """
    What `create --json` printed.
    """
    result = run("create", *arguments, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_a_token_needs_no_daemon_and_no_other_setting(directory: Path) -> None:
    """
    The directory and the database are made, for their owner alone.
    """
    token = made("--account", "acme")
    assert token["token"].startswith("wft_")
    assert len(token["account_id"]) == 32
    assert token["account"] == "acme"
    assert directory.stat().st_mode & 0o777 == 0o700
    assert (directory / FILE_NAME).stat().st_mode & 0o777 == 0o600


def test_an_account_is_made_once(directory: Path) -> None:
    """
    The same name is the same account, another one another, and an id is the account itself.
    """
    first, second, other = made("--account", "a"), made("--account", "a"), made("--account", "b")
    assert first["account_id"] == second["account_id"] != other["account_id"]
    assert first["token"] != second["token"]
    assert made("--account", other["account_id"])["account"] == "b"


def test_plain_output_has_the_token_and_the_account(directory: Path) -> None:
    """
    Both stand there, and the account's id is the only thing that looks like one.
    """
    result = run("create", "--account", "acme")
    assert result.exit_code == 0
    assert re.search(r"\bwft_[0-9A-Za-z]{49}\b", result.stdout)
    assert len(re.findall(r"\b[0-9a-f]{32}\b", result.stdout)) == 1


@pytest.mark.parametrize("name", ["", " ", "a\nb", "0" * 32, "x" * 101])
def test_a_name_that_is_none_makes_nothing(directory: Path, name: str) -> None:
    """
    One line says why, and there is no account.
    """
    result = run("create", "--account", name)
    assert result.exit_code == 1
    assert result.stderr.startswith("Error: ")
    with closing(connect(directory / FILE_NAME)) as connection:
        assert connection.execute("SELECT count(*) FROM accounts").fetchone() == (0,)


def test_tokens_are_listed_and_revoked(directory: Path) -> None:
    """
    A listed token can be revoked by its id, once; the list never shows secrets.
    """
    missing = run("list")
    assert (missing.exit_code, directory.exists()) == (1, False)
    assert f"There is no database in {directory}" in missing.stderr
    token = made("--account", "acme", "--name", "deployer")
    listed = run("list")
    assert token["id"] in listed.stdout and "deployer" in listed.stdout
    assert token["token"] not in listed.stdout
    (shown,) = json.loads(run("list", "--json").stdout)
    assert shown["id"] == token["id"] and "token" not in shown
    assert run("revoke", token["id"]).exit_code == 0
    again = run("revoke", token["id"])
    assert (again.exit_code, again.stderr) == (1, "Error: There is no token with this id.\n")
    assert json.loads(run("list", "--json").stdout) == []


def test_a_directory_that_nobody_named_is_not_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Without DATA_DIR a token is made only where a daemon has been.
    """
    monkeypatch.delenv("DATA_DIR", raising=False)
    monkeypatch.chdir(tmp_path)
    refused = run("create", "--account", "a", "--dev")
    assert (refused.exit_code, (tmp_path / ".data").exists()) == (1, False)
    assert "DATA_DIR" in refused.stderr


def test_a_token_may_be_narrow(directory: Path) -> None:
    """
    Scopes and functions are kept, and unknown ones are a usage error.
    """
    token = made("--account", "a", "--scope", "workers:write", "--function", "shop")
    assert (token["scopes"], token["functions"]) == (["workers:write"], ["shop"])
    assert run("create", "--account", "a", "--scope", "workers").exit_code == 2
    assert run("create", "--account", "a", "--function", "No").exit_code == 2


def test_an_unusable_directory_is_one_clear_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    A DATA_DIR that is a file, and a database that is none, say which.
    """
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("x")
    monkeypatch.setenv("DATA_DIR", str(tmp_path / "file"))
    assert str(tmp_path / "file") in run("list").stderr
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / FILE_NAME).write_text("this is no database, but long enough" * 100)
    monkeypatch.setenv("DATA_DIR", str(tmp_path / "d"))
    result = run("list")
    assert result.exit_code == 1
    assert FILE_NAME in result.stderr


def test_data_dir_comes_from_where_the_daemon_has_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    The env file counts after the environment, and `--dev` has a default of its own.
    """
    monkeypatch.delenv("DATA_DIR", raising=False)
    monkeypatch.chdir(tmp_path)
    assert data_directory(True, None) == tmp_path / ".data"
    (tmp_path / ".env").write_text("DATA_DIR=from-file\n")
    assert data_directory(True, None) == tmp_path / "from-file"
    monkeypatch.setenv("DATA_DIR", "from-environment")
    assert data_directory(False, None) == tmp_path / "from-environment"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else")
def test_root_makes_files_that_the_daemons_user_can_open(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """
    In a directory of another user the database belongs to that user.
    """
    with tempfile.TemporaryDirectory(dir="/tmp") as made_for_daemon:
        os.chown(made_for_daemon, 12345, 12345)
        monkeypatch.setenv("DATA_DIR", made_for_daemon)
        monkeypatch.chdir("/")
        try:
            result = run("create", "--account", "acme")
        finally:
            os.seteuid(0)
            os.setegid(0)
        assert result.exit_code == 0, result.output
        found = (Path(made_for_daemon) / FILE_NAME).stat()
        assert (found.st_uid, found.st_gid) == (12345, 12345)
