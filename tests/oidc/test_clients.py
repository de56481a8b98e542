"""Logins without a browser: plain HTTP clients, and Wrangler's own login."""

import http.cookiejar
import re
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

import pytest

from tests.e2e.daemon import BIN, ROOT, Daemon, directory, free_port, running

WRANGLER = ROOT / "node_modules" / "wrangler" / "bin" / "wrangler.js"


class _Form(HTMLParser):
    """
    The form of a page: where it goes and its fields.
    """

    def __init__(self) -> None:
        super().__init__()
        self.action = ""
        self.fields: dict[str, str] = {}

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if tag == "form":
            self.action = given["action"]
        if tag == "input":
            self.fields[given["name"]] = given.get("value", "")


class _StayHere(urllib.request.HTTPRedirectHandler):
    """
    Follow redirects on the daemon's own host only.
    """

    def __init__(self, netloc: str) -> None:
        self._netloc = netloc

    def redirect_request(
        self, req: Any, fp: Any, code: int, msg: str, headers: Any, new: str
    ) -> Any:
        if urlsplit(new).netloc != self._netloc:
            return None
        return super().redirect_request(req, fp, code, msg, headers, new)


def sign_in(url: str, name: str) -> str:
    """
    Open `url`, fill in the built-in provider's form, return the redirect that leaves the daemon.
    """
    opener = urllib.request.build_opener(
        urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar()),
        _StayHere(urlsplit(url).netloc),
    )
    form = _Form()
    with opener.open(url, timeout=30) as answer:
        form.feed(answer.read().decode())
    body = urlencode({**form.fields, "name": name}).encode()
    with pytest.raises(urllib.error.HTTPError) as caught:
        opener.open(form.action, body, timeout=30)
    location: str = caught.value.headers["location"]
    caught.value.close()
    return location


@pytest.fixture(scope="module")
def dev() -> Iterator[Daemon]:
    """
    A daemon as `make run` starts it.
    """
    with running(dev=True) as daemon:
        yield daemon


def test_wrangler_login(dev: Daemon) -> None:
    """
    The unmodified `wrangler login` succeeds, `whoami` knows the person, and `logout` revokes.
    """
    with directory() as home:
        port = free_port()
        environment = {
            "PATH": f"{BIN}:/usr/bin:/bin",
            "HOME": str(home),
            "XDG_CONFIG_HOME": str(home / "config"),
            "NO_COLOR": "1",
            "WRANGLER_SEND_METRICS": "false",
            "WRANGLER_HIDE_BANNER": "true",
            "CLOUDFLARE_API_BASE_URL": f"{dev.url}/client/v4",
            "WRANGLER_AUTH_DOMAIN": "127.0.0.1:1",
            "WRANGLER_AUTH_URL": f"{dev.url}/oauth2/auth",
            "WRANGLER_TOKEN_URL": f"{dev.url}/oauth2/token",
            "WRANGLER_REVOKE_URL": f"{dev.url}/oauth2/revoke",
            "no_proxy": "localhost,127.0.0.1",
        }

        def wrangler(*arguments: str) -> str:
            done = subprocess.run(
                [BIN / "node", WRANGLER, *arguments],
                cwd=home,
                env=environment,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                check=False,
                timeout=120,
            )
            assert done.returncode == 0, done.stdout + done.stderr
            return done.stdout

        log = home / "login"
        with (
            log.open("wb") as output,
            subprocess.Popen(
                [BIN / "node", WRANGLER, "login", "--browser=false", f"--callback-port={port}"],
                cwd=home,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            ) as process,
        ):
            try:
                callback = sign_in(_printed_url(process, log), "ada@example.com")
                assert callback.startswith("http://localhost:8976/oauth/callback?")
                # The redirect URI is always 8976; where Wrangler listens is free.
                _arrive(callback.replace(":8976/", f":{port}/"))
                assert process.wait(240) == 0, log.read_text()
            finally:
                process.kill()
        assert "ada@example.com" in wrangler("whoami")
        stored = (home / "config/.wrangler/config/default.toml").read_text()
        (token,) = re.findall(r'oauth_token = "([^"]+)"', stored)
        assert dev.ask("GET", "/user", token=token).status == 200
        wrangler("logout")
        assert dev.ask("GET", "/user", token=token).status == 401


def _printed_url(process: subprocess.Popen[bytes], log: Path) -> str:
    end = time.monotonic() + 60
    while time.monotonic() < end and process.poll() is None:
        found = re.search(r"http://\S+/oauth2/auth\?\S+", log.read_text())
        if found:
            return found[0]
        time.sleep(0.05)
    raise AssertionError(f"wrangler printed no address:\n{log.read_text()}")


def _arrive(url: str) -> None:
    """
    Bring the answer to the CLI, without following where it sends browsers next.
    """
    opener = urllib.request.build_opener(_StayHere("nowhere"))
    try:
        opener.open(url, timeout=30).close()
    except urllib.error.HTTPError as error:
        error.close()
        assert error.code in (302, 307)
