"""No cell is ready, or the one that was has just died."""

import asyncio
from typing import ClassVar

from tests.ingress.harness import GET, HOST, Cell, RelayCase, in_asyncio, twisted, until
from workerd_faas.domain.errors import Kind, Problem
from workerd_faas.ingress.limits import RelayLimits

NOT_UP = Problem(kind=Kind.UNAVAILABLE, message="It does not come up.", retry_after=7)


class Waiting(RelayCase):
    """
    Requests that come before their cell.
    """

    @in_asyncio
    async def test_ready(self) -> None:
        """
        A request waits for its cell, with what there is of its body.
        """
        self.cells.ready = None
        wire = await self.connect()
        await wire.send(b"POST /x HTTP/1.1\r\n%sContent-Length: 6\r\n\r\nabc" % HOST)
        await until(lambda: self.cells.wishes)
        await wire.send(b"def")
        assert self.ingress.stats().in_flight == 1
        self.cells.come_up(self.cell.upstream)
        assert (await wire.response()).body == b"POST /x HTTP/1.1"

    @in_asyncio
    async def test_at_once(self) -> None:
        """
        `Cells` may call back before `when_ready` returns, for hundreds of requests in a row.
        """
        self.cells.ready = None
        wire = await self.connect()
        self.cells.at_once = self.cell.upstream
        await wire.send(GET)
        assert (await wire.response()).status == 200
        self.cells.at_once = NOT_UP
        await wire.send(GET * 500)
        for _ in range(500):
            response = await wire.response()
            assert (response.status, response.fields[b"retry-after"]) == (503, b"7")

    @in_asyncio
    async def test_not_ready(self) -> None:
        """
        What keeps the cell from coming up is the answer.
        """
        self.cells.ready = None
        wire = await self.connect()
        await wire.send(GET)
        await until(lambda: self.cells.wishes)
        self.cells.come_up(NOT_UP)
        response = await wire.response()
        assert (response.status, response.fields[b"retry-after"]) == (503, b"7")

    @in_asyncio
    async def test_client_gone(self) -> None:
        """
        A client that leaves takes its wish with it.
        """
        self.cells.ready = None
        wire = await self.connect()
        await wire.send(GET)
        await until(lambda: self.cells.wishes)
        wire.reset()
        await until(lambda: not self.cells.wishes)
        assert self.ingress.stats().in_flight == 0

    @in_asyncio
    async def test_large_body(self) -> None:
        """
        While there is no cell, no more than a bounded part of a body is taken from the client.
        """
        self.cells.ready = None
        size = 50_000_000
        wire = await self.connect()
        wire.writer.write(b"POST / HTTP/1.1\r\n%sContent-Length: %d\r\n\r\n" % (HOST, size))
        wire.writer.write(b"x" * size)
        await until(lambda: self.cells.wishes)
        left, before = size, -1
        while left != before:
            left, before = wire.writer.transport.get_write_buffer_size(), left
            await asyncio.sleep(0.05)
        assert left > size - 20_000_000
        self.cells.come_up(self.cell.upstream)
        assert (await wire.response()).status == 200


class Refused(RelayCase):
    """
    A cell that does not take connections any more.
    """

    limits: ClassVar[RelayLimits] = RelayLimits(tick_seconds=0.02, refused_seconds=0.2)

    @in_asyncio
    async def test_successor(self) -> None:
        """
        A request that met a dead cell goes to the next one as soon as the dead one is retired.
        """
        await self.cell.stop()
        wire = await self.connect()
        await wire.send(GET)
        await until(lambda: self.cell.upstream.served == 1)
        await until(lambda: self.cell.upstream.in_flight == 0)
        successor = Cell(self.directory, "successor")
        await successor.start()
        self.cells.ready = successor.upstream
        self.cell.upstream.retire()
        assert (await wire.response()).status == 200
        assert successor.upstream.in_flight == 0
        await twisted(self.ingress.stop())
        await successor.stop()

    @in_asyncio
    async def test_no_successor(self) -> None:
        """
        A request that met a dead cell is a 503 when no other one comes up.
        """
        await self.cell.stop()
        response = await self.ask(GET)
        assert (response.status, response.code) == (503, 10503)
        assert b"retry-after" in response.fields

    @in_asyncio
    async def test_api(self) -> None:
        """
        An API that is down is a 502.
        """
        await self.api.stop()
        response = await self.ask(b"GET / HTTP/1.1\r\nHost: example.com\r\n\r\n")
        assert response.status == 502

    @in_asyncio
    async def test_retired(self) -> None:
        """
        A retired cell's kept connections are closed, and what it is doing goes on.
        """
        wire = await self.connect()
        await wire.send(GET)
        assert (await wire.response()).status == 200
        assert self.ingress.stats().upstream_connections == 1
        self.cell.upstream.retire()
        await until(lambda: self.ingress.stats().upstream_connections == 0)
