"""A developer at a shell: `wrkst` with a home directory of its own."""

import json
import re
import shutil
import subprocess
from html import unescape
from html.parser import HTMLParser
from http.cookiejar import CookieJar
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode, urljoin
from urllib.request import HTTPCookieProcessor, OpenerDirector, ProxyHandler, build_opener

from tests.e2e.daemon import BIN, ROOT, Daemon

EXAMPLES: Final = ROOT / "examples"


class Developer:
    """
    Runs wrkst; with a token until `login` is called.
    """

    def __init__(self, home: Path, daemon: Daemon, *, token: bool = True) -> None:
        self.home = home
        self.daemon = daemon
        home.mkdir(parents=True, exist_ok=True)
        self.environment = {
            "PATH": f"{BIN}:/usr/bin:/bin",
            "HOME": str(home),
            "NO_COLOR": "1",
        }
        if token:
            self.environment |= {"WRKST_URL": daemon.url, "WRKST_TOKEN": daemon.token}

    def example(self, name: str) -> Path:
        """
        A copy of an example project, with its dependencies installed.
        """
        project = self.home / name
        shutil.copytree(EXAMPLES / name, project)
        (project / "node_modules").symlink_to(ROOT / "node_modules")
        return project

    def run(
        self, *arguments: str, cwd: Path | None = None, expect: int = 0, stdin: str = ""
    ) -> str:
        """
        Run wrkst; returns what it printed.
        """
        done = subprocess.run(
            [BIN / "wrkst", *arguments],
            cwd=cwd or self.home,
            env=self.environment,
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == expect, (done.returncode, done.stdout, done.stderr)
        return done.stdout + done.stderr

    def json(self, *arguments: str, cwd: Path | None = None) -> Any:
        """
        Run wrkst with --json; returns what it printed on standard output.
        """
        done = subprocess.run(
            [BIN / "wrkst", *arguments, "--json"],
            cwd=cwd or self.home,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, (done.returncode, done.stdout, done.stderr)
        return json.loads(done.stdout)

    def login(self, name: str) -> str:
        """
        `wrkst login` with a browser that signs in at the built-in provider; returns its output.
        """
        with subprocess.Popen(
            [BIN / "wrkst", "login", "--no-browser"],
            cwd=self.home,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        ) as login:
            assert login.stdout is not None
            printed = ""
            while "code_challenge=" not in printed:
                line = login.stdout.readline()
                assert line, printed
                printed += line
            (url,) = re.findall(r"http://\S+/oauth2/auth\S+", printed)
            sign_in(url, name)
            rest, _ = login.communicate(timeout=60)
            assert login.returncode == 0, printed + rest
            return printed + rest


class _Form(HTMLParser):
    """
    The first form of a page: its action and its fields.
    """

    def __init__(self) -> None:
        super().__init__()
        self.action = ""
        self.fields: dict[str, str] = {}

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """
        See the base class.
        """
        found = dict(attrs)
        if tag == "form":
            self.action = found.get("action") or ""
        elif tag == "input" and found.get("name"):
            self.fields[str(found["name"])] = found.get("value") or ""


def browser() -> OpenerDirector:
    """
    A client with cookies that follows redirects, like a browser without scripts.
    """
    return build_opener(HTTPCookieProcessor(CookieJar()), ProxyHandler({}))


def confirm_device(link: str, name: str, client: OpenerDirector, decision: str = "allow") -> None:
    """
    What a person does in a browser to let a program in that shows a code: follow the link, sign in
    under this name, decide.
    """

    def submit(page: Any, **more: str) -> Any:
        form = _Form()
        form.feed(page.read().decode())
        data = urlencode(form.fields | more).encode()
        return client.open(urljoin(page.url, form.action), data=data, timeout=60)

    with client.open(link, timeout=60) as page:
        (onward,) = re.findall(r'<a href="([^"]+)"', page.read().decode())
    with (
        client.open(unescape(onward), timeout=60) as page,
        submit(page, name=name) as asked,
        submit(asked, decision=decision) as last,
    ):
        said = last.read().decode()
    assert ("let in" if decision == "allow" else "refused") in said


def sign_in(url: str, name: str) -> str:
    """
    Open the authorization URL, sign in under this name, follow to the end; returns the last page.
    """
    client = browser()
    with client.open(url, timeout=60) as page:
        form = _Form()
        form.feed(page.read().decode())
        action = urljoin(page.url, form.action)
    data = urlencode(form.fields | {"name": name}).encode()
    with client.open(action, data=data, timeout=60) as last:
        text: str = last.read().decode()
        return text
