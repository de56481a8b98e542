"""Whoever is slow slows the other side down, and nobody's bytes pile up."""

import asyncio
from typing import ClassVar

from tests.ingress.harness import GET, HOST, RelayCase, Wire, in_asyncio, until
from workerd_faas.ingress.limits import RelayLimits

PIECE = b"x" * 65536
TOTAL = 64 * 1024 * 1024
KERNEL = 40 * 1024 * 1024
"""More than Linux lets the sockets on the way hold (32 MiB to read, 4 MiB to write)."""

LARGE = 12 * 1024 * 1024
"""More than they hold of a response, if the client's buffer is narrow."""


async def settled(wire: Wire) -> int:
    """
    What waits in a writer once it does not get less any more.
    """
    left, before = wire.writer.transport.get_write_buffer_size(), -1
    while left != before or not left:
        await asyncio.sleep(0.1)
        left, before = wire.writer.transport.get_write_buffer_size(), left
        if not left:
            return 0
    return left


class Backpressure(RelayCase):
    """
    A side that does not read.
    """

    @in_asyncio
    async def test_slow_client(self) -> None:
        """
        A client that does not read stops the cell's writing, and gets everything when it does.
        """
        cells: list[Wire] = []

        async def script(wire: Wire) -> None:
            await wire.request()
            cells.append(wire)
            wire.writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % TOTAL)
            wire.writer.write(b"x" * TOTAL)
            await wire.ended()

        self.script(script)
        wire = await self.connect_narrow()
        await wire.send(GET)
        await until(lambda: cells)
        assert await settled(cells[0]) > TOTAL - KERNEL
        wire.writer.transport.resume_reading()  # type: ignore[attr-defined]
        await wire.head()
        assert len(await wire.reader.readexactly(TOTAL)) == TOTAL

    @in_asyncio
    async def test_slow_cell(self) -> None:
        """
        A cell that does not read stops the client's writing, and gets everything when it does.
        """
        read_on = asyncio.Event()

        async def script(wire: Wire) -> None:
            await wire.head()
            wire.writer.transport.pause_reading()  # type: ignore[attr-defined]
            await read_on.wait()
            wire.writer.transport.resume_reading()  # type: ignore[attr-defined]
            body = await wire.reader.readexactly(TOTAL)
            await wire.send(
                b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nX-Got: %d\r\n\r\n" % len(body)
            )

        self.script(script)
        wire = await self.connect()
        wire.writer.write(b"POST / HTTP/1.1\r\n%sContent-Length: %d\r\n\r\n" % (HOST, TOTAL))
        wire.writer.write(b"x" * TOTAL)
        await until(lambda: self.cell.connections)
        assert await settled(wire) > TOTAL - KERNEL
        read_on.set()
        assert (await wire.response()).fields[b"x-got"] == b"%d" % TOTAL

    @in_asyncio
    async def test_pipelining_without_reading(self) -> None:
        """
        A client that sends requests and never reads answers is not answered without end.
        """
        wire = await self.connect_narrow()
        request = b"GET / HTTP/1.1\r\nHost: nope.example.com\r\n\r\n"
        count = TOTAL // len(request)
        wire.writer.write(request * count)
        assert await settled(wire) > TOTAL - KERNEL
        assert (await self.ask(GET)).status == 200
        wire.reset()

    @in_asyncio
    async def test_next_response(self) -> None:
        """
        While a client has not read one response, nothing is begun of the next one.
        """
        begun: list[Wire] = []

        async def script(wire: Wire) -> None:
            while True:
                await wire.request()
                begun.append(wire)
                await wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % LARGE)
                await wire.send(b"x" * LARGE)

        self.script(script)
        for request in (GET, GET[:-2] + b"X-Other: x\r\n\r\n"):
            begun.clear()
            wire = await self.connect_narrow()
            for _ in range(3):
                await wire.send(request)
                await asyncio.sleep(0.1)
            assert len(begun) == 1
            wire.writer.transport.resume_reading()  # type: ignore[attr-defined]
            for _ in range(3):
                assert len((await wire.response()).body) == LARGE
            assert len(begun) == 3

    @in_asyncio
    async def test_tunnel(self) -> None:
        """
        A tunnel's slow side stops the other one, in both directions.
        """
        cells: list[Wire] = []

        async def script(wire: Wire) -> None:
            await wire.request()
            await wire.send(
                b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: raw\r\n\r\n"
            )
            wire.writer.transport.pause_reading()  # type: ignore[attr-defined]
            cells.append(wire)
            await wire.reader.readexactly(1)

        self.script(script)
        for index in range(2):
            wire = await self.connect()
            await wire.send(
                b"GET / HTTP/1.1\r\n%sConnection: upgrade\r\nUpgrade: raw\r\n\r\n" % HOST
            )
            await wire.head()
            await until(lambda: len(cells) > index)  # noqa: B023
            slow, fast = (wire, cells[index]) if index else (cells[index], wire)
            slow.writer.transport.pause_reading()  # type: ignore[attr-defined]
            fast.writer.write(PIECE * (TOTAL // len(PIECE)))
            assert await settled(fast) > TOTAL - KERNEL
            wire.reset()


class Stalled(RelayCase):
    """
    A client that reads nothing at all.
    """

    limits: ClassVar[RelayLimits] = RelayLimits(
        tick_seconds=0.02, write_stall_seconds=0.1, keep_alive_seconds=0.1
    )

    @in_asyncio
    async def test_cut_off(self) -> None:
        """
        It is cut off, and its request in the cell with it.
        """
        ended = asyncio.Event()

        async def script(wire: Wire) -> None:
            await wire.request()
            wire.writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % TOTAL)
            wire.writer.write(b"x" * TOTAL)
            await wire.ended()
            ended.set()

        self.script(script)
        wire = await self.connect_narrow()
        await wire.send(GET)
        await ended.wait()
        await until(lambda: self.ingress.stats().connections == 0)

    @in_asyncio
    async def test_after_the_response(self) -> None:
        """
        It is cut off as well when the cell is done and the rest of the response waits for it.
        """
        size = 8 * 1024 * 1024

        async def script(wire: Wire) -> None:
            await wire.request()
            await wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
            await wire.send(b"x" * size)

        self.script(script)
        wire = await self.connect_narrow()
        await wire.send(GET)
        await until(lambda: self.cell.upstream.served)
        await until(lambda: self.ingress.stats().connections == 0)

    @in_asyncio
    async def test_slow_is_not_stalled(self) -> None:
        """
        A client that takes a little every now and then gets everything, `close` or not.
        """
        size = 12 * 1024 * 1024

        async def script(wire: Wire) -> None:
            while True:
                await wire.request()
                await wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
                await wire.send(b"x" * size)

        self.script(script)
        for extra in (b"", b"Connection: close\r\n"):
            wire = await self.connect()
            await wire.send(b"GET / HTTP/1.1\r\n%s%s\r\n" % (HOST, extra))
            await wire.head()
            got = 0
            while got < size:
                got += len(await wire.reader.read(1024 * 1024))
                await asyncio.sleep(0.03)
