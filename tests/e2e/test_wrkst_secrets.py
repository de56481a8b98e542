"""`wrkst secret`, `wrkst versions secret` and `wrkst wrangler` against the daemon."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.daemon import BIN, ROOT, Daemon
from tests.e2e.developer import Developer

CODE = "export default { fetch(request, env) { return Response.json(env); } };"


class Project:
    """
    A developer in the directory of a project whose function answers with its `env`.
    """

    def __init__(self, home: Path, daemon: Daemon, name: str) -> None:
        self.developer, self.daemon, self.name = Developer(home, daemon), daemon, name
        self.directory = home / name
        self.directory.mkdir()
        (self.directory / "index.js").write_text(CODE)
        settings = {"name": name, "main": "index.js", "compatibility_date": "2026-11-01"}
        (self.directory / "wrangler.json").write_text(json.dumps(settings))

    def run(self, *arguments: str, stdin: str = "", expect: int = 0) -> str:
        """
        Run wrkst with a text on its standard input.
        """
        done = subprocess.run(
            [BIN / "wrkst", *arguments],
            cwd=self.directory,
            env=self.developer.environment,
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == expect, (done.returncode, done.stdout, done.stderr)
        return done.stdout + done.stderr

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
    return Project(tmp_path, dev, "wrkst-" + request.node.name[5:25].replace("_", "-").strip("-"))


def test_secrets_are_changed_in_service(project: Project) -> None:
    """
    put, bulk, list and delete show in the function at once; deploys keep secrets; none is printed.
    """
    project.run("deploy")
    said = project.run("secret", "put", "KEY", stdin="open sesame\n")
    assert project.env() == {"KEY": "open sesame"}
    project.run("deploy")
    (project.directory / "many.json").write_text('{"A": "open a", "KEY": null}')
    said += project.run("secret", "bulk", "many.json")
    counted = project.run("secret", "bulk", stdin='{"B": "open b", "NONE": null}')
    assert "1 secret set, NONE was not there." in counted
    said += counted
    assert project.env() == {"A": "open a", "B": "open b"}
    assert json.loads(project.run("secret", "list", "--json")) == [
        {"name": "A", "type": "secret_text"},
        {"name": "B", "type": "secret_text"},
    ]
    said += project.run("secret", "delete", "A")
    assert project.env() == {"B": "open b"}
    assert "10056" in project.run("secret", "delete", "A", expect=1)
    assert "open " not in said


def test_a_secret_may_come_first(project: Project) -> None:
    """
    `secret put` makes a function that is not there, which the first deploy takes over.
    """
    assert "is made" in project.run("secret", "put", "EARLY", stdin="bird")
    assert project.daemon.function(project.name).status == 404
    project.run("deploy")
    assert project.env() == {"EARLY": "bird"}


def test_secrets_of_a_version_wait(project: Project) -> None:
    """
    `versions secret` changes nothing in service until its version is deployed, and `secret put`
    is refused meanwhile.
    """
    project.run("deploy")
    project.run("versions", "secret", "put", "A", "--message", "why", stdin="a")
    project.run("versions", "secret", "bulk", stdin='{"B": "b", "C": "c"}')
    printed = project.run("versions", "secret", "delete", "C")
    assert project.env() == {}
    assert project.run("versions", "secret", "list") == "A\nB\n"
    assert "10215" in project.run("secret", "put", "D", stdin="d", expect=1)
    project.run("versions", "deploy", printed.splitlines()[0], "--yes")
    assert project.env() == {"A": "a", "B": "b"}


def test_going_back_over_changed_secrets_warns(project: Project) -> None:
    """
    `rollback` names the secrets that change with it: those of other texts, and those that the
    earlier version lacks.
    """
    project.run("deploy")
    project.run("secret", "put", "A", stdin="1")
    project.run("secret", "bulk", stdin='{"A": "2", "B": "2"}')
    said = project.run("rollback", "--yes")
    assert "has an earlier text of A and no B" in said
    assert project.env() == {"A": "1"}


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"A": 1}', "A=1", '{"A": "1"'])
def test_a_bulk_that_is_none_is_refused(project: Project, text: str) -> None:
    """
    What is no object of texts is refused before anything is sent.
    """
    assert "JSON object" in project.run("secret", "bulk", stdin=text, expect=2)


def test_no_text_is_no_secret(project: Project) -> None:
    """
    An empty standard input is a mistake and not an empty secret.
    """
    assert "no text" in project.run("secret", "put", "A", expect=2)


def test_wrangler_is_pointed_at_the_server(project: Project) -> None:
    """
    The project's own Wrangler works for the one who is logged in, whatever else the environment
    says, and its exit status is passed on.
    """
    (project.directory / "node_modules").symlink_to(ROOT / "node_modules")
    project.developer.environment |= {
        "CLOUDFLARE_API_KEY": "another",
        "CLOUDFLARE_EMAIL": "another@example.com",
        "CLOUDFLARE_API_BASE_URL": "http://127.0.0.1:1",
        "CI": "1",
    }
    assert "tests" in project.run("wrangler", "--", "whoami")
    project.run("wrangler", "deploy")
    project.run("wrangler", "--", "secret", "put", "KEY", stdin="text")
    assert project.env() == {"KEY": "text"}
    assert "10056" in project.run("wrangler", "--", "secret", "delete", "NONE", expect=1)


def test_a_project_without_wrangler_is_told(project: Project) -> None:
    """
    Without Wrangler in node_modules the command says how to get it.
    """
    assert "npm install" in project.run("wrangler", "--", "whoami", expect=4)
