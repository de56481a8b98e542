"""Secrets by the unmodified Wrangler, in a function that says what it was given."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.daemon import Daemon, running
from tests.e2e.wrangling import environment, wrangler

CODE = "export default { fetch(request, env) { return Response.json(env); } };"


class Project:
    """
    A Worker that answers with its whole `env`.
    """

    def __init__(self, directory: Path, daemon: Daemon, name: str) -> None:
        self.directory, self.daemon, self.name = directory, daemon, name
        self.variables = environment(directory / "home", daemon)
        (directory / "index.js").write_text(CODE)
        self.configure()

    def configure(self, **settings: Any) -> None:
        """
        Write wrangler.json.
        """
        document = {"name": self.name, "main": "index.js", "compatibility_date": "2026-11-01"}
        (self.directory / "wrangler.json").write_text(json.dumps(document | settings))

    def run(self, *arguments: str, stdin: str = "", expect: int = 0) -> str:
        """
        Run Wrangler.
        """
        return wrangler(self.directory, self.variables, *arguments, stdin=stdin, expect=expect)

    def env(self) -> Any:
        """
        What the function is given.
        """
        return self.daemon.function(self.name).document


@pytest.fixture
def project(tmp_path: Path, dev: Daemon, request: pytest.FixtureRequest) -> Project:
    """
    A project of a name of its own.
    """
    name = re.sub(r"[^a-z0-9]+", "-", request.node.name)
    return Project(tmp_path, dev, name[-60:].strip("-"))


def test_secrets_put_list_delete_bulk(project: Project) -> None:
    """
    Each command shows in the function at once, deploys keep secrets, and none is ever printed.
    """
    project.configure(vars={"V": "v"})
    project.run("deploy")
    said = project.run("secret", "put", "KEY", stdin="open sesame")
    assert project.env() == {"V": "v", "KEY": "open sesame"}
    said += project.run("deploy")
    assert project.env() == {"V": "v", "KEY": "open sesame"}
    listed = json.loads(project.run("secret", "list"))
    assert listed == [{"name": "KEY", "type": "secret_text"}]
    bulk = {"ONE": "open 1", "TWO": "open 2"}
    said += project.run("secret", "bulk", stdin=json.dumps(bulk))
    assert project.env() == {"V": "v", "KEY": "open sesame", **bulk}
    said += project.run("secret", "bulk", stdin=json.dumps({"TWO": None}))
    said += project.run("secret", "delete", "KEY")
    assert project.env() == {"V": "v", "ONE": "open 1"}
    said += project.run("versions", "list") + project.run("deployments", "list")
    said += project.daemon.log
    assert "open " not in said.replace("open a", "")


def test_a_secret_makes_the_worker_it_is_put_on(project: Project) -> None:
    """
    `secret put` on a missing Worker makes a draft with the secret, which the first deploy keeps.
    """
    assert project.name in project.run("secret", "list", expect=1)
    project.run("secret", "put", "EARLY", stdin="bird")
    assert json.loads(project.run("secret", "list"))[0]["name"] == "EARLY"
    project.run("deploy")
    assert project.env() == {"EARLY": "bird"}


def test_secrets_of_versions(project: Project) -> None:
    """
    `versions secret` makes versions that wait, `secret put` refuses meanwhile, and a deploy of the
    version brings its secrets.
    """
    project.run("deploy")
    project.run("versions", "secret", "put", "KEY", "--message", "why", stdin="1")
    assert project.env() == {}
    assert "KEY" in project.run("versions", "secret", "list", "--latest-version")
    assert "KEY" not in project.run("versions", "secret", "list")
    refused = project.run("secret", "put", "OTHER", stdin="2", expect=1)
    assert "isn't currently deployed" in refused
    project.run("versions", "secret", "bulk", stdin=json.dumps({"A": "a", "B": "b"}))
    project.run("versions", "secret", "delete", "A")
    newest = json.loads(project.run("versions", "list", "--json"))[-1]["id"]
    project.run("versions", "deploy", f"{newest}@100%", "-y")
    assert project.env() == {"KEY": "1", "B": "b"}


def test_many_secrets_come_from_files_and_pipes(project: Project) -> None:
    """
    `secret bulk` and `versions secret bulk` take JSON and .env files and standard input alike.
    """
    project.run("deploy")
    (project.directory / "s.json").write_text('{"A": "1", "B": "2"}')
    (project.directory / "s.env").write_text('B=two\nC="of two words"\n')
    project.run("secret", "bulk", "s.json")
    project.run("secret", "bulk", "s.env")
    project.run("secret", "bulk", stdin="D=four\n")
    found = {"A": "1", "B": "two", "C": "of two words", "D": "four"}
    assert project.env() == found
    project.run("versions", "secret", "bulk", "s.json", "--message", "why", "--tag", "t7")
    project.run("versions", "secret", "bulk", "s.env")
    project.run("versions", "secret", "bulk", stdin='{"A": null, "E": "5"}')
    assert project.env() == found
    versions = json.loads(project.run("versions", "list", "--json"))
    assert [each["annotations"].get("workers/tag") for each in versions[-3:]] == ["t7", None, None]
    project.run("versions", "deploy", f"{versions[-1]['id']}@100%", "-y")
    assert project.env() == {"B": "two", "C": "of two words", "D": "four", "E": "5"}


def test_a_rollback_over_changed_secrets_asks(project: Project) -> None:
    """
    Wrangler names the changed secrets, and goes back once that is confirmed.
    """
    project.run("deploy")
    project.run("secret", "put", "CHANGED", stdin="1")
    project.run("deploy")
    project.run("secret", "put", "CHANGED", stdin="2")
    assert project.env() == {"CHANGED": "2"}
    printed = project.run("rollback", "--message", "back")
    assert "* CHANGED" in printed
    assert project.env() == {"CHANGED": "1"}


def test_what_goes_wrong_is_said(project: Project) -> None:
    """
    A missing Worker, secret and previous version, and a taken name, are told by Wrangler itself.
    """
    printed = project.run("versions", "secret", "put", "A", stdin="1", expect=1)
    assert "no uploaded versions" in printed
    assert "Worker does not exist" in project.run("deployments", "list", expect=1)
    assert "10007" in project.run("secret", "delete", "A", expect=1)
    project.configure(vars={"V": "v"})
    project.run("deploy")
    assert "10056" in project.run("secret", "delete", "GONE", expect=1)
    assert "already in use" in project.run("secret", "put", "V", stdin="1", expect=1)
    assert "rollback to" in project.run("rollback", "-y", expect=1)


def test_a_required_secret_that_is_missing_is_named(project: Project) -> None:
    """
    `secrets.required` in the configuration fails a deploy until the secret is there.
    """
    project.run("deploy")
    project.configure(secrets={"required": ["NEEDED"]})
    assert "NEEDED" in project.run("deploy", expect=1)
    project.run("secret", "put", "NEEDED", stdin="1")
    project.run("deploy")
    assert project.env() == {"NEEDED": "1"}


@pytest.mark.parametrize("date", ["2026-11-01", "2026-11-17"])
def test_a_mistake_is_told_in_the_developers_own_file(project: Project, date: str) -> None:
    """
    An exception at start-up is told with its position in the source, whichever date is chosen.
    """
    (project.directory / "source.ts").write_text(
        "type A = 1;\n\nthrow new TypeError('no');\nexport default {};\n"
    )
    project.configure(main="source.ts", compatibility_date=date)
    printed = project.run("deploy", expect=1)
    assert "source.ts:3:7" in printed
    assert "file:///bundle" not in printed


def test_commands_with_nothing_to_change(project: Project) -> None:
    """
    `check startup` measures locally, and `triggers deploy` succeeds without any triggers.
    """
    project.run("deploy")
    assert "cpuprofile" in project.run("check", "startup")
    assert project.name in project.run("triggers", "deploy")
    project.run("types", "--include-runtime=false")
    assert "up to date" in project.run("types", "--include-runtime=false", "--check")


def test_the_key_is_changed_while_the_daemon_runs(tmp_path: Path) -> None:
    """
    `secrets rotate` puts secrets under a new key, and the daemon goes on reading and writing them.
    """
    with running() as daemon:
        daemon.upload("kept", CODE, bindings=[{"name": "A", "type": "secret_text", "text": "a"}])
        database = daemon.directory / "data" / "faas.db"
        assert b'"text"' not in database.read_bytes()
        assert daemon.function("kept").document == {"A": "a"}
        assert "1 secrets encrypted anew" in daemon.operator("secrets", "rotate", "--new-key")
        path = "/workers/scripts/kept/secrets"
        secret = {"name": "B", "type": "secret_text", "text": "b"}
        assert daemon.api("PUT", path, secret).status == 200
        assert daemon.function("kept").document == {"A": "a", "B": "b"}
        assert "0 secrets encrypted anew, 2 were" in daemon.operator(
            "secrets", "rotate", "--forget-old"
        )
        assert len((daemon.directory / "data" / "secrets-key").read_text().split()) == 1
        assert daemon.stop() == 0
        daemon.start()
        assert daemon.function("kept").document == {"A": "a", "B": "b"}
        new = daemon.operator("secrets", "new-key").strip()
        old = (daemon.directory / "data" / "secrets-key").read_text().strip()
        assert daemon.stop() == 0
        daemon.settings["SECRETS_KEY"] = f"{new},{old}"
        assert "2 secrets encrypted anew" in daemon.operator("secrets", "rotate")
        daemon.settings["SECRETS_KEY"] = new
        daemon.start()
        assert daemon.function("kept").document == {"A": "a", "B": "b"}
