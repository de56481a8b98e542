"""The unmodified Wrangler against the daemon."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.daemon import BIN, ROOT, Daemon

WRANGLER = ROOT / "node_modules" / "wrangler" / "bin" / "wrangler.js"


class Project:
    """
    A directory with a Worker, deployed by Wrangler.
    """

    def __init__(self, directory: Path, daemon: Daemon) -> None:
        self.directory = directory
        self.daemon = daemon
        self.write("index.ts", self.code("one"))
        self.configure(vars={"GREETING": "hello", "NUMBER": 7})

    @staticmethod
    def code(text: str) -> str:
        """
        A TypeScript Worker that answers with a text and its variables.
        """
        return (
            "interface Env { GREETING: string; NUMBER: number }\n"
            "export default { async fetch(_request: Request, env: Env): Promise<Response> {\n"
            f"  return new Response(`{text} ${{env.GREETING}} ${{env.NUMBER}}`);\n"
            "} } satisfies ExportedHandler<Env>;\n"
        )

    def write(self, name: str, text: str) -> None:
        """
        Write a file of the project.
        """
        (self.directory / name).write_text(text)

    def configure(self, **settings: Any) -> None:
        """
        Write wrangler.jsonc.
        """
        document = {"name": "wrangled", "main": "index.ts", "compatibility_date": "2026-11-01"}
        self.write("wrangler.jsonc", json.dumps(document | settings))

    def run(self, *arguments: str, expect: int = 0) -> str:
        """
        Run wrangler; returns what it printed.
        """
        daemon = self.daemon
        environment = {
            "PATH": f"{BIN}:/usr/bin:/bin",
            "HOME": str(self.directory),
            "CI": "1",
            "NO_COLOR": "1",
            "WRANGLER_SEND_METRICS": "false",
            "WRANGLER_HIDE_BANNER": "true",
            "CLOUDFLARE_API_BASE_URL": f"{daemon.url}/client/v4",
            "CLOUDFLARE_API_TOKEN": daemon.token,
            "CLOUDFLARE_ACCOUNT_ID": daemon.account,
            "no_proxy": "localhost,127.0.0.1",
        }
        if "NODE_EXTRA_CA_CERTS" in os.environ:
            environment["NODE_EXTRA_CA_CERTS"] = os.environ["NODE_EXTRA_CA_CERTS"]
        done = subprocess.run(
            [BIN / "node", WRANGLER, *arguments],
            cwd=self.directory,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        printed = done.stdout + done.stderr
        assert done.returncode == expect, printed
        return printed


@pytest.fixture
def project(tmp_path: Path, dev: Daemon) -> Project:
    """
    A project against the daemon that `make run` starts: Wrangler cannot send a Host header.
    """
    return Project(tmp_path, dev)


def test_wrangler_deploys_versions_and_deletes(project: Project) -> None:
    """
    whoami, deploy, deploy again, versions, deployments, rollback and delete do what they say.
    """
    daemon = project.daemon
    assert "tests" in project.run("whoami")
    assert "wrangled.localhost" in project.run("deploy")
    assert daemon.function("wrangled").text == "one hello 7"

    project.write("index.ts", project.code("two"))
    project.run("deploy", "--message", "the second")
    assert daemon.function("wrangled").text == "two hello 7"

    project.write("index.ts", project.code("three"))
    project.run("versions", "upload", "--tag", "v3")
    assert daemon.function("wrangled").text == "two hello 7"
    listed = json.loads(project.run("versions", "list", "--json"))
    newest = max(listed, key=lambda version: version["metadata"]["created_on"])
    assert newest["annotations"]["workers/tag"] == "v3"
    assert "GREETING" in project.run("versions", "view", newest["id"])

    project.run("versions", "deploy", f"{newest['id']}@100%", "-y")
    assert daemon.function("wrangled").text == "three hello 7"
    status = json.loads(project.run("deployments", "status", "--json"))
    assert status["versions"] == [{"version_id": newest["id"], "percentage": 100}]
    assert "the second" in project.run("deployments", "list")

    project.run("rollback", "-y", "--message", "back")
    assert daemon.function("wrangled").text == "two hello 7"

    project.run("delete", "--force")
    assert daemon.function("wrangled").status == 404


def test_wrangler_is_told_where_the_mistake_is(project: Project) -> None:
    """
    An exception at start-up fails the deploy with the position in the user's own file.
    """
    code = "const x: number = 1;\n\nthrow new TypeError('at start ' + x);\nexport default {};\n"
    project.write("index.ts", code)
    printed = project.run("deploy", expect=1)
    assert "at start 1" in printed
    assert "index.ts:3" in printed


def test_wrangler_is_told_what_does_not_work_yet(project: Project) -> None:
    """
    A binding that is not supported is refused by its name.
    """
    project.configure(ai={"binding": "MY_AI"})
    printed = project.run("deploy", expect=1)
    assert "MY_AI" in printed
    assert "not supported yet" in printed
