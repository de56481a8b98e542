"""`wrkst login` in a real browser, through npm oidc-provider and through the built-in provider."""

import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import attrs
import pytest
from playwright.sync_api import Page

from tests.e2e.daemon import BIN, ROOT, Daemon, directory, running
from tests.oidc.chromium import page

CLIENT = ("workerd-faas", "only-for-this-test-0123456789abcdef")


class LocalDaemon(Daemon):
    """
    A daemon as in production, on a host that a browser finds.
    """

    @property
    def base_domain(self) -> str:
        """
        See `Daemon.base_domain`.
        """
        return "localhost"

    @property
    def url(self) -> str:
        """
        See `Daemon.url`.
        """
        return f"http://localhost:{self.port}"


@attrs.define
class Developer:
    """
    Somebody with `wrkst` and an empty home.
    """

    home: Path

    @property
    def _environment(self) -> dict[str, str]:
        return {"PATH": f"{BIN}:/usr/bin:/bin", "HOME": str(self.home)}

    def wrkst(self, *arguments: str) -> str:
        """
        Run a command; what it printed.
        """
        done = subprocess.run(
            [BIN / "wrkst", *arguments],
            env=self._environment,
            cwd=self.home,
            capture_output=True,
            text=True,
            check=False,
            timeout=240,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    @contextmanager
    def login(self) -> Iterator[str]:
        """
        `wrkst login --no-browser`: gives the address to open, and succeeds by the end.
        """
        with subprocess.Popen(
            [BIN / "wrkst", "login", "--no-browser", "--timeout", "240"],
            env=self._environment,
            cwd=self.home,
            stdin=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            assert process.stderr is not None
            said = []
            for line in process.stderr:
                said.append(line)
                if line.startswith("http://"):
                    break
            try:
                yield said[-1].strip()
                assert process.wait(240) == 0, process.stderr.read()
            finally:
                process.kill()

    def whoami(self) -> Any:
        """
        Who the server thinks it is.
        """
        return json.loads(self.wrkst("whoami", "--json"))


@pytest.fixture
def developer() -> Iterator[Developer]:
    """
    Somebody new.
    """
    with directory() as home:
        yield Developer(home)


@contextmanager
def npm_provider(daemon: Daemon) -> Iterator[str]:
    """
    The issuer of an oidc-provider that knows this daemon as its client.
    """
    redirect_uri = f"{daemon.url}/auth/callback"
    with subprocess.Popen(
        [BIN / "node", ROOT / "tests/oidc/provider.mjs", *CLIENT, redirect_uri],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env={"PATH": os.environ["PATH"]},
    ) as process:
        try:
            assert process.stdout is not None
            issuer = process.stdout.readline().strip()
            assert issuer.startswith("http://127.0.0.1:"), "oidc-provider did not start"
            yield issuer
        finally:
            process.kill()


@contextmanager
def daemon_with_npm_provider() -> Iterator[Daemon]:
    """
    A daemon whose users log in at an oidc-provider.
    """
    with directory() as path:
        daemon = LocalDaemon(path)
        with npm_provider(daemon) as issuer:
            daemon.settings = {
                "PUBLIC_URL": daemon.url,
                "OIDC_ISSUER": issuer,
                "OIDC_CLIENT_ID": CLIENT[0],
                "OIDC_CLIENT_SECRET": CLIENT[1],
            }
            try:
                yield daemon.start()
            finally:
                if daemon.process is not None and daemon.process.poll() is None:
                    daemon.kill()


def ends_at_the_cli(browser: Page) -> None:
    """
    The browser has arrived at the page that the CLI itself serves, and takes its style.
    """
    browser.wait_for_url("http://127.0.0.1:*/callback?*")
    assert "wrkst" in browser.content()
    box = browser.locator("h1").bounding_box()
    assert box is not None and box["width"] < 720


def test_login_through_npm_oidc_provider(developer: Developer) -> None:
    """
    Signing in and consenting at a real provider ends with a login that the API takes.
    """
    with daemon_with_npm_provider() as daemon, page() as browser:
        developer.wrkst("config", "set-url", daemon.url)
        with developer.login() as url:
            browser.goto(url)
            browser.fill("input[name=login]", "ada")
            browser.fill("input[name=password]", "any")
            browser.click("button[type=submit]")
            browser.click("button[type=submit]")
            ends_at_the_cli(browser)
        first = developer.whoami()
        assert first["email"] == "ada@example.com"
        # The provider remembers the browser: the second login needs no hand.
        with developer.login() as url:
            browser.goto(url)
            ends_at_the_cli(browser)
        assert developer.whoami()["accounts"] == first["accounts"]


def test_login_through_the_built_in_provider(developer: Developer) -> None:
    """
    With `--dev` any name signs in, the same name is the same account, another one is not, and
    cancelling ends the CLI's wait.
    """
    with running(dev=True) as daemon, page() as browser:
        developer.wrkst("config", "set-url", daemon.url)
        accounts = []
        for name in ("Ada", "Grace", "Ada"):
            with developer.login() as url:
                browser.goto(url)
                browser.fill("input[name=name]", name)
                browser.click("text=Sign in >> nth=-1")
                ends_at_the_cli(browser)
            accounts.append(developer.whoami()["accounts"][0]["id"])
        assert accounts[0] == accounts[2] != accounts[1]
        with pytest.raises(AssertionError, match="login was refused"), developer.login() as url:
            browser.goto(url)
            browser.click("text=Cancel")
            browser.wait_for_url("http://127.0.0.1:*/callback?*error=access_denied*")
