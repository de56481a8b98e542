"""A new user: a project, three environment variables, the unmodified Wrangler, nothing else."""

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import attrs
import pytest

from tests.e2e.daemon import BIN, ROOT, Daemon, running, until
from tests.e2e.developer import EXAMPLES
from tests.e2e.wrangling import WRANGLER

CRON_SECONDS = 150


@attrs.frozen
class User:
    """
    A shell in which three variables are set.
    """

    home: Path
    daemon: Daemon

    def project(self, name: str) -> Path:
        """
        A copy of an example, and `npm install` done.
        """
        project = self.home / name
        shutil.copytree(EXAMPLES / name, project)
        (project / "node_modules").symlink_to(ROOT / "node_modules")
        return project

    def wrangler(self, project: Path, *arguments: str) -> str:
        """
        `npx wrangler …`, which has the project's programs in its path; what Wrangler printed.
        """
        done = subprocess.run(
            [BIN / "node", WRANGLER, *arguments],
            cwd=project,
            env={
                "PATH": f"{project}/node_modules/.bin:{BIN}:/usr/bin:/bin",
                "HOME": str(self.home),
                "CLOUDFLARE_API_BASE_URL": f"{self.daemon.url}/client/v4",
                "CLOUDFLARE_API_TOKEN": self.daemon.token,
                "CLOUDFLARE_ACCOUNT_ID": self.daemon.account,
            },
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        printed = done.stdout + done.stderr
        assert done.returncode == 0, printed
        return printed


@pytest.fixture(scope="module")
def user(tmp_path_factory: pytest.TempPathFactory) -> Iterator[User]:
    """
    One daemon for all, with the clock deployed first: its minute passes meanwhile.
    """
    with running(dev=True) as daemon:
        user = User(tmp_path_factory.mktemp("user"), daemon)
        user.wrangler(user.project("clock"), "deploy")
        yield user


def test_a_new_project_is_deployed(user: User) -> None:
    """
    The project as `npm create cloudflare` makes it answers after `wrangler deploy`, and a change of
    it after the next one; Wrangler says where.
    """
    project = user.project("typescript")
    printed = user.wrangler(project, "deploy")
    assert f"typescript.{user.daemon.base_domain}" in printed
    assert user.daemon.function("typescript").text == "Hello World!"
    assert user.daemon.function("typescript", "/?name=you").text == "Hello you!"
    source = project / "src" / "hello.ts"
    source.write_text(source.read_text().replace("Hello", "Welcome,"))
    user.wrangler(project, "deploy")
    assert user.daemon.function("typescript").text == "Welcome, World!"


def test_kv(user: User) -> None:
    """
    The namespace is made by the deploy; links work, and Wrangler reads the same values.
    """
    project, ask = user.project("links"), user.daemon.function
    user.wrangler(project, "deploy")
    made = ask("links", "/ex", method="PUT", body=b"https://example.com/")
    assert made.status == 201
    assert ask("links", "/no", method="PUT", body=b"nowhere").status == 400
    there = ask("links", "/ex")
    assert (there.status, there.headers["location"]) == (302, "https://example.com/")
    assert ask("links").document == [{"name": "ex", "to": "https://example.com/"}]
    got = user.wrangler(project, "kv", "key", "get", "ex", "--binding", "LINKS", "--remote")
    assert "https://example.com/" in got
    assert ask("links", "/ex", method="DELETE").status == 204
    assert ask("links", "/ex").status == 404
    # A second deploy keeps the namespace.
    ask("links", "/kept", method="PUT", body=b"https://example.com/")
    user.wrangler(project, "deploy")
    assert ask("links", "/kept").status == 302


def test_d1_with_migrations(user: User) -> None:
    """
    The database is made by the deploy, its tables by the migrations, which are applied once.
    """
    project, ask = user.project("guestbook"), user.daemon.function
    user.wrangler(project, "deploy")
    migrate = ("d1", "migrations", "apply", "guestbook", "--remote")
    printed = user.wrangler(project, *migrate)
    assert "0001_entries.sql" in printed
    assert "0002_when.sql" in printed
    assert "No migrations to apply" in user.wrangler(project, *migrate)
    entry = json.dumps({"name": "Ada", "text": "Lovely: é ∂ 😀"}).encode()
    assert ask("guestbook", method="POST", body=entry).document == {"id": 1}
    assert ask("guestbook").document == [{"id": 1, "name": "Ada", "text": "Lovely: é ∂ 😀"}]
    counted = user.wrangler(
        project,
        *("d1", "execute", "guestbook", "--remote", "--json"),
        *("--command", "SELECT count(*) AS n FROM entries"),
    )
    assert json.loads(counted[counted.index("[") :])[0]["results"] == [{"n": 1}]


def test_a_queue(user: User) -> None:
    """
    Messages reach the consumer; what is retried too often comes out of the dead letter queue.
    """
    project, ask = user.project("newsletter"), user.daemon.function
    for queue in ("letters", "undeliverable"):
        user.wrangler(project, "queues", "create", queue)
    user.wrangler(project, "deploy")
    addresses = b'["ada@example.com", "nowhere", "grace@example.com"]'
    assert ask("newsletter", method="POST", body=addresses).document == {"queued": 3}
    became = {"ada@example.com": "sent", "grace@example.com": "sent", "nowhere": "given up"}
    until(lambda: ask("newsletter").document == became, "the letters are sent or given up")


def test_a_site_made_with_vite_and_react(user: User) -> None:
    """
    `wrangler deploy` runs the build and uploads the site; it answers, and so does its API.
    """
    user.wrangler(user.project("react"), "deploy")
    page = user.daemon.function("react", "/any/route")
    assert page.headers["content-type"].startswith("text/html")
    assert '<div id="root">' in page.text
    assert user.daemon.function("react", "/api/quote?count=2").document == {
        "count": 2,
        "cents": 900,
    }


def test_an_api_made_with_hono(user: User) -> None:
    """
    Routes, variables and errors of the framework work.
    """
    user.wrangler(user.project("hono"), "deploy")
    assert "sells 2 things" in user.daemon.function("hono").text
    assert user.daemon.function("hono", "/items/1").document["name"] == "tea"
    assert user.daemon.function("hono", "/items/9").status == 404


def test_a_cron_trigger(user: User) -> None:
    """
    It has run by now, on the minute, and what it stored is there.
    """

    def ran() -> bool:
        return bool(user.daemon.function("clock").document["runs"])

    until(ran, "the schedule has run", CRON_SECONDS)
    last = user.daemon.function("clock").document["last"]
    assert last.endswith(":00.000Z")
    (schedule,) = user.daemon.api("GET", "/workers/scripts/clock/schedules").result["schedules"]
    assert schedule["cron"] == "* * * * *"
    assert schedule["last_run"]["outcome"] == "ok"
