"""One side breaks off: the other one is told, and nothing stays behind."""

import asyncio

from tests.ingress.harness import GET, HOST, RelayCase, Wire, in_asyncio, loop, ok, twisted, until

POST = b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 5\r\n\r\n"
CHUNKED_HEAD = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


class UpstreamGone(RelayCase):
    """
    The cell ends in the middle.
    """

    @in_asyncio
    async def test_before_the_head(self) -> None:
        """
        A cell that breaks off before it answers is a 502 though it goes on, nothing is asked twice,
        and the client's connection goes on.
        """

        async def script(wire: Wire) -> None:
            await wire.head()

        self.script(script)
        wire = await self.connect()
        await wire.send(GET)
        response = await wire.response()
        assert (response.status, response.code) == (502, 10502)
        assert self.cell.asked == 1
        await wire.send(GET)
        assert (await wire.response()).status == 502
        self.flushLoggedErrors()

    @in_asyncio
    async def test_within_the_head(self) -> None:
        """
        Half a head is no answer, and nothing of it reaches the client.
        """

        async def script(wire: Wire) -> None:
            await wire.head()
            await wire.send(b"HTTP/1.1 200 OK\r\nContent-Le")

        self.script(script)
        response = await self.ask(GET)
        assert response.status == 502

    @in_asyncio
    async def test_within_the_body(self) -> None:
        """
        A client whose response breaks off sees the connection break, not an end.
        """
        for head in (ok(b"x" * 100)[:-100], CHUNKED_HEAD + b"64\r\n"):

            async def script(wire: Wire, head: bytes = head) -> None:
                await wire.head()
                await wire.send(head + b"x" * 50)

            self.script(script)
            wire = await self.connect()
            await wire.send(GET)
            await wire.head()
            assert await wire.ended()

    @in_asyncio
    async def test_until_close_breaks(self) -> None:
        """
        A response that only the connection's end ends is not made whole by a reset.
        """

        async def script(wire: Wire) -> None:
            await wire.head()
            await wire.send(b"HTTP/1.1 200 OK\r\n\r\nhalf")
            # Closing with unread input resets a unix socket.
            await wire.reader.readexactly(1)

        self.script(script)
        wire = await self.connect()
        await wire.send(b"POST / HTTP/1.1\r\n%sTransfer-Encoding: chunked\r\n\r\n" % HOST)
        await wire.head()
        await wire.send(b"%x\r\n%s\r\n" % (300_000, b"x" * 300_000))
        assert await wire.ended()

    @in_asyncio
    async def test_malformed_response(self) -> None:
        """
        A response that can be read in two ways is a 502, and its connection is not used again.
        """
        for answer in (
            b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
            b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nA: b\nC: d\r\n\r\n",
            b"HTTP/1.1 200 OK\r\n folded: x\r\n\r\n",
            b"HTTP/2 200 OK\r\n\r\n",
            b"hello\r\n\r\n",
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n",
            b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 1000 + b"\r\n",
            b"HTTP/1.1 200 OK\r\nA: " + b"b" * 70_000 + b"\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nA: " + b"b" * 70_000,
        ):

            async def script(wire: Wire, answer: bytes = answer) -> None:
                await wire.head()
                await wire.send(answer)
                await wire.ended()

            self.script(script)
            response = await self.ask(GET)
            assert response.status == 502, answer[:60]
            await until(lambda: self.ingress.stats().upstream_connections == 0)

    @in_asyncio
    async def test_malformed_chunks(self) -> None:
        """
        A response whose chunks make no sense is cut off.
        """

        async def script(wire: Wire) -> None:
            await wire.head()
            await wire.send(CHUNKED_HEAD + b"3\r\nabc\r\n")
            await go_on.wait()
            await wire.send(b"xyz\r\n")
            await wire.ended()

        go_on = asyncio.Event()
        self.script(script)
        wire = await self.connect()
        await wire.send(GET)
        await wire.head()
        go_on.set()
        assert await wire.ended()
        # Nothing had been sent yet: there is still time to say so.
        assert (await self.ask(GET)).status == 502

    @in_asyncio
    async def test_too_much(self) -> None:
        """
        Bytes after a response never become the next one.
        """

        async def script(wire: Wire) -> None:
            await wire.head()
            await wire.send(ok(b"mine") + ok(b"stray"))
            await wire.ended()

        self.script(script)
        wire = await self.connect()
        for _ in range(3):
            await wire.send(GET)
            assert (await wire.response()).body == b"mine"
        assert self.cell.connections == 3

    @in_asyncio
    async def test_body_after_head(self) -> None:
        """
        A body sent in answer to HEAD is thrown away, however often that head was met before.
        """

        async def script(wire: Wire) -> None:
            while True:
                await wire.head()
                await wire.send(ok(b"body"))

        self.script(script)
        wire = await self.connect()
        for method in (b"GET", b"GET", b"GET", b"HEAD", b"HEAD", b"GET"):
            await wire.send(method + GET[3:])
            response = await wire.response(head_only=method == b"HEAD")
            assert response.body == (b"" if method == b"HEAD" else b"body")

    @in_asyncio
    async def test_unasked(self) -> None:
        """
        What a cell sends on an idle connection is thrown away with the connection.
        """
        later = asyncio.Event()

        async def script(wire: Wire) -> None:
            await wire.head()
            await wire.send(ok(b"mine"))
            await later.wait()
            await wire.send(ok(b"stray"))
            await wire.ended()

        self.script(script)
        wire = await self.connect()
        await wire.send(GET)
        assert (await wire.response()).body == b"mine"
        later.set()
        await until(lambda: self.ingress.stats().upstream_connections == 0)
        await wire.send(GET)
        assert (await wire.response()).body == b"mine"

    @in_asyncio
    async def test_answer_before_close(self) -> None:
        """
        A cell that answers, does not read on and closes has its answer delivered.
        """

        async def script(wire: Wire) -> None:
            await wire.head()
            await wire.send(b"HTTP/1.1 413 No\r\nConnection: close\r\nContent-Length: 2\r\n\r\nno")

        self.script(script)
        for _ in range(10):
            wire = await self.connect()
            wire.writer.write(
                b"POST / HTTP/1.1\r\n%sContent-Length: 3000000\r\n\r\n" % HOST + b"x" * 3_000_000
            )
            response = await wire.response()
            assert (response.status, response.body) == (413, b"no")


class Resending(RelayCase):
    """
    A kept connection that turns out to be closed.
    """

    async def closed_after_first(self, wire: Wire) -> None:
        """
        A cell that answers one request of each connection, and reads one more.
        """
        await wire.request()
        await wire.send(ok(b"first"))
        await wire.head()

    @in_asyncio
    async def test_repeatable(self) -> None:
        """
        A request that may be repeated is sent once more, on a new connection.
        """
        self.script(self.closed_after_first)
        wire = await self.connect()
        for method in (b"GET", b"HEAD", b"PUT", b"DELETE", b"OPTIONS"):
            await wire.send(method + GET[3:])
            assert (await wire.response(head_only=method == b"HEAD")).status == 200
        assert self.cell.connections == 5

    @in_asyncio
    async def test_with_body(self) -> None:
        """
        So is one with a body that was sent whole, byte for byte.
        """
        bodies: list[bytes] = []

        async def script(wire: Wire) -> None:
            for _ in range(2):
                bodies.append((await wire.request()).body)
                if len(bodies) == 2:
                    return
                await wire.send(ok(b"first"))

        self.script(script)
        wire = await self.connect()
        for _ in range(2):
            await wire.send(b"PUT" + POST[4:] + b"hello")
            assert (await wire.response()).status == 200
        assert bodies == [b"hello"] * 3

    @in_asyncio
    async def test_not_repeatable(self) -> None:
        """
        A POST that may have been carried out is not repeated.
        """
        self.script(self.closed_after_first)
        wire = await self.connect()
        await wire.send(POST + b"hello")
        assert (await wire.response()).status == 200
        await wire.send(POST + b"hello")
        assert (await wire.response()).status == 502
        assert self.cell.asked == 2

    @in_asyncio
    async def test_only_once(self) -> None:
        """
        A request whose second attempt fails too is not sent a third time.
        """
        first = True

        async def script(wire: Wire) -> None:
            nonlocal first
            if first:
                first = False
                await self.closed_after_first(wire)
            else:
                await wire.head()

        self.script(script)
        wire = await self.connect()
        await wire.send(GET)
        assert (await wire.response()).status == 200
        await wire.send(GET)
        assert (await wire.response()).status == 502
        assert self.cell.asked == 3

    @in_asyncio
    async def test_not_after_a_byte(self) -> None:
        """
        A request whose answer has begun is not sent again.
        """

        async def script(wire: Wire) -> None:
            await wire.request()
            await wire.send(ok(b"first"))
            await wire.head()
            await wire.send(b"H")

        self.script(script)
        wire = await self.connect()
        await wire.send(GET)
        assert (await wire.response()).status == 200
        await wire.send(GET)
        assert (await wire.response()).status == 502
        assert self.cell.asked == 2

    @in_asyncio
    async def test_not_to_another_cell(self) -> None:
        """
        A request that was in a cell when it died is not given to its successor.
        """
        self.script(self.closed_after_first)
        wire = await self.connect()
        await wire.send(GET)
        assert (await wire.response()).status == 200
        server, self.cell._server = self.cell._server, None
        assert server is not None
        server.close()
        self.cells.ready = self.api.upstream
        # The connection that is still kept belongs to the old cell.
        self.cells.ready = self.cell.upstream
        await wire.send(GET)
        assert (await wire.response()).status == 502
        assert self.api.connections == 0


class ClientGone(RelayCase):
    """
    The client ends in the middle.
    """

    @in_asyncio
    async def test_waiting_for_the_response(self) -> None:
        """
        A client that resets or closes its connection ends its request in the cell.
        """
        ended = 0

        async def script(wire: Wire) -> None:
            nonlocal ended
            await wire.head()
            await wire.ended()
            ended += 1

        self.script(script)
        for number, leave in enumerate((Wire.reset, Wire.close), 1):
            wire = await self.connect()
            await wire.send(GET)
            await until(lambda: self.cell.connections == number)  # noqa: B023
            leave(wire)
            await until(lambda: ended == number)  # noqa: B023
        await until(lambda: self.cell.upstream.in_flight == 0)

    @in_asyncio
    async def test_within_the_request(self) -> None:
        """
        A request that breaks off is not completed by the relay.
        """
        parts, rests = [b"half", b"4\r\nhalf\r\n"], list[bytes]()

        async def script(wire: Wire) -> None:
            await wire.head()
            part = parts[len(rests)]
            assert await wire.reader.readexactly(len(part)) == part
            arrived.set()
            rests.append(await wire.reader.read())

        self.script(script)
        for number, framing in enumerate((b"Content-Length: 10", b"Transfer-Encoding: chunked")):
            arrived = asyncio.Event()
            wire = await self.connect()
            await wire.send(b"POST / HTTP/1.1\r\n%s%s\r\n\r\n%s" % (HOST, framing, parts[number]))
            await arrived.wait()
            wire.close()
            await until(lambda: len(rests) > number)  # noqa: B023
            await until(lambda: self.cell.upstream.in_flight == 0)
        assert rests == [b"", b""]

    @in_asyncio
    async def test_within_the_response(self) -> None:
        """
        A client that leaves a stream ends it in the cell.
        """
        ended = asyncio.Event()

        async def script(wire: Wire) -> None:
            await wire.head()
            try:
                await wire.send(CHUNKED_HEAD)
                while True:
                    await wire.send(b"5\r\nhello\r\n")
                    await asyncio.sleep(0.01)
            except ConnectionError:
                ended.set()

        self.script(script)
        wire = await self.connect()
        await wire.send(GET)
        await wire.head()
        wire.close()
        await ended.wait()

    @in_asyncio
    async def test_quiet_stream(self) -> None:
        """
        A client that closes while nothing is sent to it ends its request all the same.
        """
        ended = asyncio.Event()

        async def script(wire: Wire) -> None:
            await wire.head()
            await wire.send(CHUNKED_HEAD)
            await wire.ended()
            ended.set()

        self.script(script)
        wire = await self.connect()
        await wire.send(GET)
        await wire.head()
        wire.close()
        await ended.wait()

    @in_asyncio
    async def test_half_head(self) -> None:
        """
        A client that leaves in the middle of a head leaves nothing behind.
        """
        wire = await self.connect()
        await wire.send(GET[:-3])
        await until(lambda: self.ingress.stats().connections == 1)
        wire.close()
        await until(lambda: self.ingress.stats().connections == 0)
        assert self.cell.connections == 0

    @in_asyncio
    async def test_churn(self) -> None:
        """
        Hundreds of clients that leave at random moments leave nothing behind.
        """

        async def script(wire: Wire) -> None:
            while True:
                await wire.request()
                await wire.send(CHUNKED_HEAD)
                await asyncio.sleep(0)
                await wire.send(b"5\r\nhello\r\n" * 20 + b"0\r\n\r\n")

        self.script(script)
        request = POST + b"hello" + GET
        for cut in range(0, len(request), 2):
            wire = await self.connect()
            await wire.send(request[:cut])
            if cut % 4:
                await asyncio.sleep(0)
            if cut % 3:
                wire.reset()
            else:
                wire.close()
        await until(lambda: self.ingress.stats().connections == 0)
        await until(lambda: self.cell.upstream.in_flight == 0)
        assert (await self.ask(GET)).status == 200


class Bugs(RelayCase):
    """
    Mistakes of our own.
    """

    @in_asyncio
    async def test_one_connection(self) -> None:
        """
        A mistake met while reading a request or a response costs that connection only, leaves
        nothing behind and is logged.
        """
        loop().set_exception_handler(None)
        ingress = self.make_ingress()
        self.ingress, first = ingress, self.ingress
        await twisted(ingress.start())
        heads, pool = ingress._relay.heads, ingress._relay.pool.heads

        def fail(_: bytes) -> None:
            raise ZeroDivisionError

        for broken in (heads, pool):
            known, broken.recent = broken.recent, fail  # type: ignore[assignment]
            wire = await self.connect()
            await wire.send(GET)
            if broken is heads:
                await wire.ended()
            else:
                assert (await wire.response()).status == 502
            await until(lambda: ingress.stats().in_flight == 0)
            assert self.flushLoggedErrors(ZeroDivisionError)
            broken.recent = known
        assert (await self.ask(GET)).status == 200
        await twisted(first.stop())
