"""
Listening ports. Twisted makes the socket from the endpoint string, the loop accepts on it.

So everything that Twisted's plain stream endpoints can do works (TCP, unix sockets, socket
activation), with transports that cost half the CPU.
"""

import asyncio
import re
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar, Final

import attrs
from twisted.internet.endpoints import quoteStringArgument, serverFromString
from twisted.internet.error import CannotListenError
from twisted.internet.protocol import Factory
from twisted.logger import Logger

from workerd_faas.ingress.tls import CertificateError, CertificateFiles, Certificates

_BACKLOG: Final = 4096
_HANDSHAKE_SECONDS: Final = 15.0
_SHUTDOWN_SECONDS: Final = 3.0
_KEEP_ALIVE: Final = (
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 60),
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 15),
    (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 4),
)
"""Accepted sockets inherit these: a peer that vanished is found after two minutes."""

_TLS_ARGUMENTS: Final = frozenset(
    {"port", "privateKey", "certKey", "extraCertChain", "interface", "backlog"}
)
_PARTS: Final = re.compile(r"(?:[^\\:]|\\.)+")
_QUOTED: Final = re.compile(r"\\(.)")

MakeProtocol = Callable[[], asyncio.BaseProtocol]


class ListenError(Exception):
    """
    A port cannot be opened; the message names the endpoint and the reason, in one line.
    """


class _NeverBuilt(Factory):
    """
    What Twisted is told to listen for; the loop accepts the connections instead.
    """

    noisy = False

    def buildProtocol(self, addr: Any) -> None:
        return None


@attrs.define(eq=False, kw_only=True)
class ListeningPort:
    """
    One open port.

    Attributes:
        endpoint: The string that it was made from.
        address: What it is bound to, as Twisted tells it.
    """

    endpoint: str
    address: Any
    certificates: Certificates | None
    _loop: asyncio.AbstractEventLoop
    _make_protocol: MakeProtocol
    _port: Any
    _socket: socket.socket
    _server: Any = None
    _reviving: "asyncio.Task[None] | None" = None
    _log: ClassVar[Logger] = Logger()

    async def accept(self) -> None:
        """
        Begin to accept.
        """
        options: dict[str, Any] = {"sock": self._socket.dup(), "backlog": _BACKLOG}
        if self.certificates is not None:
            options |= {
                "ssl": self.certificates.context,
                "ssl_handshake_timeout": _HANDSHAKE_SECONDS,
                "ssl_shutdown_timeout": _SHUTDOWN_SECONDS,
            }
        if self._socket.family == socket.AF_UNIX:
            create: Any = self._loop.create_unix_server
        else:
            create = self._loop.create_server
        server = await create(self._make_protocol, **options)
        if self._port is None:
            server.close()
        else:
            self._server = server

    def revive(self) -> None:
        """
        uvloop stops accepting for good when an accept fails for want of descriptors and its one
        spare descriptor is gone as well: begin again then.
        """
        if self._port is None or self._reviving is not None or self._accepts():
            return
        self._log.error("{endpoint} had stopped accepting", endpoint=self.endpoint)
        self._reviving = self._loop.create_task(self.accept())
        self._reviving.add_done_callback(self._revived)

    def _accepts(self) -> bool:
        try:
            return self._server is not None and bool(self._server.sockets)
        except RuntimeError:
            return False

    def _revived(self, reviving: "asyncio.Task[None]") -> None:
        self._reviving = None
        if reviving.exception() is not None:
            self._log.error(
                "{endpoint}: {error}", endpoint=self.endpoint, error=repr(reviving.exception())
            )

    async def close(self) -> None:
        """
        Accept no more; connections that were accepted go on. Idempotent.
        """
        server, self._server = self._server, None
        port, self._port = self._port, None
        if server is not None:
            server.close()
        self._socket.close()
        if port is not None:
            await port.stopListening()


async def listen(
    endpoint: str,
    *,
    reactor: Any,
    loop: asyncio.AbstractEventLoop,
    make_protocol: MakeProtocol,
) -> ListeningPort:
    """
    Open a port.

    Args:
        endpoint: A Twisted endpoint string: `tcp:`, `tcp6:`, `unix:`, `systemd:` or another one
            that gives a plain stream socket; or `ssl:`, with Twisted's arguments `privateKey`,
            `certKey`, `extraCertChain`, `interface` and `backlog`, whose TLS is ours.

    Raises:
        ListenError: it cannot be opened.
    """
    certificates: Certificates | None = None
    factory = _NeverBuilt()
    try:
        plain = endpoint
        if endpoint.startswith("ssl:"):
            plain, files = parse_tls_endpoint(endpoint)
            certificates = Certificates.load(files)
        port = await serverFromString(reactor, plain).listen(factory)
    except (
        CannotListenError,
        CertificateError,
        LookupError,
        OSError,
        OverflowError,
        RuntimeError,
        TypeError,
        ValueError,
    ) as error:
        raise ListenError(f"cannot listen on {endpoint}: {_reason(error)}") from error
    try:
        sock = _plain_socket(port, factory)
    except ValueError as error:
        await port.stopListening()
        raise ListenError(f"cannot listen on {endpoint}: {error}") from None
    opened = ListeningPort(
        endpoint=endpoint,
        address=port.getHost(),
        certificates=certificates,
        loop=loop,
        make_protocol=make_protocol,
        port=port,
        socket=sock,
    )
    await opened.accept()
    return opened


def parse_tls_endpoint(endpoint: str) -> tuple[str, CertificateFiles]:
    """
    Take `ssl:…` apart into the plain endpoint string and the files; `\\` quotes as in Twisted's.

    Raises:
        ValueError: saying what is wrong with it.
    """
    positional, named = _arguments(endpoint)
    for name, text in zip(("port", "privateKey", "certKey"), positional[1:], strict=False):
        named.setdefault(name, text)
    unknown = named.keys() - _TLS_ARGUMENTS
    if unknown or len(positional) > 4:
        known = ", ".join(sorted(_TLS_ARGUMENTS))
        raise ValueError(f"{min(unknown, default='too many parts')}: ssl: takes {known}")
    port = named.get("port", "")
    if not (port.isascii() and port.isdigit() and int(port) < 65536):
        raise ValueError("it names no port")
    if "privateKey" not in named:
        raise ValueError("it names no key: add privateKey=FILE and certKey=FILE (PEM)")
    plain = f"tcp:{port}"
    for name in ("interface", "backlog"):
        if name in named:
            plain += f":{name}={quoteStringArgument(named[name])}"
    files = CertificateFiles(
        private_key=Path(named["privateKey"]),
        certificate=Path(named.get("certKey", named["privateKey"])),
        chain=Path(named["extraCertChain"]) if "extraCertChain" in named else None,
    )
    return plain, files


def _arguments(endpoint: str) -> tuple[list[str], dict[str, str]]:
    positional: list[str] = []
    named: dict[str, str] = {}
    for part in _PARTS.findall(endpoint):
        name, equals, value = part.partition("=")
        if equals:
            named[_QUOTED.sub(r"\1", name)] = _QUOTED.sub(r"\1", value)
        else:
            positional.append(_QUOTED.sub(r"\1", part))
    return positional, named


def _plain_socket(port: Any, factory: Factory) -> socket.socket:
    """
    The socket of a port that Twisted has opened, which it stops watching.

    Raises:
        ValueError: it does not give plain connections.
    """
    sock = getattr(port, "socket", None)
    wrapped = getattr(port, "factory", None) is not factory
    if not isinstance(sock, socket.socket) or sock.type != socket.SOCK_STREAM or wrapped:
        raise ValueError(
            "it does not give a plain stream socket: use tcp:, tcp6:, unix:, systemd: or ssl:"
        )
    port.stopReading()
    if sock.family != socket.AF_UNIX:
        for level, option, value in _KEEP_ALIVE:
            sock.setsockopt(level, option, value)
    return sock.dup()


def _reason(error: BaseException) -> str:
    if isinstance(error, CannotListenError):
        error = error.socketError
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) or type(error).__name__
