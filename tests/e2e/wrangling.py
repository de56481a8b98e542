"""Wrangler with text on its standard input, and with a login instead of a token."""

import json
import os
import re
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.error import URLError

import attrs

from tests.e2e.daemon import BIN, ROOT, Daemon
from tests.e2e.developer import sign_in

WRANGLER = ROOT / "node_modules" / "wrangler" / "bin" / "wrangler.js"


def environment(home: Path, daemon: Daemon, *, token: bool = True) -> dict[str, str]:
    """
    What points Wrangler at the daemon.

    Args:
        home: Not the project: Wrangler takes a `.wrangler` there for the place of logins.
    """
    home.mkdir(exist_ok=True)
    found = {
        "PATH": f"{BIN}:/usr/bin:/bin",
        "HOME": str(home),
        "CI": "1",
        "NO_COLOR": "1",
        "WRANGLER_SEND_METRICS": "false",
        "WRANGLER_HIDE_BANNER": "true",
        "CLOUDFLARE_API_BASE_URL": f"{daemon.url}/client/v4",
        "WRANGLER_AUTH_URL": f"{daemon.url}/oauth2/auth",
        "WRANGLER_TOKEN_URL": f"{daemon.url}/oauth2/token",
        "WRANGLER_REVOKE_URL": f"{daemon.url}/oauth2/revoke",
        "WRANGLER_AUTH_DOMAIN": daemon.url.partition("//")[2],
        "no_proxy": "localhost,127.0.0.1",
    }
    if token:
        found |= {
            "CLOUDFLARE_API_TOKEN": daemon.token,
            "CLOUDFLARE_ACCOUNT_ID": daemon.account,
        }
    if "NODE_EXTRA_CA_CERTS" in os.environ:
        found["NODE_EXTRA_CA_CERTS"] = os.environ["NODE_EXTRA_CA_CERTS"]
    return found


def wrangler(
    directory: Path, variables: Mapping[str, str], *arguments: str, stdin: str = "", expect: int = 0
) -> str:
    """
    Run Wrangler in a directory; returns what it printed.
    """
    done = subprocess.run(
        [BIN / "node", WRANGLER, *arguments],
        cwd=directory,
        env=variables,
        input=stdin,
        capture_output=True,
        text=True,
        check=False,
    )
    printed = done.stdout + done.stderr
    assert done.returncode == expect, printed
    return printed


def log_in(directory: Path, variables: Mapping[str, str], name: str) -> str:
    """
    `wrangler login`, with a browser that signs in under this name; returns what it printed.
    """
    with subprocess.Popen(
        [BIN / "node", WRANGLER, "login", "--browser=false"],
        cwd=directory,
        env=variables,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as login:
        assert login.stdout is not None
        printed = ""
        while "code_challenge_method=" not in printed:
            line = login.stdout.readline()
            assert line, printed
            printed += line
        (url,) = re.findall(r"http://\S+/oauth2/auth\S+", printed)
        # At last Wrangler sends the browser to a page of Cloudflare's, which says thank you.
        with suppress(URLError):
            sign_in(url, name)
        rest, _ = login.communicate(timeout=60)
        assert login.returncode == 0, printed + rest
        return printed + rest


@attrs.frozen
class Shell:
    """
    A project's directory, and Wrangler in it.
    """

    directory: Path
    daemon: Daemon
    variables: Mapping[str, str]

    def run(self, *arguments: str, expect: int = 0) -> str:
        """
        Run Wrangler; returns what it printed.
        """
        return wrangler(self.directory, self.variables, *arguments, expect=expect)

    def json(self, *arguments: str) -> Any:
        """
        Run Wrangler; returns the JSON document in what it printed.
        """
        printed = self.run(*arguments)
        start = min(i for i in (printed.find("["), printed.find("{")) if i >= 0)
        return json.JSONDecoder().raw_decode(printed[start:])[0]

    def configure(self, code: str, **settings: Any) -> None:
        """
        Write wrangler.jsonc and the Worker.
        """
        document = {"main": "index.js", "compatibility_date": "2026-11-01"} | settings
        (self.directory / "wrangler.jsonc").write_text(json.dumps(document))
        (self.directory / "index.js").write_text(code)
