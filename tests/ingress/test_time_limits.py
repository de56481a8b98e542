"""Clients and cells that take too long."""

import asyncio
from typing import ClassVar

from tests.ingress.harness import GET, HOST, RelayCase, Wire, in_asyncio, ok, until
from workerd_faas.ingress.limits import RelayLimits


class TimeLimits(RelayCase):
    """
    Each bound, alone.
    """

    limits: ClassVar[RelayLimits] = RelayLimits(
        tick_seconds=0.02,
        head_seconds=0.2,
        body_idle_seconds=0.25,
        keep_alive_seconds=0.3,
        first_byte_seconds=0.2,
        cell_wait_seconds=0.2,
        half_closed_seconds=0.1,
        linger_seconds=0.1,
        idle_connection_seconds=0.15,
    )

    @in_asyncio
    async def test_head(self) -> None:
        """
        A head that does not end is a 408, even if a byte comes every now and then.
        """
        wire = await self.connect()
        head = asyncio.ensure_future(wire.response())
        while not head.done():
            wire.writer.write(b"G")
            await asyncio.sleep(0.05)
        assert (await head).status == 408
        await wire.ended()

    @in_asyncio
    async def test_silent(self) -> None:
        """
        A connection on which nothing comes is closed without a word, used before or not.
        """
        wire = await self.connect()
        assert await wire.rest() == b""
        wire = await self.connect()
        await wire.send(GET)
        assert (await wire.response()).status == 200
        assert await wire.rest() == b""

    @in_asyncio
    async def test_body(self) -> None:
        """
        A body that does not go on is a 408, and its request in the cell ends.
        """
        ended = asyncio.Event()

        async def script(wire: Wire) -> None:
            await wire.head()
            await wire.ended()
            ended.set()

        self.script(script)
        response = await self.ask(
            b"POST / HTTP/1.1\r\n%sContent-Length: 5\r\n\r\nab" % HOST,
        )
        assert response.status == 408
        await ended.wait()

    @in_asyncio
    async def test_slow_body(self) -> None:
        """
        A body may take as long as it likes while it goes on.
        """
        wire = await self.connect()
        await wire.send(b"POST / HTTP/1.1\r\n%sContent-Length: 20\r\n\r\n" % HOST)
        for _ in range(20):
            await wire.send(b"x")
            await asyncio.sleep(0.03)
        assert (await wire.response()).status == 200

    @in_asyncio
    async def test_first_byte(self) -> None:
        """
        A cell that does not answer is a 504, and its request in the cell ends.
        """
        ended = asyncio.Event()

        async def script(wire: Wire) -> None:
            await wire.head()
            await wire.ended()
            ended.set()

        self.script(script)
        response = await self.ask(GET)
        assert (response.status, response.code) == (504, 10504)
        await ended.wait()

    @in_asyncio
    async def test_unread_body(self) -> None:
        """
        A cell that neither reads the body nor answers is a 504, not the client's fault.
        """

        async def script(wire: Wire) -> None:
            await wire.head()
            wire.writer.transport.pause_reading()  # type: ignore[attr-defined]
            await asyncio.sleep(10)

        self.script(script)
        wire = await self.connect()
        wire.writer.write(b"POST / HTTP/1.1\r\n%sContent-Length: 9000000\r\n\r\n" % HOST)
        wire.writer.write(b"x" * 9_000_000)
        assert (await wire.response()).status == 504

    @in_asyncio
    async def test_long_response(self) -> None:
        """
        Once a response has begun, neither its length nor its pauses are bounded.
        """

        async def script(wire: Wire) -> None:
            await wire.head()
            await wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\na")
            await asyncio.sleep(0.6)
            await wire.send(b"b")

        self.script(script)
        assert (await self.ask(GET)).body == b"ab"

    @in_asyncio
    async def test_no_cell(self) -> None:
        """
        A cell that never comes up is a 503, whatever `Cells` does.
        """
        self.cells.ready = None
        response = await self.ask(GET)
        assert response.status == 503
        assert not self.cells.wishes

    @in_asyncio
    async def test_half_closed(self) -> None:
        """
        A client that has closed its half counts as there as long as a response flows; if none
        begins, one of HTTP/1.0 counts as gone, and one of HTTP/1.1 is told so in time.
        """
        ended = asyncio.Event()

        async def script(wire: Wire) -> None:
            head = await wire.head()
            if b"/stream" in head:
                await wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n")
                for _ in range(10):
                    await wire.send(b"x")
                    await asyncio.sleep(0.04)
            else:
                await wire.ended()
                ended.set()

        self.script(script)
        wire = await self.connect()
        await wire.send(GET.replace(b"1.1", b"1.0"))
        wire.writer.write_eof()
        await ended.wait()
        assert await wire.rest() == b""
        wire = await self.connect()
        await wire.send(b"GET /stream HTTP/1.1\r\n%s\r\n" % HOST)
        wire.writer.write_eof()
        assert (await wire.response()).body == b"x" * 10
        wire = await self.connect()
        await wire.send(GET)
        wire.writer.write_eof()
        assert (await wire.response()).status == 504

    @in_asyncio
    async def test_idle_cell_connections(self) -> None:
        """
        Connections to a cell that are not used any more are closed.
        """
        assert (await self.ask(GET)).status == 200
        assert self.ingress.stats().upstream_connections == 1
        await until(lambda: self.ingress.stats().upstream_connections == 0)

    @in_asyncio
    async def test_lingering(self) -> None:
        """
        A refused client that neither closes nor stops is cut off.
        """
        wire = await self.connect()
        await wire.send(b"nonsense\r\n\r\n")
        assert (await wire.response()).status == 400
        await until(lambda: self.ingress.stats().connections == 0)


class HalfClosed(RelayCase):
    """
    Clients that have said all they will say, and functions that take their time.
    """

    limits: ClassVar[RelayLimits] = RelayLimits(tick_seconds=0.02, half_closed_seconds=0.05)

    async def wait(self, wire: Wire) -> None:
        """
        A cell that answers when it is told to.
        """
        self.answer, self.ended = asyncio.Event(), asyncio.Event()
        await wire.head()
        gone = asyncio.ensure_future(wire.ended())
        told = asyncio.ensure_future(self.answer.wait())
        await asyncio.wait((gone, told), return_when=asyncio.FIRST_COMPLETED)
        told.cancel()
        if gone.done():
            self.ended.set()
        else:
            await wire.send(ok(b"late"))

    @in_asyncio
    async def test_listening(self) -> None:
        """
        One that listens gets its response, however long that takes, after interim ones.
        """
        self.script(self.wait)
        wire = await self.connect()
        await wire.send(GET)
        wire.writer.write_eof()
        for _ in range(3):
            assert await wire.head() == b"HTTP/1.1 100 Continue\r\n\r\n"
        self.answer.set()
        assert (await wire.response()).body == b"late"
        assert await wire.rest() == b""

    @in_asyncio
    async def test_gone(self) -> None:
        """
        One that then closes the other half too ends its request in the cell.
        """
        self.script(self.wait)
        wire = await self.connect()
        await wire.send(GET)
        wire.writer.write_eof()
        assert b" 100 " in await wire.head()
        wire.close()
        await self.ended.wait()


class Sizes(RelayCase):
    """
    The bounds that are not times.
    """

    limits: ClassVar[RelayLimits] = RelayLimits(
        tick_seconds=0.02,
        head_bytes=4000,
        request_line_bytes=1000,
        header_count=20,
        body_bytes=10_000,
        connections=3,
        idle_connections=2,
    )

    @in_asyncio
    async def test_heads(self) -> None:
        """
        Too long a request line is 414; too long a head, or too many fields, is 431.
        """
        line = b"GET /%s HTTP/1.1\r\nHost: hello.example.com\r\n%s\r\n"
        for data, status in (
            (line % (b"x" * 1000, b""), 414),
            (b"GET /" + b"x" * 2000, 414),
            (b"GET /" + b"x" * 9000, 414),
            (line % (b"", b"A: " + b"x" * 4000 + b"\r\n"), 431),
            ((line % (b"", b"A: " + b"x" * 4000))[:-2], 431),
            (line % (b"", b"A: b\r\n" * 20), 431),
            (line % (b"x" * 900, b"".join(b"A%d: b\r\n" % n for n in range(19))), 200),
        ):
            wire = await self.connect()
            await wire.send(data)
            assert (await wire.response()).status == status, data[:50]
            wire.close()
            await until(lambda: self.ingress.stats().connections == 0)

    @in_asyncio
    async def test_bodies(self) -> None:
        """
        Too large a body is 413, announced or not, for functions; the API has its own bound.
        """
        announced = b"POST / HTTP/1.1\r\nHost: %s\r\nContent-Length: 10001\r\n\r\n" + b"x" * 10_001
        chunked = (
            b"POST / HTTP/1.1\r\nHost: %s\r\nTransfer-Encoding: chunked\r\n\r\n"
            + b"1000\r\n%s\r\n" % (b"x" * 4096) * 3
            + b"0\r\n\r\n"
        )
        for request in (announced, chunked):
            for host, status in ((b"hello.example.com", 413), (b"example.com", 200)):
                wire = await self.connect()
                await wire.send(request % host)
                assert (await wire.response()).status == status
                wire.close()
                await until(lambda: self.ingress.stats().connections == 0)

    @in_asyncio
    async def test_chunked_later(self) -> None:
        """
        A body that becomes too large while it is sent on is 413, and its request ends.
        """
        wire = await self.connect()
        await wire.send(b"POST / HTTP/1.1\r\n%sTransfer-Encoding: chunked\r\n\r\n" % HOST)
        await until(lambda: self.cell.connections)
        for _ in range(3):
            await wire.send(b"1000\r\n%s\r\n" % (b"x" * 4096))
        assert (await wire.response()).status == 413
        await until(lambda: self.cell.upstream.in_flight == 0)

    @in_asyncio
    async def test_connections(self) -> None:
        """
        One connection too many is a 503, and room is made by each that goes.
        """
        for _ in range(3):
            await self.connect()
        await until(lambda: self.ingress.stats().connections == 3)
        late = await self.connect()
        assert (await late.response()).status == 503
        late.close()
        self.wires[0].close()
        await until(lambda: self.ingress.stats().connections == 2)
        assert (await self.ask(GET)).status == 200

    @in_asyncio
    async def test_idle_cell_connections(self) -> None:
        """
        After a burst, no more connections than that are kept to a cell.
        """
        answer = asyncio.Event()

        async def script(wire: Wire) -> None:
            while True:
                await wire.request()
                await answer.wait()
                await wire.send(ok(b""))

        self.script(script)
        wires = [await self.connect() for _ in range(3)]
        for wire in wires:
            await wire.send(GET)
        await until(lambda: self.cell.connections == 3)
        answer.set()
        for wire in wires:
            assert (await wire.response()).status == 200
        await until(lambda: self.ingress.stats().upstream_connections == 2)
