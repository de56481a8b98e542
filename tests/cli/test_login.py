"""Logging in: the browser's way round, the answers that must not be believed, the stored login."""

import http.client
import json
import os
import stat
import subprocess
import threading
import time
import urllib.request
from pathlib import Path
from urllib.error import HTTPError
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest

from tests.cli.fake_server import State
from tests.cli.support import SCRIPT, Cli
from workerd_faas.cli.client.callback import listening
from workerd_faas.cli.client.credentials import CredentialStore, StoredLogin
from workerd_faas.cli.client.http import Http
from workerd_faas.cli.client.oauth import Attempt, Endpoints, OAuth, SessionEnded, Tokens
from workerd_faas.cli.failure import Exit, Failure

ENDPOINTS = Endpoints(
    issuer="http://localhost:8080",
    authorization="http://localhost:8080/oauth2/auth",
    token="http://localhost:8080/oauth2/token",
    revocation=None,
    iss_announced=True,
)


def browse(url: str) -> None:
    """
    Follow redirections as a browser does.
    """
    with urllib.request.urlopen(url, timeout=10) as response:
        assert response.status == 200
        assert "wrkst" in response.read().decode()


@pytest.fixture
def browser(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """
    A browser in which somebody consents at once; returns the addresses it was given.
    """
    opened: list[str] = []

    def visit(url: str) -> bool:
        opened.append(url)
        threading.Thread(target=browse, args=(url,), daemon=True).start()
        return True

    monkeypatch.setattr("webbrowser.open", visit)
    return opened


def test_login_with_a_browser(cli: Cli, server: State, browser: list[str]) -> None:
    """
    Logging in stores tokens with which the next command is answered.
    """
    done = cli("login")
    assert done.status == 0, done.err
    assert len(browser) == 1
    done = cli("whoami", "--json")
    assert done.json["email"] == "ada@example.test"
    assert done.json["auth"] == "login"
    assert [each["name"] for each in done.json["accounts"]] == ["ada"]


def test_login_is_stored_for_nobody_else(cli: Cli, server: State, browser: list[str]) -> None:
    """
    The file has mode 0600 and its directory 0700, whatever the umask is.
    """
    old = os.umask(0)
    try:
        assert cli("login").status == 0
    finally:
        os.umask(old)
    assert stat.S_IMODE(cli.credentials.stat().st_mode) == 0o600
    assert stat.S_IMODE(cli.credentials.parent.stat().st_mode) == 0o700
    assert list(json.loads(cli.credentials.read_text())["servers"]) == [server.base_url]


def test_no_token_is_ever_shown(cli: Cli, server: State, browser: list[str]) -> None:
    """
    Neither code nor tokens appear in what the commands print.
    """
    text = ""
    for command in (["login"], ["whoami"], ["config", "show"], ["list"], ["deploy"], ["logout"]):
        done = cli(*command)
        text += done.out + done.err
    secrets = {*server.access_tokens, *server.refresh_tokens}
    assert secrets and not any(secret in text for secret in secrets)
    used = [parse_qs(each.body.decode()) for each in server.requests if each.path.endswith("token")]
    assert not any(each["code"][0] in text for each in used if "code" in each)


def test_pasted_address(cli: Cli, server: State) -> None:
    """
    With --no-browser the address at which a browser elsewhere ended up can be pasted.
    """
    process = subprocess.Popen(
        [SCRIPT, "login", "--no-browser"],
        env=cli.environ(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        assert process.stderr is not None and process.stdin is not None
        lines = iter(process.stderr.readline, "")
        url = next(line.strip() for line in lines if "/oauth2/auth?" in line)
        parts = urlsplit(url)
        connection = http.client.HTTPConnection(parts.netloc, timeout=10)
        connection.request("GET", f"{parts.path}?{parts.query}")
        location = connection.getresponse().getheader("Location")
        connection.close()
        process.stdin.write(f"\n{location}\n")
        process.stdin.flush()
        assert process.wait(30) == 0
        process.stdin.close()
    assert cli("whoami").status == 0


def test_a_refused_login(cli: Cli, server: State, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A refusal is told with the server's words, in the terminal and in the browser, and nobody is
    sent to log in again.
    """
    server.refusal = {"error": "access_denied", "error_description": "Only <members> may."}
    pages: list[str] = []

    def look(url: str) -> None:
        with pytest.raises(HTTPError) as caught:
            urllib.request.urlopen(url, timeout=10)
        pages.append(caught.value.read().decode())

    def visit(url: str) -> bool:
        threads.append(threading.Thread(target=look, args=(url,)))
        threads[0].start()
        return True

    threads: list[threading.Thread] = []
    monkeypatch.setattr("webbrowser.open", visit)
    done = cli("login")
    threads[0].join()
    assert done.status == 3
    assert "Only <members> may." in done.err
    assert "wrkst login" not in done.err
    assert "<h1>You are not logged in</h1>\n<p>Only &lt;members&gt; may.</p>" in pages[0]


def test_pasted_garbage_is_asked_for_again(cli: Cli, server: State) -> None:
    """
    What is no answer of this login is asked for again; at the end of input nothing is waited for.
    """
    done = cli.process("login", "--no-browser", input="garbage\nhttp://127.0.0.1:1/?state=x\n")
    assert done.status == 3
    assert done.err.count("Paste it again") == 2
    assert "Nothing was pasted that belongs to this login" in done.err


def test_nobody_comes(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    When nobody logs in in time the command ends with status 3.
    """
    monkeypatch.setattr("webbrowser.open", lambda url: True)
    done = cli("login", "--timeout=1")
    assert done.status == 3
    assert "in time" in done.err


@pytest.mark.parametrize(
    ("metadata", "words"),
    [
        ({"issuer": "https://evil.example"}, "calls itself https://evil.example"),
        ({"token_endpoint": "https://evil.example/token"}, "point elsewhere"),
        ({"authorization_endpoint": "file:///etc/passwd"}, "point elsewhere"),
        ({"revocation_endpoint": "http://127.0.0.1:1/revoke"}, "point elsewhere"),
    ],
)
def test_lying_metadata(cli: Cli, server: State, metadata: dict[str, str], words: str) -> None:
    """
    Metadata that lead to another origin are refused before anything is sent there.
    """
    server.metadata = dict(metadata)
    done = cli("login")
    assert done.status == 1
    assert words in done.err


def callback(attempt: Attempt, **changes: str | None) -> str:
    fields = {"code": "c", "state": attempt.state, "iss": ENDPOINTS.issuer, **changes}
    return urlencode({name: value for name, value in fields.items() if value is not None})


def test_the_code_of_a_good_answer() -> None:
    """
    An answer with our state and the right issuer gives its code.
    """
    attempt = Attempt(endpoints=ENDPOINTS, redirect_uri="http://127.0.0.1:1/callback")
    assert attempt.code_from(callback(attempt)) == "c"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"state": "other"}, "another login"),
        ({"state": None}, "another login"),
        ({"iss": "http://evil.example"}, "not come from this server"),
        ({"iss": None}, "not come from this server"),
        ({"code": None}, "no code"),
        ({"code": ""}, "no code"),
        ({"code": None, "error": "access_denied"}, "refused"),
        ({"code": None, "error": "server_error", "error_description": "broken"}, "broken"),
        ({"code": "c", "error": "server_error"}, "server_error"),
    ],
)
def test_answers_that_are_not_believed(changes: dict[str, str | None], words: str) -> None:
    """
    A wrong state or issuer (RFC 9207), an error or a missing code ends the login.
    """
    attempt = Attempt(endpoints=ENDPOINTS, redirect_uri="http://127.0.0.1:1/callback")
    with pytest.raises(Failure, match=words) as caught:
        attempt.code_from(callback(attempt, **changes))
    assert caught.value.exit_status is Exit.LOGIN


def test_repeated_parameters_are_refused() -> None:
    """
    An answer that has a parameter twice is refused.
    """
    attempt = Attempt(endpoints=ENDPOINTS, redirect_uri="http://127.0.0.1:1/callback")
    with pytest.raises(Failure, match="repeats 'code'"):
        attempt.code_from(callback(attempt) + "&code=other")


def test_attempts_differ_and_hide_their_secrets() -> None:
    """
    State and verifier are new each time, long enough, and not in the representation.
    """
    first, second = (Attempt(endpoints=ENDPOINTS, redirect_uri="http://x") for _ in range(2))
    assert first.state != second.state and first.verifier != second.verifier
    assert 43 <= len(first.verifier) <= 128 and len(first.state) >= 32
    assert first.verifier not in repr(first) and first.verifier not in first.url()


def test_the_challenge_of_the_specification() -> None:
    """
    The challenge is that of RFC 7636 appendix B for its verifier.
    """
    attempt = Attempt(
        endpoints=ENDPOINTS,
        redirect_uri="http://x",
        verifier="dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk",
    )
    assert attempt.challenge == "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"


def get(url: str, host: str | None = None) -> int:
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.netloc, timeout=10)
    try:
        headers = {} if host is None else {"Host": host}
        connection.request("GET", f"{parts.path}?{parts.query}", headers=headers)
        return connection.getresponse().status
    finally:
        connection.close()


def test_the_listener_takes_the_right_callback_only() -> None:
    """
    Strangers' requests, other hosts and paths change nothing; then the right one is taken.
    """
    with listening() as listener:
        attempt = Attempt(endpoints=ENDPOINTS, redirect_uri=listener.redirect_uri)
        listener.expect(attempt.is_ours)
        good = callback(attempt)
        assert get(f"{listener.redirect_uri}?{callback(attempt, state='x')}") == 400
        assert get(f"{listener.redirect_uri}?{good}", host="evil.example") == 404
        assert get(listener.redirect_uri.replace("/callback", "/other") + f"?{good}") == 404
        assert get(f"{listener.redirect_uri}?{good}") == 200
        assert listener.wait(10) == good


def test_a_browser_that_connects_early_does_not_block() -> None:
    """
    A connection on which nothing is sent, as browsers open them, holds nobody up.
    """
    with listening() as listener:
        attempt = Attempt(endpoints=ENDPOINTS, redirect_uri=listener.redirect_uri)
        listener.expect(attempt.is_ours)
        parts = urlsplit(listener.redirect_uri)
        idle = http.client.HTTPConnection(parts.netloc, timeout=10)
        idle.connect()
        try:
            assert get(f"{listener.redirect_uri}?{callback(attempt)}") == 200
            assert listener.wait(10) == callback(attempt)
        finally:
            idle.close()


def test_due_tokens_are_refreshed(cli: Cli, server: State) -> None:
    """
    A token near its end is replaced before it is used, and the new login is stored.
    """
    server.lifetime = 30
    cli.log_in()
    document = json.loads(cli.credentials.read_text())
    document["servers"][server.base_url]["expires_at"] = time.time() + 5
    cli.credentials.write_text(json.dumps(document))
    server.lifetime = 3600
    assert cli("list").status == 0
    assert server.refreshes == 1
    assert cli("list").status == 0
    assert server.refreshes == 1


def test_a_refused_token_is_refreshed_once(cli: Cli, server: State) -> None:
    """
    When the server no longer takes a token that is not due, one refresh is tried.
    """
    session = cli.log_in()
    server.access_tokens.discard(session["access_token"])
    assert cli("list").status == 0
    assert server.refreshes == 1


def test_an_ended_session_is_forgotten(cli: Cli, server: State) -> None:
    """
    A session that was ended elsewhere gives status 3, and its tokens are removed.
    """
    cli.log_in()
    server.access_tokens.clear()
    server.refresh_tokens.clear()
    done = cli("list")
    assert done.status == 3
    assert "wrkst login" in done.err
    assert json.loads(cli.credentials.read_text())["servers"] == {}


def test_an_unreachable_server_keeps_the_login(cli: Cli, server: State) -> None:
    """
    A refresh that fails for another reason than the session's end loses nothing.
    """
    cli.log_in()
    server.access_tokens.clear()
    server.faults += [("POST /oauth2/token", 503, {})]
    assert cli("list").status == 3
    assert cli("list").status == 0


def test_processes_do_not_fork_the_session(cli: Cli, server: State) -> None:
    """
    Several commands at once with a token that is due make one refresh, and all succeed.
    """
    session = cli.log_in()
    server.access_tokens.discard(session["access_token"])
    document = json.loads(cli.credentials.read_text())
    document["servers"][server.base_url]["expires_at"] = 0.0
    cli.credentials.write_text(json.dumps(document))
    processes = [
        subprocess.Popen(
            [SCRIPT, "list"],
            env=cli.environ(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for _ in range(4)
    ]
    assert [process.wait(60) for process in processes] == [0, 0, 0, 0]
    assert server.refreshes == 1


def test_logout_ends_the_session(cli: Cli, server: State) -> None:
    """
    Logging out revokes the refresh token on the server and forgets both here.
    """
    session = cli.log_in()
    assert cli("logout").status == 0
    assert session["refresh_token"] not in server.refresh_tokens
    assert session["refresh_token"] not in cli.credentials.read_text()
    assert cli("list").status == 3
    assert cli("logout").status == 0


def test_logout_without_the_server_forgets_all_the_same(cli: Cli, server: State) -> None:
    """
    If the server cannot be told, the login is gone here and the command says so.
    """
    cli.log_in()
    server.faults.append(("POST /oauth2/revoke", 503, {}))
    done = cli("logout")
    assert done.status == 1
    assert "sessions revoke" in done.err
    assert json.loads(cli.credentials.read_text())["servers"] == {}


def test_token_from_the_environment(cli: Cli, server: State) -> None:
    """
    WRKST_TOKEN works without a login and wins over one.
    """
    cli.monkeypatch.setenv("WRKST_TOKEN", server.issue_api_token())
    assert cli("whoami", "--json").json["auth"] == "token"
    cli.monkeypatch.setenv("WRKST_TOKEN", "wft_wrong")
    cli.log_in()
    done = cli("list")
    assert done.status == 3
    assert "WRKST_TOKEN" in done.err and "wft_wrong" not in done.err
    assert "unset it and run `wrkst login`" in done.err


def test_logins_at_several_servers(tmp_path: Path) -> None:
    """
    Each server has its own login; removing one leaves the other.
    """
    store = CredentialStore(tmp_path / "c")
    tokens = [Tokens(access_token=name, refresh_token=None, expires_at=1.0) for name in "ab"]
    store.save("https://a.example", tokens[0])
    store.save("https://b.example", tokens[1])
    store.save("https://a.example", None)
    assert store.load("https://a.example") is None
    assert store.load("https://b.example") == tokens[1]


@pytest.mark.parametrize("text", ["", "[]", '{"servers": []}', '{"servers": {"http://x": 1}}'])
def test_a_broken_file_of_logins_is_named(tmp_path: Path, text: str) -> None:
    """
    A file that is not ours is an error that names it, and it is not overwritten.
    """
    store = CredentialStore(tmp_path)
    store.path.write_text(text)
    with pytest.raises(Failure, match=r"credentials\.json"):
        store.load("http://x")
    assert store.path.read_text() == text


def test_a_broken_file_of_logins_is_told_before_a_login(cli: Cli, server: State) -> None:
    """
    Nobody is asked to log in when the login could not be stored; the way out is the file's removal.
    """
    cli.credentials.parent.mkdir(parents=True)
    cli.credentials.write_text("{")
    for words in (["login", "--device"], ["logout"], ["list"]):
        done = cli(*words)
        assert done.status == 3
        assert f"remove that file, then run `wrkst login`: {cli.credentials}" in done.err
    assert server.requests == []


def test_logins_are_taken_from_others_who_can_read_them(cli: Cli) -> None:
    """
    A file of logins that others may read, after a restore say, gets mode 0600, and that is told.
    """
    cli.log_in()
    cli.credentials.chmod(0o644)
    assert "others could read" in cli("list").err
    assert cli.credentials.stat().st_mode & 0o777 == 0o600
    assert "others" not in cli("list").err


def test_secrets_are_not_in_representations(tmp_path: Path) -> None:
    """
    No repr of the objects that hold tokens shows them.
    """
    tokens = Tokens(access_token="sesame", refresh_token="sesame", expires_at=1.0)
    oauth = OAuth(http=Http(user_agent="t"), base_url="http://localhost")
    login = StoredLogin(CredentialStore(tmp_path), oauth, tokens)
    assert "sesame" not in repr(tokens) + repr(login)


def test_a_spent_refresh_token_ends_the_session(server: State) -> None:
    """
    The client tells the end of a session from other trouble.
    """
    oauth = OAuth(http=Http(user_agent="t"), base_url=server.base_url)
    refresh = server.issue_session()["refresh_token"]
    oauth.refresh(refresh)
    with pytest.raises(SessionEnded):
        oauth.refresh(refresh)
