"""Large bodies are for those who are known; heads may be as large as the relay lets them be."""

from typing import Any

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol
from twisted.internet.protocol import Protocol
from twisted.python.failure import Failure
from twisted.web.iweb import IRequest

from tests.api.platform import ESM, INDEX, SCRIPTS, PlatformTestCase, form, reactor
from workerd_faas.api.app import Api
from workerd_faas.api.request import MAX_BODY
from workerd_faas.domain.limits import MIB, UploadLimits

HEAD = (
    f"PUT {SCRIPTS}/hello HTTP/1.1\r\nHost: api\r\nContent-Length: %d\r\n"
    "Content-Type: multipart/form-data; boundary=BB\r\n%s\r\n"
)


class Client(Protocol):
    """
    Says what it is told and keeps the answer.

    Attributes:
        answered: Fires with the head of the answer.
        gone: Fires when the connection is lost.
    """

    transport: Any

    def __init__(self) -> None:
        self.received = b""
        self.answered: Deferred[bytes] = Deferred()
        self.gone: Deferred[None] = Deferred()

    def dataReceived(self, data: bytes) -> None:
        """
        See `Protocol`.
        """
        self.received += data
        head, end, _ = self.received.partition(b"\r\n\r\n")
        if end and not self.answered.called:
            self.answered.callback(head)

    def connectionLost(self, reason: Failure | None = None) -> None:
        """
        See `Protocol`.
        """
        self.gone.callback(None)
        if not self.answered.called:
            self.answered.callback(b"no answer")


class LargeBodyTests(PlatformTestCase):
    """
    Who may send one.
    """

    limits = UploadLimits(code=8 * MIB)

    async def connect(self, port: int = 0) -> Client:
        """
        A connection to the API.
        """
        endpoint = TCP4ClientEndpoint(reactor, "127.0.0.1", port or self.port.getHost().port)
        client: Client = await connectProtocol(endpoint, Client())
        self.addCleanup(lambda: client.gone)
        self.addCleanup(client.transport.abortConnection)
        return client

    async def test_strangers_body_is_not_taken(self) -> None:
        """
        A stranger is refused after 2 MiB of what it sends, without waiting for the rest.
        """
        for more in ("", "Authorization: Bearer nobody\r\n"):
            client = await self.connect()
            client.transport.write((HEAD % (16 * MIB, more)).encode() + bytes(MAX_BODY + 1))
            head = await client.answered
            self.assertTrue(head.startswith(b"HTTP/1.1 401 "), head)
            self.assertIn(b"WWW-Authenticate: Bearer", head)

    async def test_body_of_a_tenant_is_taken(self) -> None:
        """
        An upload of more than 2 MiB is stored for somebody with a token, and only then, in whatever
        case its type is written.
        """
        big = ("big.js", ESM, b"//" + bytes(4 * MIB))
        stored = await self.upload("/hello", INDEX, big)
        self.assertGreater(stored.result["size"], 4 * MIB)
        content_type, body = form(INDEX, big)
        headers = {"content-type": content_type.replace("multipart/form", "Multipart/Form")}
        stored = await self.ask("PUT", f"{SCRIPTS}/hello", body=body, headers=headers)
        self.assertGreater(stored.result["size"], 4 * MIB)
        refused = await self.upload("/hello", INDEX, big, bearer="nobody")
        self.assertEqual(refused.status, 401)

    async def listen(self, knows: Any) -> int:
        """
        A site that asks `knows` who somebody is; returns its port.
        """
        site = Api([]).site(reactor, max_upload=64 * MIB, known_by=[knows])
        port = reactor.listenTCP(0, site, interface="127.0.0.1")
        self.addCleanup(lambda: maybeDeferred(port.stopListening))
        number: int = port.getHost().port
        return number

    async def test_nothing_is_read_meanwhile(self) -> None:
        """
        While it is being found out who sends a large body, the rest of it stays with the sender.
        """
        asked: Deferred[Any] = Deferred()
        answer: Deferred[bool] = Deferred()

        async def knows(request: IRequest) -> bool:
            asked.callback(request)
            return await answer

        client = await self.connect(await self.listen(knows))
        size = 48 * MIB
        client.transport.write((HEAD % (size, "")).encode() + bytes(size))
        request = await asked
        await _turns()
        self.assertLess(request._received, MAX_BODY + MIB)
        answer.callback(True)
        head = await client.answered
        self.assertTrue(head.startswith(b"HTTP/1.1 404 "), head)
        self.assertEqual(request._received, size)

    async def test_body_that_is_complete(self) -> None:
        """
        A body that is all there before it is known who sent it waits no longer.
        """
        cancelled: Deferred[None] = Deferred()

        async def knows(request: IRequest) -> bool:
            return bool(await Deferred(lambda _: cancelled.callback(None)))

        client = await self.connect(await self.listen(knows))
        client.transport.write((HEAD % (MAX_BODY + 1, "")).encode() + bytes(MAX_BODY + 1))
        self.assertTrue((await client.answered).startswith(b"HTTP/1.1 404 "))
        await cancelled

    async def test_failure_to_find_out(self) -> None:
        """
        A mistake of ours on the way closes the connection and is logged.
        """

        async def knows(request: IRequest) -> bool:
            raise RuntimeError("a mistake")

        client = await self.connect(await self.listen(knows))
        client.transport.write((HEAD % (4 * MIB, "")).encode() + bytes(MAX_BODY + 1))
        self.assertEqual(await client.answered, b"no answer")
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)


class LargeHeadTests(PlatformTestCase):
    """
    What the relay lets through.
    """

    async def test_head_of_64_kib(self) -> None:
        """
        One field of 60 kB, or a hundred of 600 bytes, are answered as any request is.
        """
        for headers in ({"Cookie": "a" * 60_000}, {f"X-{n}": "a" * 600 for n in range(100)}):
            answer = await self.ask("GET", SCRIPTS, headers=headers)
            self.assertEqual(answer.status, 200)


async def _turns() -> None:
    for _ in range(50):
        turn: Deferred[None] = Deferred()
        reactor.callLater(0, turn.callback, None)
        await turn
