"""
Listening ports. Twisted makes the socket from the endpoint string, the loop accepts on it.

So everything that Twisted's plain stream endpoints can do works (TCP, unix sockets, socket
activation), with transports that cost half the CPU.

A socket may outlive us: systemd holds it, or a daemon that takes our place does. Such a one is
let go of without a word, since `shutdown` would end it for everybody.
"""

import asyncio
import errno
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar, Final

import attrs
from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.endpoints import AdoptedStreamServerEndpoint, serverFromString
from twisted.internet.error import CannotListenError
from twisted.internet.protocol import Factory
from twisted.logger import Logger

from workerd_faas.ingress.tls import CertificateError, Certificates, parse_tls_endpoint

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

    def logPrefix(self) -> str:
        """
        What Twisted's log says is listening.
        """
        return "relay"

    def buildProtocol(self, addr: Any) -> None:
        return None


@attrs.define(eq=False)
class _Inherited:
    """
    In the place of Twisted's port: a socket that somebody else has made and may still have.
    """

    socket: socket.socket
    unlink: bool

    def getHost(self) -> Any:
        """
        What it is bound to.
        """
        name = self.socket.getsockname()
        if self.socket.family == socket.AF_UNIX:
            return UNIXAddress(os.fsencode(name))
        kind = IPv6Address if self.socket.family == socket.AF_INET6 else IPv4Address
        return kind("TCP", name[0], name[1])

    async def stopListening(self) -> None:
        """
        Remove the file of a unix socket that is ours.
        """
        if self.unlink:
            Path(os.fsdecode(self.socket.getsockname())).unlink(missing_ok=True)
        self.socket.close()


@attrs.define(eq=False, kw_only=True)
class ListeningPort:
    """
    One open port. What connects before `accept`, or after `pause`, waits in the kernel.

    Attributes:
        endpoint: The string that it was made from.
        address: What it is bound to, as Twisted tells it.
        accepting: It should accept, and does unless something is in its way.
    """

    endpoint: str
    address: Any
    certificates: Certificates | None
    _loop: asyncio.AbstractEventLoop
    _make_protocol: MakeProtocol
    _port: Any
    _socket: socket.socket
    _server: Any = None
    accepting: bool = False
    _reviving: "asyncio.Task[None] | None" = None
    _log: ClassVar[Logger] = Logger()

    def fileno(self) -> int:
        """
        The descriptor of the listening socket, for whoever takes our place.
        """
        return self._socket.fileno()

    async def accept(self) -> None:
        """
        Begin to accept.
        """
        self.accepting = True
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
        if self.accepting:
            self._server = server
        else:
            server.close()

    def revive(self) -> None:
        """
        uvloop stops accepting for good when an accept fails for want of descriptors and its one
        spare descriptor is gone as well: begin again then.
        """
        if not self.accepting or self._reviving is not None or self._accepts():
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

    def pause(self) -> None:
        """
        Accept no more for now. Idempotent.
        """
        self.accepting = False
        server, self._server = self._server, None
        if server is not None:
            server.close()

    async def close(self) -> None:
        """
        Accept no more; connections that were accepted go on. Idempotent.
        """
        self.pause()
        self._socket.close()
        port, self._port = self._port, None
        if port is not None:
            await port.stopListening()

    def leave(self) -> None:
        """
        As `close`, but the socket goes on for whoever else has it. Idempotent.
        """
        self.pause()
        self._socket.close()
        port, self._port = self._port, None
        if port is not None:
            port.socket.close()


async def open_port(
    endpoint: str,
    *,
    reactor: Any,
    loop: asyncio.AbstractEventLoop,
    make_protocol: MakeProtocol,
    inherited: int | None = None,
) -> ListeningPort:
    """
    Open a port. Nothing is accepted yet.

    Args:
        endpoint: A Twisted endpoint string: `tcp:`, `tcp6:`, `unix:`, `systemd:` or another one
            that gives a plain stream socket; or `ssl:`, with Twisted's arguments `privateKey`,
            `certKey`, `extraCertChain`, `interface` and `backlog`, whose TLS is ours.
        inherited: The descriptor of a socket that listens there already.

    Raises:
        ListenError: it cannot be opened.
    """
    certificates: Certificates | None = None
    plain = endpoint
    try:
        if endpoint.startswith("ssl:"):
            plain, files = parse_tls_endpoint(endpoint)
            certificates = Certificates.load(files)
        port, sock = await _opened(plain, reactor, inherited)
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
        raise ListenError(
            f"cannot listen on {endpoint}: {_reason(error)}{_advice(error)}"
        ) from error
    return ListeningPort(
        endpoint=endpoint,
        address=port.getHost(),
        certificates=certificates,
        loop=loop,
        make_protocol=make_protocol,
        port=port,
        socket=sock,
    )


async def _opened(plain: str, reactor: Any, inherited: int | None) -> tuple[Any, socket.socket]:
    """
    Twisted's port, or what stands for it, and its socket.
    """
    if inherited is None:
        twisted = serverFromString(reactor, plain)
        if not isinstance(twisted, AdoptedStreamServerEndpoint):
            factory = _NeverBuilt()
            port = await twisted.listen(factory)
            try:
                return port, _plain_socket(port, factory)
            except ValueError:
                await port.stopListening()
                raise
        # Twisted would change the mode of a unix socket and end it when we stop.
        inherited = twisted.fileno
    os.set_inheritable(inherited, False)
    sock = socket.socket(fileno=inherited)
    sock.setblocking(False)
    if sock.type != socket.SOCK_STREAM or not _listens(sock):
        sock.close()
        raise ValueError("what was handed to us is not a listening stream socket")
    _keep_alive(sock)
    return _Inherited(sock, unlink=plain.startswith("unix:")), sock.dup()


def _listens(sock: socket.socket) -> bool:
    return bool(sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN))


def _keep_alive(sock: socket.socket) -> None:
    if sock.family != socket.AF_UNIX:
        for level, option, value in _KEEP_ALIVE:
            sock.setsockopt(level, option, value)


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
    _keep_alive(sock)
    return sock.dup()


def _advice(error: BaseException) -> str:
    taken = isinstance(error, CannotListenError) and error.socketError.errno == errno.EADDRINUSE
    return " (stop what listens there, or choose another port with LISTEN)" if taken else ""


def _reason(error: BaseException) -> str:
    if isinstance(error, CannotListenError):
        error = error.socketError
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    if isinstance(error, LookupError):
        return "systemd has handed over no such socket: start this by the .socket unit that has it"
    return str(error) or type(error).__name__
