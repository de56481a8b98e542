"""What the relay asks of sockets beyond bytes."""

import array
import asyncio
import fcntl
import os
import socket
import struct
import termios
from collections.abc import Iterator, Sequence
from typing import Any, Final

from workerd_faas.ingress.peers import Network, Peer, is_trusted, parse_address

HIGH_WATER: Final = 64 * 1024
LOW_WATER: Final = 16 * 1024
"""Bytes that wait in a transport before the other side is told to stop, and to go on."""

_RESET: Final = struct.pack("ii", 1, 0)
_LOOPBACK: Final = parse_address("127.0.0.1")


def set_limits(transport: asyncio.Transport) -> None:
    """
    Bound what waits in a transport.
    """
    transport.set_write_buffer_limits(HIGH_WATER, LOW_WATER)


def unread(transport: asyncio.Transport) -> Iterator[bytes]:
    """
    What the other end has sent before it closed. A write that fails ends the transport at once,
    and nobody is told of what is left in the socket.
    """
    descriptor = transport.get_extra_info("socket").fileno()
    while True:
        try:
            data = os.read(descriptor, HIGH_WATER)
        except OSError:
            return
        if not data:
            return
        yield data


def unacknowledged(transport: asyncio.Transport) -> bool:
    """
    Whether something that was sent over TCP has not been acknowledged by the other end.
    """
    count = array.array("i", [0])
    fcntl.ioctl(transport.get_extra_info("socket").fileno(), termios.TIOCOUTQ, count)
    return count[0] > 0


def peer_of(transport: asyncio.Transport, proxies: Sequence[Network]) -> Peer:
    """
    Who is at the other end. A peer on a unix socket is on this machine, and so is trusted when
    127.0.0.1 is.
    """
    name: Any = transport.get_extra_info("peername")
    address = None
    if isinstance(name, tuple) and len(name) >= 2:
        address = parse_address(str(name[0]))
    tls = transport.get_extra_info("ssl_object")
    cipher = None if tls is None else tls.cipher()
    return Peer(
        address=address,
        tls=None if tls is None else (tls.version() or "", cipher[0] if cipher else ""),
        trusted=bool(proxies) and is_trusted(address or _LOOPBACK, proxies),
    )


def reset(transport: asyncio.Transport, peer: Peer) -> None:
    """
    End a connection so that nobody takes what was sent for something whole.
    """
    sock: socket.socket | None = transport.get_extra_info("socket")
    if sock is not None and peer.address is not None and peer.tls is None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    transport.abort()
