"""`wrangler login` at the daemon with its built-in provider."""

import re
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from http.cookiejar import CookieJar
from pathlib import Path
from urllib.request import HTTPCookieProcessor, HTTPSHandler, ProxyHandler, build_opener

from tests.e2e.daemon import BIN, Daemon, directory, free_port
from tests.e2e.developer import confirm_device
from tests.e2e.wrangling import WRANGLER, environment, log_in, wrangler
from tests.ingress.test_listening import write_certificate

CODE = "export default { fetch() { return new Response('by a person'); } };"


def test_a_person_logs_in_deploys_and_logs_out(tmp_path: Path, dev: Daemon) -> None:
    """
    login, whoami, deploy without a token or account in the environment, logout: then nobody is in.
    """
    variables = environment(tmp_path / "home", dev, token=False)
    assert "not authenticated" in wrangler(tmp_path, variables, "whoami")
    assert "Successfully logged in" in log_in(tmp_path, variables, "noether")
    said = wrangler(tmp_path, variables, "whoami")
    assert "noether" in said
    (tmp_path / "index.js").write_text(CODE)
    (tmp_path / "wrangler.json").write_text(
        '{"name": "by-login", "main": "index.js", "compatibility_date": "2026-11-01"}'
    )
    wrangler(tmp_path, variables, "deploy")
    assert dev.function("by-login").text == "by a person"
    stored = (tmp_path / "home/.config/.wrangler/config/default.toml").read_text()
    token = stored.partition('oauth_token = "')[2].partition('"')[0]
    assert dev.ask("GET", "/client/v4/user", token=token).status == 200
    assert "Successfully logged out" in wrangler(tmp_path, variables, "logout")
    assert dev.ask("GET", "/client/v4/user", token=token).status == 401
    assert "not authenticated" in wrangler(tmp_path, variables, "whoami")


def test_wrangler_renews_its_login(tmp_path: Path, dev: Daemon) -> None:
    """
    A login whose access token has run out is renewed without a word.
    """
    variables = environment(tmp_path / "home", dev, token=False)
    log_in(tmp_path, variables, "hopper")
    file = tmp_path / "home/.config/.wrangler/config/default.toml"
    lines = [
        'expiration_time = "2020-01-01T00:00:00.000Z"' if line.startswith("expiration") else line
        for line in file.read_text().splitlines()
    ]
    file.write_text("\n".join(lines) + "\n")
    assert "hopper" in wrangler(tmp_path, variables, "whoami")
    assert "2020-01-01" not in file.read_text()


def test_a_token_that_is_no_good_is_told(tmp_path: Path, dev: Daemon) -> None:
    """
    With a wrong token Wrangler reports an authentication error, without a stack trace.
    """
    variables = environment(tmp_path / "home", dev) | {"CLOUDFLARE_API_TOKEN": "wft_no"}
    (tmp_path / "index.js").write_text(CODE)
    (tmp_path / "wrangler.json").write_text(
        '{"name": "never-there", "main": "index.js", "compatibility_date": "2026-11-01"}'
    )
    for command in ("kv namespace list", "deploy", "secret list", "whoami"):
        said = wrangler(tmp_path, variables, *command.split(), expect=1)
        wanted = "Invalid access token" if command == "whoami" else "Authentication error"
        assert wanted in said
        assert "    at " not in said


def test_wrangler_logs_in_on_a_machine_without_a_browser(tmp_path: Path) -> None:
    """
    `login --device` shows a code; once it is confirmed in a browser elsewhere, Wrangler is in.
    """
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    write_certificate(key, certificate, "localhost")
    secure, plain = free_port(), free_port()
    listen = (
        f"tcp:{plain}:interface=127.0.0.1 "
        f"ssl:{secure}:privateKey={key}:certKey={certificate}:interface=127.0.0.1"
    )
    origin = f"https://localhost:{secure}"
    with secure_daemon(plain, LISTEN=listen, PUBLIC_URL=origin) as dev:
        variables = environment(tmp_path / "home", dev, token=False) | {
            "CLOUDFLARE_API_BASE_URL": f"{origin}/client/v4",
            "WRANGLER_AUTH_DOMAIN": f"localhost:{secure}",
            "NODE_EXTRA_CA_CERTS": str(certificate),
        }
        for name in ("WRANGLER_AUTH_URL", "WRANGLER_TOKEN_URL", "WRANGLER_REVOKE_URL"):
            del variables[name]
        with subprocess.Popen(
            [BIN / "node", WRANGLER, "login", "--device", "--browser=false"],
            cwd=tmp_path,
            env=variables,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        ) as login:
            assert login.stdout is not None
            printed, code = "", None
            while code is None:
                line = login.stdout.readline()
                assert line, printed
                printed += line
                code = re.search(r"\b[A-Z]{4}-[A-Z]{4}\b", printed)
            (link,) = re.findall(r"https://\S+/device\b", printed)
            confirm(f"{link}?user_code={code[0]}", certificate, "turing")
            rest, _ = login.communicate(timeout=60)
            assert login.returncode == 0, printed + rest
        assert "turing" in wrangler(tmp_path, variables, "whoami")
        assert "Successfully logged out" in wrangler(tmp_path, variables, "logout")


@contextmanager
def secure_daemon(port: int, **settings: str) -> Iterator[Daemon]:
    """
    A daemon for developers that also listens elsewhere; `port` is where it is asked for its health.
    """
    with directory() as path:
        daemon = Daemon(path, port=port, settings=settings, dev=True)
        try:
            yield daemon.start()
        finally:
            daemon.stop()


def confirm(link: str, authority: Path, name: str) -> None:
    """
    What a person does in a browser that trusts this certificate.
    """
    trust = ssl.create_default_context(cafile=str(authority))
    browser = build_opener(
        HTTPCookieProcessor(CookieJar()), ProxyHandler({}), HTTPSHandler(context=trust)
    )
    confirm_device(link, name, browser)
