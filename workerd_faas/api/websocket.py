"""
A WebSocket (RFC 6455) in the place of an HTTP/1.1 response of twisted.web.

The protocol is the `websockets` library's, without its I/O. Twisted's own server (26.10) cannot
choose a subprotocol and refuses unmasked frames; Autobahn can do both, with a dozen packages for
protocols that we do not speak.
"""

from collections.abc import Sequence
from typing import Any, Final, Protocol

import attrs
from twisted.internet.interfaces import IDelayedCall, IPushProducer
from twisted.internet.protocol import Protocol as ByteProtocol
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure
from twisted.web.iweb import IRequest
from websockets.datastructures import Headers
from websockets.http11 import Request as Handshake
from websockets.protocol import State
from websockets.server import ServerProtocol
from websockets.typing import Subprotocol
from zope.interface import implementer

from workerd_faas.domain.errors import Kind, Problem

MAX_RECEIVED: Final = 4096
"""Bytes of a message from the client: it has next to nothing to say."""

SILENCE_SECONDS: Final = 75.0
"""A client from which nothing comes for so long is gone. It is pinged before."""

PING_SECONDS: Final = 25.0

_MASKED: Final = 0x80
_NO_MASK: Final = bytes(4)


class Talker(Protocol):
    """
    Whom a socket serves.
    """

    def resumed(self) -> None:
        """
        The client reads on: `Socket.is_full` is false again.
        """

    def gone(self) -> None:
        """
        The connection is gone. Called once, last, unless `Socket.close` was called before.
        """


@attrs.define
class FirstFrame:
    """
    Puts a mask of zeros on a stream's first frame if it has none.

    Wrangler sends its first frame unmasked, against RFC 6455 section 5.1; all others must be
    masked, and the library sees to that.
    """

    _head: bytes = b""
    _done: bool = False

    def feed(self, data: bytes) -> bytes:
        """
        The bytes as the library should have them.
        """
        if self._done:
            return data
        head = self._head + data
        if len(head) < 2:
            self._head = head
            return b""
        length = 2 + {126: 2, 127: 8}.get(head[1] & 0x7F, 0)
        if len(head) < length:
            self._head = head
            return b""
        self._done, self._head = True, b""
        if head[1] & _MASKED:
            return head
        return head[:1] + bytes([head[1] | _MASKED]) + head[2:length] + _NO_MASK + head[length:]


@implementer(IPushProducer)
class Socket(ByteProtocol):
    """
    The server's end of one WebSocket on which only the server talks.

    Attributes:
        is_full: The client does not read as fast as it is sent to.
        talker: Set before anything is sent.
    """

    talker: Talker

    def __init__(self, reactor: Any, answer: bytes) -> None:
        """
        Args:
            reactor: Provides IReactorTime.
            answer: What `accept` gave.
        """
        self._reactor = reactor
        self._answer = answer
        self._protocol = ServerProtocol(state=State.OPEN, max_size=MAX_RECEIVED)
        self._first = FirstFrame()
        self._heard: float = reactor.seconds()
        self._watch: IDelayedCall | None = None
        self.is_full = False
        self._closed = False

    def connectionMade(self) -> None:
        """
        The connection is ours; the handshake's answer goes out.
        """
        transport: Any = self.transport
        transport.registerProducer(self, True)
        self._watch = self._reactor.callLater(PING_SECONDS, self._look)
        transport.write(self._answer)

    def dataReceived(self, data: bytes) -> None:
        """
        What the client says is not of interest; pings and closing are answered by the library.
        """
        self._heard = self._reactor.seconds()
        self._protocol.receive_data(self._first.feed(data))
        self._protocol.events_received()
        self._write()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """
        The client is gone.
        """
        if self._watch is not None and self._watch.active():
            self._watch.cancel()
        if not self._closed:
            self._closed = True
            self.talker.gone()

    def send(self, message: str) -> None:
        """
        Send a text message.
        """
        if not self._closed and not self._protocol.close_expected():
            self._protocol.send_text(message.encode())
            self._write()

    def close(self, code: int, reason: str) -> None:
        """
        Say goodbye, and cut the connection when it has been said.
        """
        if not self._closed:
            self._closed = True
            if not self._protocol.close_expected():
                self._protocol.send_close(code, reason)
            self._write()
            transport: Any = self.transport
            transport.unregisterProducer()
            # The relay or the client closes after the goodbye; this is for those who do not.
            self._reactor.callLater(5, transport.abortConnection)

    def pauseProducing(self) -> None:
        """
        See `IPushProducer`.
        """
        self.is_full = True

    def resumeProducing(self) -> None:
        """
        See `IPushProducer`.
        """
        self.is_full = False
        self.talker.resumed()

    def stopProducing(self) -> None:
        """
        See `IPushProducer`: the connection is lost.
        """
        self.is_full = True

    def _write(self) -> None:
        transport: Any = self.transport
        for data in self._protocol.data_to_send():
            if data:
                transport.write(data)
            else:  # the library's sign for the end
                transport.loseConnection()

    def _look(self) -> None:
        transport: Any = self.transport
        if self._reactor.seconds() - self._heard > SILENCE_SECONDS:
            transport.abortConnection()
            return
        if not self._protocol.close_expected():
            self._protocol.send_ping(b"")
            self._write()
        self._watch = self._reactor.callLater(PING_SECONDS, self._look)


def accept(request: IRequest, subprotocols: Sequence[str]) -> bytes:
    """
    The answer to the handshake of a request for a WebSocket with one of these subprotocols.

    Raises:
        Problem: `BAD_REQUEST` when it is none.
    """
    protocol = ServerProtocol(subprotocols=[Subprotocol(each) for each in subprotocols])
    headers = Headers(
        (name.decode("latin-1"), value.decode("latin-1"))
        for name, values in request.requestHeaders.getAllRawHeaders()
        for value in values
    )
    answer = protocol.accept(Handshake(path="/", headers=headers))
    if answer.status_code != 101 or protocol.subprotocol is None:
        raise Problem(
            kind=Kind.BAD_REQUEST,
            message=f"This is a WebSocket of the subprotocol {' or '.join(subprotocols)}.",
        )
    return answer.serialize()


def take_over(request: Any, socket: Socket) -> None:
    """
    Let `socket` have the request's connection, which twisted.web must not touch any more. Nothing
    of the client's can have come yet: it has to wait for the answer.
    """
    channel = request.channel
    transport = channel.transport
    transport.unregisterProducer()
    transport.protocol = socket
    socket.makeConnection(transport)
    transport.resumeProducing()
