"""
The loopback listener to which the browser brings the answer of a login (RFC 8252 section 7.3).

It answers on 127.0.0.1 at a free port and takes exactly one thing: a GET of `/callback` with the
state of this attempt. Everything else, whoever sends it, changes nothing.
"""

import base64
import contextlib
import hashlib
import os
import selectors
import socket
import threading
import time
from collections.abc import Callable, Iterator
from html import escape
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import IO, Any, Final
from urllib.parse import parse_qs, urlsplit

import attrs

from workerd_faas.cli.client.oauth import CALLBACK_PATH, login_needed

_STYLE: Final = (
    ":root { color-scheme: light dark } "
    "body { font: 1rem/1.5 system-ui, sans-serif; max-width: 44rem; margin: 3rem auto; "
    "padding: 0 1rem }"
)
_HASH: Final = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
_HEADERS: Final = {
    "Content-Type": "text/html; charset=utf-8",
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": (
        f"default-src 'none'; style-src 'sha256-{_HASH}'; frame-ancestors 'none'"
    ),
}


def _page(title: str, text: str) -> bytes:
    return f"""<!doctype html>
<html lang="en"><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>wrkst</title><style>{_STYLE}</style>
<h1>{escape(title)}</h1>
<p>{escape(text)}</p>
""".encode()


def _silent(text: str) -> None:
    pass


@attrs.define(kw_only=True, eq=False)
class CallbackListener:
    """
    Waits for the browser.

    Attributes:
        redirect_uri: What to tell the server.
    """

    _wake: socket.socket
    _woken: socket.socket
    redirect_uri: str
    _accepts: Callable[[str], bool] = attrs.field(default=lambda query: False)
    _query: str | None = None
    _lock: threading.Lock = attrs.Factory(threading.Lock)

    def expect(self, accepts: Callable[[str], bool]) -> None:
        """
        From now on take the first callback whose query `accepts` likes.
        """
        self._accepts = accepts

    def offer(self, query: str) -> bool:
        """
        A callback has come, on a thread of its own. Returns whether it belongs to the attempt.
        """
        with self._lock:
            if not self._accepts(query):
                return False
            if self._query is None:
                self._query = query
                self._wake.send(b"\0")
            return True

    def wait(
        self, seconds: float, pasted: IO[str] | None = None, note: Callable[[str], None] = _silent
    ) -> str:
        """
        The query of the callback.

        Args:
            seconds: How long to wait.
            pasted: Where a person may paste the address that the browser ended at, for browsers
                on another machine.
            note: Told what is wrong with what was pasted.

        Raises:
            Failure: nobody came in time, or somebody gave up pasting.
        """
        tried = False
        deadline = time.monotonic() + seconds
        typed = b""
        with selectors.DefaultSelector() as selector:
            selector.register(self._woken, selectors.EVENT_READ)
            if pasted is not None:
                # A file or a closed input cannot be waited for; then only the browser is left.
                with contextlib.suppress(OSError, ValueError):
                    selector.register(pasted, selectors.EVENT_READ)
            while (left := deadline - time.monotonic()) > 0:
                ready = {key.fileobj for key, _ in selector.select(left)}
                if self._query is not None:
                    return self._query
                if pasted is None or pasted not in ready:
                    continue
                # Not readline: what it keeps in its buffer would never be waited for.
                data = os.read(pasted.fileno(), 65536)
                *lines, typed = (typed + (data or b"\n")).split(b"\n")
                for line in filter(None, (each.strip() for each in lines)):
                    query = _query_of(line.decode("utf-8", "replace"))
                    if self._accepts(query):
                        return query
                    tried = True
                    note(
                        "That is not it: the address begins with "
                        f"{self.redirect_uri}? and has a state= of this login. Paste it again:"
                    )
                if not data:
                    selector.unregister(pasted)
                    if tried or pasted.isatty():
                        raise login_needed("Nothing was pasted that belongs to this login.")
        raise login_needed(
            "Nobody logged in in time.",
            hint="run `wrkst login` again; where no browser can be opened, `wrkst login --device`",
        )


def _query_of(text: str) -> str:
    """
    The query of an address, or the text itself, which may be the query alone.
    """
    try:
        return urlsplit(text).query or text
    except ValueError:
        return text


@contextlib.contextmanager
def listening() -> Iterator[CallbackListener]:
    """
    Listen while the block runs.
    """
    ours, theirs = socket.socketpair()
    with ours, theirs, _Server(("127.0.0.1", 0), _Handler) as server:
        port = server.server_address[1]
        server.listener = listener = CallbackListener(
            wake=theirs,
            woken=ours,
            redirect_uri=f"http://127.0.0.1:{port}{CALLBACK_PATH}",
        )
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield listener
        finally:
            server.shutdown()
            thread.join()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    listener: CallbackListener

    def handle_error(self, request: Any, client_address: Any) -> None:
        """
        A browser that goes away is no news.
        """


def _error(query: str) -> str | None:
    """
    Why the server has refused; None when it has not.
    """
    fields = parse_qs(query)
    if "error" not in fields:
        return None
    return fields.get("error_description", fields["error"])[0].removesuffix(".")


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    timeout = 30
    server_version = "wrkst"
    sys_version = ""

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        port = self.server.server_address[1]
        if self.headers.get("Host") != f"127.0.0.1:{port}" or parts.path != CALLBACK_PATH:
            self._answer(404, "Not found", "There is nothing here.")
        elif not self.server.listener.offer(parts.query):
            self._answer(
                400,
                "Another login",
                "This answer belongs to a login that is not waited for any more. "
                "Go back to your terminal and begin again there.",
            )
        elif (error := _error(parts.query)) is not None:
            self._answer(403, "You are not logged in", f"{error}.")
        else:
            self._answer(
                200,
                "Back to the terminal",
                "wrkst has got the answer and says there how it went. You can close this page.",
            )

    def _answer(self, status: int, title: str, text: str) -> None:
        body = _page(title, text)
        self.send_response(status)
        for name, value in _HEADERS.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """
        The request line holds the code: it is written nowhere.
        """
