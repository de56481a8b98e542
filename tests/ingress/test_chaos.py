"""Random clients against random cells: nothing leaks, and nobody gets another's answer."""

import asyncio
import contextlib
import functools
import random
from typing import ClassVar

from tests.ingress.harness import GET, HOST, RelayCase, Wire, in_asyncio, until
from workerd_faas.ingress.limits import RelayLimits

SEEDS = range(6)
CLIENTS = 25


class Chaos(RelayCase):
    """
    Everything at once.
    """

    timeout = 120
    limits: ClassVar[RelayLimits] = RelayLimits(
        tick_seconds=0.02,
        head_seconds=0.3,
        body_idle_seconds=0.3,
        keep_alive_seconds=0.5,
        first_byte_seconds=0.4,
        cell_wait_seconds=0.2,
        refused_seconds=0.2,
        write_stall_seconds=0.3,
        half_closed_seconds=0.1,
        linger_seconds=0.1,
        tunnel_close_seconds=0.1,
        idle_connections=3,
        idle_connection_seconds=0.1,
    )

    @in_asyncio
    async def test_chaos(self) -> None:
        """
        After any storm the relay is as it was before, and the next request is answered.
        """
        for seed in SEEDS:
            source = random.Random(seed)
            self.script(functools.partial(hostile_cell, source=source))
            clients = [self.client(source, number) for number in range(CLIENTS)]
            await asyncio.wait_for(asyncio.gather(*clients), 60)
            await until(lambda: self.ingress.stats().in_flight == 0)
            await until(lambda: self.cell.upstream.in_flight == 0)
        await until(lambda: self.ingress.stats().connections == 0)
        await until(lambda: self.ingress.stats().upstream_connections == 0)
        self.script(honest_cell)
        assert (await self.ask(GET)).body == b"honest"

    async def client(self, source: random.Random, number: int) -> None:
        """
        A client that may do anything at any time.
        """
        wire = await self.connect()
        # A response that has begun may take for ever; then the client leaves.
        with contextlib.suppress(
            ConnectionError, asyncio.IncompleteReadError, RuntimeError, TimeoutError
        ):
            for count in range(source.randrange(1, 6)):
                tag = b"%d-%d-%d" % (number, count, source.randrange(1 << 30))
                data, sound = request(source, tag)
                parts = pieces(source, data)
                for part in parts:
                    wire.writer.write(part)
                    await asyncio.sleep(source.choice((0, 0, 0.001)))
                if not sound or b"".join(parts) != data:
                    # Who knows what that will be taken for.
                    await asyncio.wait_for(wire.reader.read(1000), 0.7)
                    break
                if source.random() < 0.1:
                    break
                reading = wire.response(head_only=data.startswith(b"HEAD"))
                response = await asyncio.wait_for(reading, 0.7)
                if response.status == 200:
                    # An answer names the request that it belongs to.
                    assert response.fields[b"tag"] == tag
                if response.status == 101:
                    break
        source.choice((wire.close, wire.reset))()


def request(source: random.Random, tag: bytes) -> tuple[bytes, bool]:
    """
    A request, more or less, and whether it is one.
    """
    method = source.choice((b"GET", b"POST", b"PUT", b"HEAD", b"OPTIONS"))
    line = b"%s /%s HTTP/1.1\r\n" % (method, tag)
    body = b"x" * source.choice((0, 1, 10, 1000, 200_000))
    kind = source.randrange(8)
    if kind == 0:
        return line + HOST + b"\r\n", True
    if kind == 1:
        chunks = b"%x\r\n%s\r\n" % (len(body), body) if body else b""
        framing = b"Transfer-Encoding: chunked\r\n\r\n"
        return line + HOST + framing + chunks + b"0\r\n\r\n", True
    if kind == 2:
        upgrade = b"Connection: upgrade\r\nUpgrade: websocket\r\n\r\n"
        return line + HOST + upgrade + body[:50], not body
    if kind == 3:
        return line + HOST + b"Expect: 100-continue\r\nContent-Length: 5\r\n\r\n", False
    if kind == 4:
        garbage = bytearray(line + HOST + b"Content-Length: 5\r\n\r\nhello")
        garbage[source.randrange(len(line), len(garbage))] = source.randrange(256)
        return bytes(garbage), False
    if kind == 5:
        return source.randbytes(source.randrange(1, 300)), False
    return line + HOST + b"Content-Length: %d\r\n\r\n%s" % (len(body), body), True


def pieces(source: random.Random, data: bytes) -> list[bytes]:
    """
    Cut it up, and sometimes off.
    """
    if source.random() < 0.2:
        data = data[: source.randrange(len(data) + 1)]
    cuts = sorted(source.randrange(len(data) + 1) for _ in range(source.randrange(4)))
    return [data[start:end] for start, end in zip([0, *cuts], [*cuts, len(data)], strict=True)]


async def honest_cell(wire: Wire) -> None:
    """
    Answers.
    """
    while True:
        await wire.request()
        await wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nhonest")


async def hostile_cell(wire: Wire, source: random.Random) -> None:
    """
    A cell that may do anything at any time; but what it says belongs to what it was asked.
    """
    with contextlib.suppress(RuntimeError):
        while True:
            head = await wire.head()
            tag = head.split(b" ")[1][1:]
            if b"content-length" in head and source.random() < 0.5:
                await wire.reader.read(source.randrange(1, 100_000))
            for piece in pieces(source, answer(source, tag)):
                wire.writer.write(piece)
                await asyncio.sleep(source.choice((0, 0, 0.001, 0.01)))
            if source.random() < 0.3 or b"content-length" in head or b"chunked" in head:
                return


def answer(source: random.Random, tag: bytes) -> bytes:
    """
    A response, more or less.
    """
    body = b"y" * source.choice((0, 1, 1000, 300_000))
    named = b"HTTP/1.1 200 OK\r\nTag: %s\r\n" % tag
    return source.choice(
        (
            named + b"Content-Length: %d\r\n\r\n%s" % (len(body), body),
            named + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
            named + b"\r\n" + body,
            b"HTTP/1.1 100 Continue\r\n\r\n" + named + b"Content-Length: 0\r\n\r\n",
            b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n"
            + source.randbytes(30),
            b"HTTP/1.1 204 No Content\r\n\r\n",
            named + b"Content-Length: 3\r\n\r\nabcdef",
            source.randbytes(100),
            b"",
        )
    )
