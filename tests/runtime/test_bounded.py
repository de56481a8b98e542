"""How much a cell can have the daemon keep."""

from collections.abc import Sequence

import pytest
from twisted.internet.testing import StringTransport
from twisted.web.resource import Resource
from twisted.web.server import Request, Site

from workerd_faas.runtime.bounded import BoundedRequest


class Small(BoundedRequest):
    """
    Of ten bytes.
    """

    most = 10


class Told(Resource):
    """
    Keeps the bodies that it gets.
    """

    isLeaf = True

    def __init__(self) -> None:
        super().__init__()
        self.bodies: list[bytes] = []

    def render_POST(self, request: Request) -> bytes:
        """
        Answer at once.
        """
        assert request.content is not None
        self.bodies.append(request.content.read())
        return b""


def sent(*pieces: bytes) -> tuple[Sequence[bytes], bool]:
    """
    The bodies that arrive when this is sent, and whether the connection ends.
    """
    told = Told()
    protocol = Site(told, requestFactory=Small, timeout=None).buildProtocol(None)
    transport = StringTransport()
    protocol.makeConnection(transport)
    for piece in pieces:
        protocol.dataReceived(piece)
    return told.bodies, transport.disconnecting


HEAD = b"POST / HTTP/1.1\r\nhost: daemon\r\n"
CHUNKED = HEAD + b"transfer-encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    ("pieces", "bodies", "ends"),
    [
        ((HEAD + b"content-length: 10\r\n\r\n0123456789",), [b"0123456789"], False),
        ((CHUNKED + b"5\r\n01234\r\n5\r\n56789\r\n0\r\n\r\n",), [b"0123456789"], False),
        ((HEAD + b"content-length: 11\r\n\r\n", b"0123456789", b"0"), [], True),
        ((CHUNKED + b"5\r\n01234\r\n6\r\n", b"567890\r\n0\r\n\r\n"), [], True),
        ((CHUNKED + b"b\r\n0123456789", b"0\r\n", b"5\r\n01234\r\n"), [], True),
    ],
)
def test_bodies(pieces: Sequence[bytes], bodies: Sequence[bytes], ends: bool) -> None:
    """
    A body up to the bound arrives; one beyond it does not, and ends the connection, whether it says
    its length or not.
    """
    assert sent(*pieces) == (bodies, ends)
