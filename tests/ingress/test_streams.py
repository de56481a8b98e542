"""Streams of requests and responses, cut at every byte, on one connection each."""

import asyncio
import random

from tests.ingress.harness import HOST, RelayCase, Wire, in_asyncio

REQUESTS = [
    b"GET /1 HTTP/1.1\r\n" + HOST + b"\r\n",
    b"POST /2 HTTP/1.1\r\n" + HOST + b"Content-Length: 5\r\n\r\nhello",
    b"\r\nPOST /3 HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n"
    b"3;x=y\r\nabc\r\n2\r\nde\r\n0\r\nT: x\r\n\r\n",
    b"GET /4 HTTP/1.1\r\nHost: nope.example.com\r\nContent-Length: 3\r\n\r\nxyz",
    b"HEAD /5 HTTP/1.1\r\n" + HOST + b"\r\n",
    b"PUT /6 HTTP/1.1\r\n" + HOST + b"Content-Length: 0\r\n\r\n",
]
BODIES = [b"", b"hello", b"abcde", None, b"", b""]


async def echo(wire: Wire) -> None:
    """
    Answer with line and body, in chunks for odd requests.
    """
    while True:
        request = await wire.request()
        body = request.line + b"|" + request.body
        if request.line.startswith(b"HEAD"):
            await wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n")
        elif b"/3" in request.line:
            await wire.send(
                b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n"
                % (len(body), body)
            )
        else:
            await wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))


class Slowly(Wire):
    """
    Sends one byte at a time.
    """

    async def send(self, data: bytes) -> None:
        for byte in data:
            self.writer.write(bytes([byte]))
            await asyncio.sleep(0)


class Streams(RelayCase):
    """
    The same answers, however the bytes arrive.
    """

    async def check(self, wire: Wire, indices: list[int]) -> None:
        """
        Read and compare the responses.
        """
        for index in indices:
            head_only = REQUESTS[index].startswith(b"HEAD")
            response = await wire.response(head_only=head_only)
            body = BODIES[index]
            if body is None:
                assert response.status == 404
            elif not head_only:
                line = REQUESTS[index].strip().split(b"\r\n")[0]
                assert response.body == line + b"|" + body

    @in_asyncio
    async def test_every_byte(self) -> None:
        """
        A stream of requests may be cut in two at every byte.
        """
        self.script(echo)
        data = b"".join(REQUESTS)
        for cut in range(1, len(data)):
            wire = await self.connect()
            await wire.send(data[:cut])
            await asyncio.sleep(0)
            await wire.send(data[cut:])
            await self.check(wire, list(range(len(REQUESTS))))
            wire.close()

    @in_asyncio
    async def test_byte_by_byte(self) -> None:
        """
        A stream of requests may come one byte at a time.
        """
        self.script(echo)
        wire = await self.connect()
        for byte in b"".join(REQUESTS):
            await wire.send(bytes([byte]))
            await asyncio.sleep(0)
        await self.check(wire, list(range(len(REQUESTS))))

    @in_asyncio
    async def test_responses_byte_by_byte(self) -> None:
        """
        Responses may come one byte at a time.
        """

        async def slowly(wire: Wire) -> None:
            await echo(Slowly(wire.reader, wire.writer))

        self.script(slowly)
        wire = await self.connect()
        await wire.send(b"".join(REQUESTS))
        await self.check(wire, list(range(len(REQUESTS))))

    @in_asyncio
    async def test_any_order(self) -> None:
        """
        Any requests in any order, cut anywhere, get their own answers and nobody else's.
        """
        self.script(echo)
        source = random.Random(20260101)
        for _ in range(150):
            indices = [source.randrange(len(REQUESTS)) for _ in range(source.randrange(1, 8))]
            data = b"".join(REQUESTS[index] for index in indices)
            cuts = sorted(source.randrange(len(data)) for _ in range(source.randrange(6)))
            wire = await self.connect()
            for start, end in zip([0, *cuts], [*cuts, len(data)], strict=True):
                wire.writer.write(data[start:end])
                await asyncio.sleep(0)
            await self.check(wire, indices)
            wire.close()
