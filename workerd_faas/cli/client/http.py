"""
HTTP/1.1 for the client: one connection a request, time-outs, proxies, upload progress.

The certificate of the server is always verified, with the system's authorities or those of
`SSL_CERT_FILE`. Redirections are not followed: a token belongs to one origin.
"""

import contextlib
import http.client
import socket
import ssl
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Final, Protocol
from urllib.parse import urlsplit

import attrs

from workerd_faas.cli.client.address import is_loopback, resolvable
from workerd_faas.cli.failure import Exit, Failure

_CONNECT_SECONDS: Final = 10.0
_SLICE: Final = 64 * 1024
MAX_ANSWER: Final = 64 * 1024 * 1024
"""Bytes of an answer that are read at most."""


class Unreachable(Failure):
    """
    No answer: nothing listens, the name is unknown, the connection broke, time ran out.
    """

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message, hint=hint, status=Exit.UNREACHABLE)


class Body(Protocol):
    """
    What to send. It can be sent again: `chunks` begins anew each time.
    """

    @property
    def content_type(self) -> str:
        """
        Value of the Content-Type header.
        """

    @property
    def length(self) -> int:
        """
        How many bytes the chunks have together.
        """

    def chunks(self) -> Iterable[bytes]:
        """
        The bytes.
        """


@attrs.frozen
class Content:
    """
    A body that is one piece.
    """

    content_type: str
    data: bytes = attrs.field(repr=lambda data: f"<{len(data)} bytes>")

    @property
    def length(self) -> int:
        """
        Number of bytes.
        """
        return len(self.data)

    def chunks(self) -> Iterable[bytes]:
        """
        The piece.
        """
        return (self.data,)


@attrs.frozen(kw_only=True)
class Answer:
    """
    A response; header names are in lower case.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes = attrs.field(repr=lambda body: f"<{len(body)} bytes>")


Progress = Callable[[int], None]
"""Called with the number of bytes sent so far."""


@attrs.define(kw_only=True)
class Http:
    """
    Sends requests.

    Attributes:
        user_agent: Value of the User-Agent header.
        answer_seconds: How long an answer may take from the last byte sent to the last received.
    """

    user_agent: str
    answer_seconds: float = 60.0

    def send(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: Body | None = None,
        progress: Progress | None = None,
        answer_seconds: float | None = None,
    ) -> Answer:
        """
        One request, one answer.

        Raises:
            Unreachable: no complete answer came.
        """
        parts = urlsplit(url)
        where = f"{parts.scheme}://{parts.netloc}"
        wait = answer_seconds or self.answer_seconds
        connection: http.client.HTTPConnection | None = None
        try:
            connection, target = _connect(parts.scheme, parts.hostname or "", parts.port, url)
            sending = {
                "User-Agent": self.user_agent,
                "Accept": "application/json",
                "Connection": "close",
            }
            sending.update(headers or {})
            if body is not None:
                sending["Content-Type"] = body.content_type
                sending["Content-Length"] = str(body.length)
            elif method in ("POST", "PUT", "PATCH"):
                sending["Content-Length"] = "0"
            connection.putrequest(method, target)
            for name, value in sending.items():
                connection.putheader(name, value)
            connection.endheaders()
            if body is not None:
                _send_body(connection, body, progress)
            return _read(connection, wait)
        except Failure:
            raise
        except ssl.SSLCertVerificationError as error:
            raise Unreachable(
                f"The certificate of {where} cannot be trusted: {error.verify_message}.",
                "set SSL_CERT_FILE to the certificate of your own authority",
            ) from None
        except ssl.SSLError as error:
            raise Unreachable(
                f"{where} cannot be spoken to with TLS: {_tls_reason(error)}.",
                "if the server has no TLS, its address begins with http://",
            ) from None
        except TimeoutError:
            raise Unreachable(f"{where} did not answer in time.", "try again later") from None
        except socket.gaierror:
            raise Unreachable(
                f"The host name of {where} is unknown.",
                "check the address with `wrkst config show`",
            ) from None
        except (OSError, http.client.HTTPException) as error:
            reason = getattr(error, "strerror", None) or type(error).__name__
            raise Unreachable(
                f"{where} cannot be reached: {reason}.",
                "check that the server runs, and its address with `wrkst config show`",
            ) from None
        finally:
            if connection is not None:
                connection.close()


def _tls_reason(error: ssl.SSLError) -> str:
    return (error.reason or "it broke off").replace("_", " ").lower()


def _connect(
    scheme: str, host: str, port: int | None, url: str
) -> tuple[http.client.HTTPConnection, str]:
    """
    A connection, by way of a proxy if the environment names one, and the request target.
    """
    default = 443 if scheme == "https" else 80
    target = urlsplit(url)._replace(scheme="", netloc="").geturl() or "/"
    proxy = None if is_loopback(host) else _proxy(scheme, host)
    connection: http.client.HTTPConnection
    if proxy is None:
        connection = _open(scheme, host, port or default)
    else:
        via = urlsplit(proxy if "://" in proxy else f"http://{proxy}")
        connection = _open(scheme, via.hostname or "", via.port or 80)
        if scheme == "https":
            connection.set_tunnel(host, port or default)
        else:
            target = url
    connection.connect()
    if connection.sock is not None:
        with contextlib.suppress(OSError):
            connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection, target


def _proxy(scheme: str, host: str) -> str | None:
    import urllib.request

    if urllib.request.proxy_bypass(host):
        return None
    return urllib.request.getproxies().get(scheme)


def _open(scheme: str, host: str, port: int) -> http.client.HTTPConnection:
    if scheme == "https":
        context = ssl.create_default_context()
        return _Secure(host, port, timeout=_CONNECT_SECONDS, context=context)
    return _Plain(host, port, timeout=_CONNECT_SECONDS)


class _Plain(http.client.HTTPConnection):
    """
    Without TLS.
    """

    def connect(self) -> None:
        named, self.host = self.host, resolvable(self.host)
        try:
            super().connect()
        finally:
            self.host = named


class _Secure(http.client.HTTPSConnection, _Plain):
    """
    With TLS: the certificate is that of the name.
    """


def _send_body(
    connection: http.client.HTTPConnection, body: Body, progress: Progress | None
) -> None:
    """
    Send the body in slices. A server may refuse before it has read everything (413) and close:
    then the answer is there to be read although sending failed.
    """
    sent = 0
    if connection.sock is not None:
        connection.sock.settimeout(60.0)
    try:
        for chunk in body.chunks():
            view = memoryview(chunk)
            for start in range(0, len(view), _SLICE):
                part = view[start : start + _SLICE]
                connection.send(part)
                sent += len(part)
                if progress is not None:
                    progress(sent)
    except (BrokenPipeError, ConnectionResetError):
        return


def _read(connection: http.client.HTTPConnection, seconds: float) -> Answer:
    deadline = time.monotonic() + seconds
    if connection.sock is not None:
        connection.sock.settimeout(seconds)
    response = connection.getresponse()
    pieces, total = [], 0
    while True:
        left = deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        if connection.sock is not None:
            connection.sock.settimeout(left)
        piece = response.read1(_SLICE)
        if not piece:
            break
        total += len(piece)
        if total > MAX_ANSWER:
            raise Unreachable("The server's answer is too long to be one of workerd-faas.")
        pieces.append(piece)
    if response.length:
        raise http.client.IncompleteRead(b"", response.length)
    return Answer(
        status=response.status,
        headers={name.lower(): value for name, value in response.getheaders()},
        body=b"".join(pieces),
    )
