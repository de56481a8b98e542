"""What an operator reads of requests."""

import ipaddress
from collections.abc import Sequence
from typing import Any, ClassVar

from twisted.logger import capturedLogs

from tests.ingress.harness import GET, HOST, VERSION, RelayCase, Wire, in_asyncio
from workerd_faas.ingress.limits import RelayLimits


def lines(events: Sequence[Any]) -> list[str]:
    """
    The lines of the access log, without the request id and the time.
    """
    found = [event["log_line"] for event in events if "log_line" in event]
    return [line.partition(" ")[2].rpartition(" in ")[0] for line in found]


class AccessLog(RelayCase):
    """
    With ACCESS_LOG=true.
    """

    options: ClassVar[dict[str, Any]] = {"access_log": True}
    limits: ClassVar[RelayLimits] = RelayLimits(
        tick_seconds=0.02, first_byte_seconds=0.3, body_idle_seconds=0.3, head_seconds=0.3
    )

    @in_asyncio
    async def test_answered(self) -> None:
        """
        A request is a line that says who asked whom for what and was answered how; secrets that
        may be in a query are left out.
        """
        with capturedLogs() as events:
            await self.ask(b"GET /a?secret HTTP/1.1\r\n" + HOST + b"\r\n")
        assert lines(events)[0].startswith("127.0.0.1 GET hello.example.com/a 200 ")
        assert events[-1]["function"] == "hello"
        assert events[-1]["version"] == VERSION

    @in_asyncio
    async def test_client(self) -> None:
        """
        A client is named by its whole address, also where its household is counted as one.
        """
        self.ingress._relay.proxies = (ipaddress.ip_network("127.0.0.0/8"),)
        with capturedLogs() as events:
            await self.ask(b"GET / HTTP/1.1\r\n" + HOST + b"X-Forwarded-For: 2001:db8::1:2\r\n\r\n")
        assert lines(events)[0].startswith("2001:db8::1:2 GET ")

    @in_asyncio
    async def test_failed(self) -> None:
        """
        A request that was tried in vain has its function and the time that this has taken.
        """

        async def script(wire: Wire) -> None:
            await wire.request()
            await wire.reader.read()

        self.script(script)
        with capturedLogs() as events:
            assert (await self.ask(GET)).status == 504
        [event] = [event for event in events if "log_line" in event]
        assert (event["status"], event["function"]) == (504, "hello")
        assert event["seconds"] > 0

    @in_asyncio
    async def test_broken_off(self) -> None:
        """
        A response that breaks off is the fault of the function's process, not of the client.
        """

        async def script(wire: Wire) -> None:
            await wire.request()
            await wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf")

        self.script(script)
        with capturedLogs() as events:
            wire = await self.connect()
            await wire.send(GET)
            await wire.ended()
        assert [event["status"] for event in events if "log_line" in event] == [502]

    @in_asyncio
    async def test_refused(self) -> None:
        """
        What was refused is there too, with the status that the client was told.
        """
        post = b"POST / HTTP/1.1\r\n%sContent-Length: 3\r\n\r\n" % HOST
        with capturedLogs() as events:
            for sent, status in ((b"GET / FTP\r\n\r\n", 400), (b"GET / ", 408), (post, 408)):
                assert (await self.ask(sent)).status == status
        assert [line.rpartition(" ")[0].rpartition(" ")[0] for line in lines(events)] == [
            "127.0.0.1 - - 400",
            "127.0.0.1 - - 408",
            "127.0.0.1 POST hello.example.com/ 408",
        ]

    @in_asyncio
    async def test_hostile(self) -> None:
        """
        No byte of a client's is a command to the terminal on which the log is read.
        """
        with capturedLogs() as events:
            await self.ask(b"GET /\x9b1m HTTP/1.1\r\nHost: \x9b2m\r\n\r\n")
        [line] = lines(events)
        assert line.isascii()
        assert line.isprintable()
