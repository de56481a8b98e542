"""`workerd-faas health` against a small server of its own."""

import secrets
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from click.testing import CliRunner

from workerd_faas.operator.health import health


@contextmanager
def answering(server: socket.socket, answer: bytes) -> Iterator[list[bytes]]:
    """
    Answer one connection with `answer`; gives what was asked.
    """
    asked: list[bytes] = []

    def serve() -> None:
        connection, _ = server.accept()
        with connection:
            asked.append(connection.recv(65536))
            connection.sendall(answer)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield asked
    finally:
        thread.join(10)
        server.close()


def response(status: str, body: bytes) -> bytes:
    """
    A whole response.
    """
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


@pytest.mark.parametrize(
    ("status", "code"), [("200 OK", 0), ("503 Service Unavailable", 1)], ids=["ready", "not-ready"]
)
def test_the_exit_code_is_the_daemons_health(status: str, code: int) -> None:
    """A daemon that answers 200 on its base domain is healthy, one that answers 503 is not."""
    server = socket.create_server(("127.0.0.1", 0))
    listen = f"tcp:{server.getsockname()[1]}:interface=127.0.0.1"
    with answering(server, response(status, b'{"status":"x"}')) as asked:
        result = CliRunner().invoke(
            health, ["--dev"], env={"LISTEN": listen, "BASE_DOMAIN": "faas.localhost"}
        )
    assert result.exit_code == code
    assert asked[0].startswith(b"GET /health HTTP/1.1\r\n")
    assert b"Host: faas.localhost\r\n" in asked[0]
    assert '{"status":"x"}' in result.output


def test_a_unix_socket_is_asked_too(tmp_path: Path) -> None:
    """A daemon that listens on a unix socket is found there."""
    server = socket.socket(socket.AF_UNIX)
    server.bind(str(tmp_path / "s"))
    server.listen(1)
    with answering(server, response("200 OK", b"fine")):
        result = CliRunner().invoke(health, ["--dev"], env={"LISTEN": f"unix:{tmp_path}/s"})
    assert (result.exit_code, result.output) == (0, "fine\n")


def test_behind_systemds_port_the_daemon_itself_is_asked(tmp_path: Path) -> None:
    """A daemon whose ports systemd holds is found by its data directory."""
    environ = {
        "LISTEN": "systemd:domain=INET6:index=0",
        "DATA_DIR": str(tmp_path),
        "BASE_DOMAIN": "faas.example.com",
        "JWT_SECRET": secrets.token_urlsafe(48),
        "OIDC_ISSUER": "https://login.example.com",
        "OIDC_CLIENT_ID": "us",
        "OIDC_CLIENT_SECRET": secrets.token_urlsafe(24),
    }
    away = CliRunner().invoke(health, [], env=environ)
    assert away.exit_code == 1 and f"the daemon of {tmp_path} does not answer" in away.output
    own = tmp_path / "run"
    own.mkdir()
    (tmp_path / "operator").symlink_to(own / "operator")
    server = socket.socket(socket.AF_UNIX)
    server.bind(str(own / "api"))
    server.listen(1)
    with answering(server, response("200 OK", b"fine")) as asked:
        result = CliRunner().invoke(health, [], env=environ)
    assert (result.exit_code, result.output) == (0, "fine\n")
    assert b"Host: faas.example.com\r\n" in asked[0]


def test_nobody_there_is_not_healthy(tmp_path: Path) -> None:
    """Without a daemon the command fails in one line."""
    result = CliRunner().invoke(health, ["--dev"], env={"LISTEN": f"unix:{tmp_path}/nobody"})
    assert result.exit_code == 1
    assert "does not answer" in result.output
    assert len(result.output.splitlines()) == 1


def test_something_else_there_is_not_healthy() -> None:
    """A port where no HTTP is spoken is not a healthy daemon."""
    server = socket.create_server(("127.0.0.1", 0))
    listen = f"tcp:{server.getsockname()[1]}:interface=127.0.0.1"
    with answering(server, b"SSH-2.0-OpenSSH_9.2\r\n"):
        result = CliRunner().invoke(health, ["--dev"], env={"LISTEN": listen})
    assert result.exit_code == 1
