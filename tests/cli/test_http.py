"""The HTTP client and the API's envelope, against servers that misbehave."""

import contextlib
import json
import socket
import threading
from collections.abc import Iterator

import pytest

from tests.cli.fake_server import ACCOUNT, State
from workerd_faas.cli.client.address import function_url, normalise_base_url, same_origin
from workerd_faas.cli.client.api import Api, ApiError
from workerd_faas.cli.client.credentials import EnvironmentToken
from workerd_faas.cli.client.http import Content, Http, Unreachable
from workerd_faas.cli.failure import Exit, Failure

HTTP = Http(user_agent="test", answer_seconds=5.0)


@contextlib.contextmanager
def answering(*answers: bytes, read: int = 65536) -> Iterator[str]:
    """
    A server that gives one answer a connection, whatever is asked, and hangs up.
    """
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(10)

        def serve() -> None:
            for each in answers:
                connection, _ = listener.accept()
                with connection:
                    connection.settimeout(10)
                    connection.recv(read)
                    connection.sendall(each)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        thread.join(10)


def response(body: bytes, status: str = "200 OK", *headers: str) -> bytes:
    head = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join(head).encode() + b"\r\n\r\n" + body


def api(base_url: str, waits: list[float] | None = None) -> Api:
    return Api(
        http=HTTP,
        base_url=base_url,
        authorization=EnvironmentToken("wft_x"),
        sleep=(waits if waits is not None else []).append,
    )


GOOD = response(b'{"success": true, "result": {"a": 1}}')
BAD = response(b'{"success": false, "errors": []}', "503 Busy")


def test_only_success_decides() -> None:
    """
    A failure with status 200 is a failure, with its code and message.
    """
    body = b'{"success": false, "errors": [{"code": 7, "message": "no"}, {"message": "m"}]}'
    with answering(response(body)) as url, pytest.raises(ApiError) as caught:
        api(url).get("user")
    assert (caught.value.code, caught.value.message) == (7, "no [code: 7]")
    assert caught.value.details == ("m",)


@pytest.mark.parametrize("body", [b"<html>", b"[]", b"{}", b'{"success": 1}', b"\xff"])
def test_other_answers_are_recognised(body: bytes) -> None:
    """
    What is no envelope is reported as not being our server.
    """
    with answering(response(body)) as url, pytest.raises(Failure, match="did not answer as"):
        api(url).get("user")


def test_redirections_are_not_followed() -> None:
    """
    A redirection is an error that names its target: the token goes nowhere else.
    """
    moved = response(b"", "301 Moved", "Location: http://elsewhere.example/")
    with answering(moved) as url, pytest.raises(Failure, match=r"elsewhere\.example"):
        api(url).get("user")


@pytest.mark.parametrize(
    ("answers", "waits"),
    [
        ([BAD, GOOD], [0.0]),
        ([b"", GOOD], [0.0]),
        ([BAD, BAD, GOOD], [0.0, 1.0]),
        ([response(b"", "429 Slow", "Retry-After: 7"), GOOD], [7.0]),
    ],
)
def test_repeated_requests(answers: list[bytes], waits: list[float]) -> None:
    """
    Reading is tried again after 5xx, 429 or a lost connection, with Wrangler's waits.
    """
    waited: list[float] = []
    with answering(*answers) as url:
        assert api(url, waited).get("user") == {"a": 1}
    assert waited == waits


def test_a_long_wait_is_not_waited() -> None:
    """
    A Retry-After of more than a minute ends the command.
    """
    waited: list[float] = []
    late = response(b'{"success": false, "errors": []}', "503 Busy", "Retry-After: 61")
    with answering(late) as url, pytest.raises(ApiError):
        api(url, waited).get("user")
    assert waited == []


def test_changes_are_not_repeated() -> None:
    """
    What may have happened already is not asked for twice.
    """
    with answering(BAD) as url, pytest.raises(ApiError):
        api(url).call("DELETE", "user", "tokens", "1")


def test_paths_are_escaped(server: State) -> None:
    """
    Segments are escaped, so that no name can leave its place in the path.
    """
    caller = api(server.base_url)
    caller.authorization = EnvironmentToken(server.issue_api_token())
    with pytest.raises(ApiError):
        caller.get("accounts", ACCOUNT, "workers", "scripts", "../../x?y#z", "versions")
    assert server.requests[-1].path.endswith("/scripts/..%2F..%2Fx%3Fy%23z/versions")


@pytest.mark.parametrize("name", ["", ".", ".."])
def test_nothing_has_no_path(server: State, name: str) -> None:
    """
    What would make a path that of something else is refused before anything is sent.
    """
    with pytest.raises(Failure) as caught:
        api(server.base_url).call("DELETE", "accounts", ACCOUNT, "workers", "scripts", name)
    assert caught.value.exit_status is Exit.USAGE
    assert server.requests == []


def test_early_refusal_is_read() -> None:
    """
    A server that refuses an upload and hangs up before reading it all is heard.
    """
    refusal = response(
        b'{"success": false, "errors": [{"code": 9, "message": "too large"}]}', "413 X"
    )
    body = Content("application/octet-stream", bytes(8 * 1024 * 1024))
    with answering(refusal, read=1000) as url, pytest.raises(ApiError) as caught:
        api(url).call("POST", "x", body=body)
    assert caught.value.code == 9


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"garbage\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nshort",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    ],
)
def test_broken_answers(answer: bytes) -> None:
    """
    A cut or malformed answer is no answer: status 5.
    """
    with answering(answer) as url, pytest.raises(Unreachable) as caught:
        HTTP.send("GET", url + "/x")
    assert caught.value.exit_status is Exit.UNREACHABLE


def test_a_server_that_never_answers() -> None:
    """
    Waiting for an answer has an end.
    """
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        with pytest.raises(Unreachable, match="in time"):
            HTTP.send("GET", url, answer_seconds=0.2)


def test_an_answer_that_drips() -> None:
    """
    The time for an answer is for all of it, not for each byte.
    """
    with socket.create_server(("127.0.0.1", 0)) as listener:
        stop = threading.Event()

        def serve() -> None:
            connection, _ = listener.accept()
            with connection, contextlib.suppress(OSError):
                connection.recv(1000)
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
                while not stop.wait(0.02):
                    connection.sendall(b".")

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        with pytest.raises(Unreachable, match="in time"):
            HTTP.send("GET", url, answer_seconds=0.3)
        stop.set()
        thread.join(10)


def test_unknown_host() -> None:
    """
    A host name that does not exist is said to be unknown.
    """
    with pytest.raises(Unreachable):
        HTTP.send("GET", "http://nothing.invalid/")


def test_untrusted_certificate() -> None:
    """
    A TLS server that nobody vouches for is not talked to.
    """
    hello = b"\x15\x03\x01\x00\x02\x02\x28"  # a TLS alert: handshake failure
    with answering(hello) as url, pytest.raises(Unreachable):
        HTTP.send("GET", url.replace("http:", "https:"))


def test_a_server_without_tls() -> None:
    """
    An https address at which there is no TLS is told with the address to try.
    """
    with (
        answering(b"HTTP/1.1 400 Bad Request\r\n\r\n") as url,
        pytest.raises(Unreachable) as caught,
    ):
        HTTP.send("GET", url.replace("http:", "https:"))
    assert "with TLS: wrong version number" in caught.value.message
    assert "http://" in (caught.value.hint or "")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("http://localhost:8080/", "http://localhost:8080"),
        ("HTTPS://FaaS.Example.COM:443/client/v4/", "https://faas.example.com"),
        ("http://x:80", "http://x"),
        ("faas.example.com", "https://faas.example.com"),
        ("localhost:8080", "http://localhost:8080"),
        ("127.0.0.1:8080", "http://127.0.0.1:8080"),
        ("http://[::1]:8080", "http://[::1]:8080"),
        ("  https://a  ", "https://a"),
    ],
)
def test_addresses(text: str, expected: str) -> None:
    """
    However it is typed, a server has one address.
    """
    assert normalise_base_url(text) == expected


@pytest.mark.parametrize(
    "text",
    ["", "ftp://x", "http://", "http://u:secret@x", "http://x/y", "http://x?y", "http://x:99999",
     "http://u:secret@x:port", "http://x:0", "http://a b", "http://x#y", "http://exa_mple"],
)  # fmt: skip
def test_impossible_addresses(text: str) -> None:
    """
    What is no server's address is wrong usage; a password in it is not repeated.
    """
    with pytest.raises(Failure) as caught:
        normalise_base_url(text)
    assert caught.value.exit_status is Exit.USAGE
    assert "secret" not in caught.value.message and "cast" not in caught.value.message


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://a/x", True),
        ("https://a:443/x", True),
        ("https://a:444/x", False),
        ("http://a/x", False),
        ("https://a.b/x", False),
        ("https://u@a/x", False),
        ("//a/x", False),
        ("https://[x", False),
    ],
)
def test_same_origin(url: str, expected: bool) -> None:
    """
    Scheme, host and port must all be the same.
    """
    assert same_origin(url, "https://a") is expected


def test_function_urls() -> None:
    """
    Labels go before the host, the port stays.
    """
    assert function_url("http://localhost:8080", "f", "v") == "http://v.f.localhost:8080"


def test_progress_ends_with_everything(server: State) -> None:
    """
    Progress is told in rising steps up to the length.
    """
    told: list[int] = []
    body = Content("application/json", json.dumps({"name": "x" * 300_000}).encode())
    HTTP.send(
        "POST",
        f"{server.base_url}/client/v4/user/tokens",
        headers={"Authorization": f"Bearer {server.issue_api_token()}"},
        body=body,
        progress=told.append,
    )
    assert told == sorted(told) and told[-1] == body.length and len(told) > 3


def test_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    With a proxy in the environment other machines are reached through it, this one directly.
    """
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    with answering(response(b"through the proxy")) as url:
        monkeypatch.setenv("http_proxy", url)
        assert HTTP.send("GET", "http://faas.invalid/x").body == b"through the proxy"
    with answering(response(b"direct")) as url:
        monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
        assert HTTP.send("GET", url).body == b"direct"


def test_tunnel(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A TLS server is reached through a tunnel, so that the proxy sees no token.
    """
    asked: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                asked.append(connection.recv(1000))
                connection.sendall(b"HTTP/1.1 403 No\r\n\r\n")

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        monkeypatch.setenv("https_proxy", f"http://127.0.0.1:{listener.getsockname()[1]}")
        with pytest.raises(Unreachable):
            HTTP.send("GET", "https://faas.invalid/x", headers={"Authorization": "Bearer secret"})
        thread.join(10)
    assert asked[0].startswith(b"CONNECT faas.invalid:443 HTTP/1.")
    assert b"secret" not in asked[0]
