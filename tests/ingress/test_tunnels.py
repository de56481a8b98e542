"""Connections that change their protocol."""

import asyncio
import os
import socket
from typing import ClassVar

from tests.ingress.harness import HOST, RelayCase, Wire, in_asyncio, twisted, until
from workerd_faas.ingress.limits import RelayLimits

UPGRADE = (
    b"GET /socket HTTP/1.1\r\n"
    + HOST
    + b"Connection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n"
    + b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
SWITCH = (
    b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
)
TEXT = b"\x81\x05hello"


def unmasked(frame: bytes) -> bytes:
    """
    A short frame from a client, without its mask.
    """
    mask, payload = frame[2:6], frame[6:]
    return frame[:2] + bytes(byte ^ mask[i % 4] for i, byte in enumerate(payload))


class Tunnels(RelayCase):
    """
    After 101.
    """

    limits: ClassVar[RelayLimits] = RelayLimits(
        tick_seconds=0.02, tunnel_close_seconds=0.3, linger_seconds=0.1
    )

    async def open(self) -> tuple[Wire, Wire]:
        """
        The client's and the cell's end of a WebSocket.
        """
        cells: list[Wire] = []

        async def script(wire: Wire) -> None:
            request = await wire.request()
            assert request.fields[b"connection"] == b"upgrade"
            assert request.fields[b"upgrade"] == b"websocket"
            assert request.fields[b"sec-websocket-version"] == b"13"
            await wire.send(SWITCH)
            cells.append(wire)
            await asyncio.Event().wait()

        self.script(script)
        wire = await self.connect()
        await wire.send(UPGRADE)
        response = await wire.response()
        assert response.status == 101
        assert response.fields[b"upgrade"] == b"websocket"
        assert response.fields[b"connection"] == b"upgrade"
        assert b"sec-websocket-accept" in response.fields
        await until(lambda: cells)
        return wire, cells[0]

    @in_asyncio
    async def test_both_ways(self) -> None:
        """
        Bytes pass both ways, and the cell is occupied until the tunnel ends.
        """
        client, cell = await self.open()
        for _ in range(3):
            await client.send(b"ping")
            assert await cell.reader.readexactly(4) == b"ping"
            await cell.send(b"pong")
            assert await client.reader.readexactly(4) == b"pong"
        assert self.cell.upstream.in_flight == self.ingress.stats().tunnels == 1
        client.close()
        assert not await cell.ended()
        await until(lambda: self.cell.upstream.in_flight == 0)

    @in_asyncio
    async def test_half_close(self) -> None:
        """
        One side may end its half; the other goes on.
        """
        client, cell = await self.open()
        client.writer.write_eof()
        assert await cell.rest() == b""
        for _ in range(10):
            await cell.send(b"still")
            assert await client.reader.readexactly(5) == b"still"
            await asyncio.sleep(0.03)
        cell.close()
        assert await client.rest() == b""

    @in_asyncio
    async def test_half_open(self) -> None:
        """
        A client that is gone does not occupy a cell that has nothing to say to it.
        """
        client, _ = await self.open()
        client.close()
        await until(lambda: self.cell.upstream.in_flight == 0)

    @in_asyncio
    async def test_cell_gone(self) -> None:
        """
        A cell that dies ends the client's connection.
        """
        client, _ = await self.open()
        await self.cell.stop()
        await client.ended()

    @in_asyncio
    async def test_client_reset(self) -> None:
        """
        A client that is reset ends the cell's connection.
        """
        client, cell = await self.open()
        client.reset()
        await cell.ended()

    @in_asyncio
    async def test_early_bytes(self) -> None:
        """
        Frames sent before the answer has arrived, and with it, are not lost.
        """

        async def script(wire: Wire) -> None:
            await wire.request()
            await wire.send(SWITCH + TEXT)
            assert await wire.reader.readexactly(4) == b"soon"
            await wire.send(b"yes")

        self.script(script)
        wire = await self.connect()
        await wire.send(UPGRADE + b"soon")
        assert (await wire.response()).status == 101
        assert await wire.reader.readexactly(len(TEXT) + 3) == TEXT + b"yes"

    @in_asyncio
    async def test_refused_upgrade(self) -> None:
        """
        Without a 101 the connection goes on with HTTP, and what follows is the next request.
        """

        async def script(wire: Wire) -> None:
            await wire.request()
            await wire.send(b"HTTP/1.1 426 No\r\nContent-Length: 0\r\n\r\n")
            request = await wire.request()
            assert b"upgrade" not in request.fields
            await wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

        self.script(script)
        wire = await self.connect()
        await wire.send(UPGRADE + b"GET / HTTP/1.1\r\n%s\r\n" % HOST)
        assert (await wire.response()).status == 426
        assert (await wire.response()).status == 200

    @in_asyncio
    async def test_no_http2(self) -> None:
        """
        An upgrade to HTTP/2, one without `Connection: upgrade`, and one with a body never reach
        the cell as upgrades.
        """
        seen: list[dict[bytes, bytes]] = []

        async def script(wire: Wire) -> None:
            while True:
                seen.append((await wire.request()).fields)
                await wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

        self.script(script)
        wire = await self.connect()
        for fields in (
            b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n",
            b"Upgrade: websocket\r\n",
            b"Connection: upgrade\r\nUpgrade: websocket\r\nContent-Length: 1\r\n",
        ):
            await wire.send(b"GET / HTTP/1.1\r\n%s%s\r\n" % (HOST, fields))
            if b"Length" in fields:
                await wire.send(b"x")
            assert (await wire.response()).status == 200
        assert not any(name in fields for fields in seen for name in (b"upgrade", b"connection"))
        assert not any(b"http2-settings" in fields for fields in seen)

    @in_asyncio
    async def test_drain_says_restart(self) -> None:
        """
        When the time to drain is over, both sides of a WebSocket are sent a close frame (1012).
        """
        client, cell = await self.open()
        draining = asyncio.ensure_future(twisted(self.ingress.drain(0.05)))
        assert await client.reader.readexactly(4) == b"\x88\x02\x03\xf4"
        assert unmasked(await cell.reader.readexactly(8)) == b"\x88\x82\x03\xf4"
        await client.send(b"\x88\x82abcd\x62\x96")
        await client.ended()
        await cell.ended()
        await draining
        assert self.ingress.stats().connections == 0

    @in_asyncio
    async def test_drain_between_frames(self) -> None:
        """
        The close frame waits for the end of the frame that is under way.
        """
        client, cell = await self.open()
        await cell.send(TEXT + TEXT[:3])
        assert await client.reader.readexactly(len(TEXT) + 3) == TEXT + TEXT[:3]
        draining = asyncio.ensure_future(twisted(self.ingress.drain(0.05)))
        assert unmasked(await cell.reader.readexactly(8)) == b"\x88\x82\x03\xf4"
        await cell.send(TEXT[3:])
        assert await client.rest() == TEXT[3:] + b"\x88\x02\x03\xf4"
        await draining

    @in_asyncio
    async def test_drain_cuts(self) -> None:
        """
        A WebSocket whose sides do not react to the close frame is cut off.
        """
        client, _ = await self.open()
        await twisted(self.ingress.drain(0))
        await client.ended()
        assert self.ingress.stats().connections == 0

    @in_asyncio
    async def test_last_call_of_a_cell(self) -> None:
        """
        When a cell's own time to finish is over, its WebSockets are closed with 1012 on both
        sides; a fragmented message may be interrupted for it, a frame may not.
        """
        client, cell = await self.open()
        await cell.send(b"\x01\x02he" + b"\x00\x02l")
        assert await client.reader.readexactly(7) == b"\x01\x02he\x00\x02l"
        self.cell.upstream.retire()
        self.cell.upstream.last_call()
        assert unmasked(await cell.reader.readexactly(8)) == b"\x88\x82\x03\xf4"
        await cell.send(b"l")
        assert await client.reader.readexactly(5) == b"l\x88\x02\x03\xf4"
        await client.send(b"\x88\x82abcd\x62\x96")
        await client.ended()
        await cell.ended()
        await until(lambda: self.cell.upstream.in_flight == 0)
        assert not self.cell.upstream._on_last_call

    @in_asyncio
    async def test_close_while_the_client_sends(self) -> None:
        """
        What a cell says before it closes reaches a client that is still sending, as a WebSocket's
        close frame (1009) does whose client sends too large a message.
        """
        client, cell = await self.open()
        said = b"\x88\x02\x03\xf1"
        # The relay is woken by the client first, and so finds the cell closed by writing to it.
        os.write(client.writer.get_extra_info("socket").fileno(), b"\x82\xff" + bytes(8))
        with socket.socket(fileno=os.dup(cell.writer.get_extra_info("socket").fileno())) as mine:
            mine.send(said)
            mine.shutdown(socket.SHUT_RDWR)
        assert await client.reader.readexactly(len(said)) == said
        client.writer.write(bytes(1_000_000))
        assert not await client.ended(), "it was reset"
        client.close()
        await until(lambda: self.ingress.stats().connections == 0)

    @in_asyncio
    async def test_ended_before_the_last_call(self) -> None:
        """
        A WebSocket that has ended leaves nothing behind with its cell.
        """
        client, _ = await self.open()
        assert len(self.cell.upstream._on_last_call) == 1
        client.reset()
        await until(lambda: self.cell.upstream.in_flight == 0)
        assert not self.cell.upstream._on_last_call
        self.cell.upstream.last_call()
