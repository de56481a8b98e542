"""The server's end of a WebSocket, byte by byte."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.http_headers import Headers
from websockets.exceptions import ProtocolError
from websockets.frames import Frame, Opcode
from websockets.streams import StreamReader

from workerd_faas.api.websocket import (
    PING_SECONDS,
    SILENCE_SECONDS,
    FirstFrame,
    Socket,
    accept,
)
from workerd_faas.domain.errors import Problem

HANDSHAKE = {
    b"connection": b"Upgrade",
    b"upgrade": b"websocket",
    b"sec-websocket-version": b"13",
    b"sec-websocket-key": b"dGhlIHNhbXBsZSBub25jZQ==",
    b"sec-websocket-protocol": b"trace-v1",
}


def parsed(data: bytes, *, masked: bool) -> list[Frame]:
    """
    The frames in a stream, as the library reads them.
    """
    reader, found = StreamReader(), []
    reader.feed_data(data)
    while True:
        parser = Frame.parse(reader.read_exact, mask=masked)
        try:
            next(parser)
        except StopIteration as ended:
            found.append(ended.value)
            continue
        return found


@given(st.binary(max_size=70_000), st.booleans(), st.lists(st.integers(1, 20), max_size=10))
def test_the_first_frame_may_be_bare(payload: bytes, masked: bool, cuts: list[int]) -> None:
    """
    However the bytes are cut, the first frame comes out masked with the payload that it had, and
    what follows is as it was.
    """
    first = Frame(Opcode.TEXT, payload).serialize(mask=masked)
    second = Frame(Opcode.PING, b"ping").serialize(mask=True)
    data, filter_, out = first + second, FirstFrame(), b""
    for cut in cuts:
        out, data = out + filter_.feed(data[:cut]), data[cut:]
    out += filter_.feed(data)
    frames = parsed(out, masked=True)
    assert [bytes(frame.data) for frame in frames] == [payload, b"ping"]
    assert out.endswith(second)


def test_only_the_first_one_may() -> None:
    """
    A second frame without a mask is refused by the library.
    """
    filter_ = FirstFrame()
    bare = Frame(Opcode.TEXT, b"x").serialize(mask=False)
    with pytest.raises(ProtocolError):
        parsed(filter_.feed(bare + bare), masked=True)


class Request:
    """
    A request with these headers.
    """

    def __init__(self, headers: dict[bytes, bytes]) -> None:
        self.requestHeaders = Headers({name: [value] for name, value in headers.items()})


class Talker:
    """
    Counts what it is told.
    """

    def __init__(self) -> None:
        self.told: list[str] = []

    def resumed(self) -> None:
        """
        See `Talker.resumed`.
        """
        self.told.append("resumed")

    def gone(self) -> None:
        """
        See `Talker.gone`.
        """
        self.told.append("gone")


class Transport(StringTransport):
    """
    Remembers being cut off.
    """

    aborted = False

    def abortConnection(self) -> None:
        """
        See `ITCPTransport`.
        """
        self.aborted = True


class SocketTests(SynchronousTestCase):
    """
    One connection.
    """

    def setUp(self) -> None:
        """
        The handshake is done.
        """
        self.clock = Clock()
        request: Any = Request(HANDSHAKE)
        self.socket = Socket(self.clock, accept(request, ["trace-v1"]))
        self.talker = Talker()
        self.socket.talker = self.talker
        self.transport = Transport()
        self.socket.makeConnection(self.transport)
        head = self.transport.value()
        self.assertIn(b"HTTP/1.1 101 ", head)
        self.assertIn(b"Sec-WebSocket-Protocol: trace-v1\r\n", head)
        self.transport.clear()

    def sent(self) -> list[Frame]:
        """
        The frames that went out since the last time.
        """
        found = parsed(self.transport.value(), masked=False)
        self.transport.clear()
        return found

    def hear(self, opcode: Opcode, payload: bytes, *, mask: bool = True) -> None:
        """
        The client sends a frame.
        """
        self.socket.dataReceived(Frame(opcode, payload).serialize(mask=mask))

    def test_wranglers_first_frame_and_pings(self) -> None:
        """
        The unmasked first frame is taken, and a ping is answered with its own payload.
        """
        self.hear(Opcode.TEXT, b'{"debug":false}', mask=False)
        self.hear(Opcode.PING, b"wrangler tail ping")
        (pong,) = self.sent()
        self.assertEqual((pong.opcode, pong.data), (Opcode.PONG, b"wrangler tail ping"))

    def test_a_second_bare_frame_ends_it(self) -> None:
        """
        As RFC 6455 section 5.1 wants it: close code 1002.
        """
        self.hear(Opcode.TEXT, b"x", mask=False)
        self.hear(Opcode.TEXT, b"y", mask=False)
        (close,) = self.sent()
        self.assertEqual(close.data[:2], (1002).to_bytes(2, "big"))
        self.socket.send("nothing more")
        self.assertEqual(self.sent(), [])

    def test_a_long_message_ends_it(self) -> None:
        """
        A client that says much is cut off: close code 1009.
        """
        self.hear(Opcode.TEXT, b"x" * 5000)
        (close,) = self.sent()
        self.assertEqual(close.data[:2], (1009).to_bytes(2, "big"))

    def test_sending_and_closing(self) -> None:
        """
        Messages are text frames; a goodbye is one close frame, and the connection is cut when
        nobody answers it.
        """
        self.socket.send("hé")
        self.socket.close(1012, "restart")
        self.socket.send("late")
        self.socket.close(1000, "again")
        text, close = self.sent()
        self.assertEqual((text.opcode, text.data), (Opcode.TEXT, "hé".encode()))
        self.assertEqual(close.data[:2], (1012).to_bytes(2, "big"))
        self.clock.advance(5)
        self.assertTrue(self.transport.aborted)
        self.socket.connectionLost()
        self.assertEqual(self.talker.told, [])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_the_client_closes(self) -> None:
        """
        Its goodbye is answered, the connection closed, and whoever talks is told once.
        """
        self.hear(Opcode.CLOSE, (1000).to_bytes(2, "big"))
        (close,) = self.sent()
        self.assertEqual(close.opcode, Opcode.CLOSE)
        self.assertTrue(self.transport.disconnecting)
        self.socket.connectionLost()
        self.assertEqual(self.talker.told, ["gone"])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_a_silent_client_is_pinged_and_then_gone(self) -> None:
        """
        Silence is asked about, and after a while cut off; an answer is as good as a word.
        """
        self.clock.advance(PING_SECONDS)
        (ping,) = self.sent()
        self.assertEqual(ping.opcode, Opcode.PING)
        self.hear(Opcode.PONG, b"")
        for _ in range(int(SILENCE_SECONDS // PING_SECONDS)):
            self.clock.advance(PING_SECONDS)
        self.assertFalse(self.transport.aborted)
        self.clock.advance(PING_SECONDS)
        self.assertTrue(self.transport.aborted)
        self.socket.connectionLost()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_backpressure(self) -> None:
        """
        The transport's word decides whether more may be sent.
        """
        self.socket.pauseProducing()
        self.assertTrue(self.socket.is_full)
        self.socket.resumeProducing()
        self.assertFalse(self.socket.is_full)
        self.assertEqual(self.talker.told, ["resumed"])


@pytest.mark.parametrize(
    "missing", [b"upgrade", b"sec-websocket-key", b"sec-websocket-protocol", b"connection"]
)
def test_what_is_no_handshake_is_refused(missing: bytes) -> None:
    """
    Each part of the handshake is needed, our subprotocol too.
    """
    headers = {name: value for name, value in HANDSHAKE.items() if name != missing}
    request: Any = Request(headers)
    with pytest.raises(Problem):
        accept(request, ["trace-v1"])
    other: Any = Request(HANDSHAKE | {b"sec-websocket-protocol": b"chat"})
    with pytest.raises(Problem):
        accept(other, ["trace-v1"])
