"""`wrangler login` at the daemon with its built-in provider."""

from pathlib import Path

from tests.e2e.daemon import Daemon
from tests.e2e.wrangling import environment, log_in, wrangler

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
    said = wrangler(tmp_path, variables, "kv", "namespace", "list", expect=1)
    assert "Authentication error" in said
    assert "    at " not in said
