"""Requests and responses that nothing is wrong with."""

import asyncio
import json

from tests.ingress.harness import (
    GET,
    HOST,
    OTHER_VERSION,
    VERSION,
    RelayCase,
    Wire,
    in_asyncio,
    ok,
    until,
)
from workerd_faas.domain.model import Split


class Routing(RelayCase):
    """
    Which upstream a request reaches.
    """

    @in_asyncio
    async def test_function(self) -> None:
        """
        A function's host reaches a cell, with the version to run.
        """
        seen: list[bytes] = []

        async def script(wire: Wire) -> None:
            seen.append((await wire.request()).fields[b"wfaas-cf"])
            await wire.send(ok(b"hi"))

        self.script(script)
        response = await self.ask(GET)
        assert (response.status, response.body) == (200, b"hi")
        cf = json.loads(seen[0])
        assert (cf["version"], cf["function"]) == (VERSION, "hello")
        assert cf["clientIp"] == "127.0.0.1"

    @in_asyncio
    async def test_alias_and_prefix(self) -> None:
        """
        An alias and the beginning of a version's id each reach their version.
        """
        for selector in (b"staging", OTHER_VERSION[:8].encode(), b"StAgInG"):
            response = await self.ask(
                b"GET / HTTP/1.1\r\nHost: %s.hello.example.com\r\n\r\n" % selector
            )
            assert response.status == 200
            assert self.cells.asked[-1].version_id == OTHER_VERSION

    @in_asyncio
    async def test_api(self) -> None:
        """
        The base domain itself reaches the API, without the header that is for cells.
        """
        seen: list[dict[bytes, bytes]] = []

        async def script(wire: Wire) -> None:
            seen.append((await wire.request()).fields)
            await wire.send(ok(b"api"))

        self.api.script = script
        response = await self.ask(
            b"GET /health HTTP/1.1\r\nHost: EXAMPLE.com:8080\r\nwfaas-cf: {}\r\n\r\n"
        )
        assert response.body == b"api"
        assert b"wfaas-cf" not in seen[0]
        assert seen[0][b"x-forwarded-for"] == b"127.0.0.1"
        assert seen[0][b"cf-ray"] == response.fields[b"cf-ray"]
        assert seen[0][b"x-forwarded-host"] == seen[0][b"host"] == b"EXAMPLE.com:8080"
        assert not self.cells.asked

    @in_asyncio
    async def test_problems(self) -> None:
        """
        What has no place is answered in the envelope, and the connection goes on.
        """
        wire = await self.connect()
        for host, status, code in (
            (b"nope.example.com", 404, 10019),
            (b"twins.example.com", 404, 10020),
            (b"abcdef01.twins.example.com", 409, 10009),
            (b"nope.hello.example.com", 404, 10008),
            (b"a.b.hello.example.com", 404, 10018),
            (b"evilexample.com", 404, 10018),
            (b"127.0.0.1", 400, 10017),
            (b"h\xc3\xa4llo.example.com", 400, 10017),
            (b"", 400, 10017),
        ):
            await wire.send(b"GET / HTTP/1.1\r\nHost: %s\r\n\r\n" % host)
            response = await wire.response()
            assert (response.status, response.code) == (status, code), host
            assert response.json["request_id"].encode() == response.fields[b"cf-ray"]
            assert b"date" in response.fields
        await wire.send(GET)
        assert (await wire.response()).status == 200

    @in_asyncio
    async def test_sticky(self) -> None:
        """
        One version key always gets one version of a split, and different keys get both.
        """
        wire = await self.connect()
        chosen: dict[int, set[str]] = {}
        for key in list(range(30)) * 2:
            await wire.send(
                b"GET / HTTP/1.1\r\nHost: split.example.com\r\n"
                b"Cloudflare-Workers-Version-Key: user-%d\r\n\r\n" % key
            )
            assert (await wire.response()).status == 200
            chosen.setdefault(key, set()).add(self.cells.asked[-1].version_id)
        assert all(len(versions) == 1 for versions in chosen.values())
        assert len(set.union(*chosen.values())) == 2

    @in_asyncio
    async def test_deploys(self) -> None:
        """
        A connection that asks the same thing over and over gets each new version at once, and is
        told when the function is gone.
        """
        table = self.ingress._relay.routes
        wire = await self.connect()

        async def version(request: bytes = GET) -> str:
            for _ in range(3):
                await wire.send(request)
                assert (await wire.response()).status == 200
            return self.cells.asked[-1].version_id

        assert await version() == VERSION
        table.deployed("hello", (Split(version_id=OTHER_VERSION, percentage=100),))
        assert await version() == OTHER_VERSION
        staging = b"GET / HTTP/1.1\r\nHost: staging.hello.example.com\r\n\r\n"
        assert await version(staging) == OTHER_VERSION
        table.alias_set("hello", "staging", VERSION)
        assert await version(staging) == VERSION
        halves = [Split(version_id=each, percentage=50) for each in (VERSION, OTHER_VERSION)]
        table.deployed("hello", tuple(halves))
        while await version() != VERSION:
            pass
        while await version() != OTHER_VERSION:
            pass
        table.removed("hello")
        await wire.send(GET)
        assert (await wire.response()).status == 404

    @in_asyncio
    async def test_guessing(self) -> None:
        """
        After too many wrong prefixes from one address every prefix is refused, right ones too,
        and aliases still work, also those that could be prefixes.
        """
        wire = await self.connect()
        self.ingress._relay.routes.alias_set("hello", "cafebabe", VERSION)
        for _ in range(self.limits.misses_per_minute):
            await wire.send(b"GET / HTTP/1.1\r\nHost: deadbeef.hello.example.com\r\n\r\n")
            assert (await wire.response()).status == 404
        for prefix in (b"deadbeef", VERSION[:8].encode()):
            await wire.send(b"GET / HTTP/1.1\r\nHost: %s.hello.example.com\r\n\r\n" % prefix)
            response = await wire.response()
            assert response.status == 429
            assert int(response.fields[b"retry-after"]) > 0
        for alias in (b"staging", b"cafebabe"):
            await wire.send(b"GET / HTTP/1.1\r\nHost: %s.hello.example.com\r\n\r\n" % alias)
            assert (await wire.response()).status == 200


class Passing(RelayCase):
    """
    What reaches the other side.
    """

    @in_asyncio
    async def test_kept_connections(self) -> None:
        """
        Requests one after the other use one connection to the cell.
        """
        wire = await self.connect()
        for number in range(20):
            await wire.send(b"GET /%d HTTP/1.1\r\n%s\r\n" % (number, HOST))
            assert (await wire.response()).body == b"GET /%d HTTP/1.1" % number
        assert self.cell.connections == 1
        assert self.cell.upstream.served == 20

    @in_asyncio
    async def test_pipelining(self) -> None:
        """
        Requests sent all at once are answered in their order, ours and the function's alike.
        """
        wire = await self.connect()
        requests = b"".join(
            b"GET /%d HTTP/1.1\r\nHost: %s\r\n\r\n"
            % (number, b"nope.example.com" if number % 3 == 0 else b"hello.example.com")
            for number in range(300)
        )
        await wire.send(requests)
        for number in range(300):
            response = await wire.response()
            if number % 3 == 0:
                assert response.status == 404
            else:
                assert response.body == b"GET /%d HTTP/1.1" % number

    @in_asyncio
    async def test_bodies(self) -> None:
        """
        Bodies of any size arrive whole, with a length or in chunks.
        """

        async def script(wire: Wire) -> None:
            while True:
                await wire.send(ok((await wire.request()).body))

        self.script(script)
        wire = await self.connect()
        for size in (0, 1, 1000, 300_000):
            body = bytes(range(256)) * (size // 256 + 1)
            body = body[:size]
            await wire.send(
                b"POST / HTTP/1.1\r\n%sContent-Length: %d\r\n\r\n%s" % (HOST, size, body)
            )
            assert (await wire.response()).body == body
            await wire.send(
                b"POST / HTTP/1.1\r\n%sTransfer-Encoding: chunked\r\n\r\n" % HOST
                + (b"%x;ext=1\r\n%s\r\n" % (size, body) if size else b"")
                + b"0\r\nTrailer-Field: x\r\n\r\n"
            )
            assert (await wire.response()).body == body

    @in_asyncio
    async def test_stream(self) -> None:
        """
        Each piece of a response arrives before the next one is made.
        """
        go_on = asyncio.Event()

        async def script(wire: Wire) -> None:
            await wire.request()
            await wire.send(
                b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
                b"Transfer-Encoding: chunked\r\n\r\n"
            )
            for _ in range(3):
                await wire.send(b"9\r\ndata: x\n\n\r\n")
                await go_on.wait()
                go_on.clear()
            await wire.send(b"0\r\n\r\n")

        self.script(script)
        wire = await self.connect()
        await wire.send(GET)
        await wire.head()
        for _ in range(3):
            assert await wire.reader.readexactly(14) == b"9\r\ndata: x\n\n\r\n"
            go_on.set()
        assert await wire.reader.readexactly(5) == b"0\r\n\r\n"

    @in_asyncio
    async def test_duplex(self) -> None:
        """
        A response may flow while its request is still being sent.
        """

        async def script(wire: Wire) -> None:
            await wire.head()
            await wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n")
            for _ in range(6):
                await wire.send(await wire.reader.readexactly(1))
            await wire.request()
            await wire.send(ok(b"next"))

        self.script(script)
        wire = await self.connect()
        await wire.send(b"POST / HTTP/1.1\r\n%sContent-Length: 6\r\n\r\n" % HOST)
        await wire.head()
        for byte in b"abcdef":
            await wire.send(bytes([byte]))
            assert await wire.reader.readexactly(1) == bytes([byte])
        await wire.send(GET)
        assert (await wire.response()).body == b"next"

    @in_asyncio
    async def test_bodyless_responses(self) -> None:
        """
        Answers to HEAD, and 204 and 304, end with their heads, whatever lengths they name.
        """
        answers = [
            b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
            b"HTTP/1.1 304 Not Modified\r\nContent-Length: 1000\r\n\r\n",
            b"HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n",
        ]

        async def script(wire: Wire) -> None:
            for answer in answers:
                await wire.request()
                await wire.send(answer)
            await wire.request()
            await wire.send(ok(b"last"))

        self.script(script)
        wire = await self.connect()
        for method, length in (
            (b"HEAD", b"1000"),
            (b"HEAD", None),
            (b"GET", b"1000"),
            (b"GET", None),
        ):
            await wire.send(method + GET[3:])
            response = await wire.response(head_only=True)
            assert response.fields.get(b"content-length") == length
        await wire.send(GET)
        assert (await wire.response()).body == b"last"
        assert self.cell.connections == 1

    @in_asyncio
    async def test_until_close(self) -> None:
        """
        A response that ends with the cell's connection ends with the client's.
        """

        async def script(wire: Wire) -> None:
            await wire.request()
            await wire.send(b"HTTP/1.1 200 OK\r\n\r\nall of ")
            await wire.send(b"it")

        self.script(script)
        wire = await self.connect()
        await wire.send(GET)
        response = await wire.response()
        assert response.body == b"all of it"
        assert response.fields[b"connection"] == b"close"

    @in_asyncio
    async def test_interim(self) -> None:
        """
        103 is passed on before the response; a 100 nobody asked for is not.
        """

        async def script(wire: Wire) -> None:
            await wire.request()
            await wire.send(
                b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
                + ok(b"done")
            )

        self.script(script)
        wire = await self.connect()
        await wire.send(GET)
        assert await wire.head() == b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
        assert (await wire.response()).body == b"done"

    @in_asyncio
    async def test_expect(self) -> None:
        """
        `Expect: 100-continue` is for the cell to answer, by 100 or by a final response.
        """

        async def script(wire: Wire) -> None:
            while True:
                head = await wire.head()
                assert b"Expect: 100-Continue" in head
                if b"/refuse" in head:
                    await wire.send(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
                    return
                await wire.send(b"HTTP/1.1 100 Continue\r\n\r\n")
                await wire.send(ok(await wire.reader.readexactly(3)))

        self.script(script)
        wire = await self.connect()
        head = b"POST %s HTTP/1.1\r\n" + HOST + b"Expect: 100-Continue\r\nContent-Length: 3\r\n\r\n"
        await wire.send(head % b"/")
        assert await wire.head() == b"HTTP/1.1 100 Continue\r\n\r\n"
        await wire.send(b"abc")
        assert (await wire.response()).body == b"abc"
        await wire.send(head % b"/refuse")
        assert (await wire.response()).status == 403

    @in_asyncio
    async def test_http10(self) -> None:
        """
        An HTTP/1.0 client gets no chunks, and keeps its connection only if it asks to.
        """

        async def script(wire: Wire) -> None:
            while True:
                request = await wire.request()
                assert request.line.endswith(b"HTTP/1.1")
                if b"/chunked" in request.line:
                    await wire.send(
                        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
                        b"3\r\nabc\r\n3\r\ndef\r\n0\r\n\r\n"
                    )
                else:
                    await wire.send(ok(b"plain"))

        self.script(script)
        wire = await self.connect()
        await wire.send(b"GET / HTTP/1.0\r\n%sConnection: keep-alive\r\n\r\n" % HOST)
        response = await wire.response()
        assert response.fields[b"connection"] == b"keep-alive"
        await wire.send(b"GET /chunked HTTP/1.0\r\n%sConnection: keep-alive\r\n\r\n" % HOST)
        response = await wire.response()
        assert b"transfer-encoding" not in response.fields
        assert response.body == b"abcdef"
        wire = await self.connect()
        await wire.send(b"HEAD /chunked HTTP/1.0\r\n%sConnection: keep-alive\r\n\r\n" % HOST)
        response = await wire.response(head_only=True)
        assert b"transfer-encoding" not in response.fields
        assert response.fields[b"connection"] == b"keep-alive"
        wire = await self.connect()
        await wire.send(b"GET / HTTP/1.0\r\n%s\r\n" % HOST)
        assert (await wire.response()).fields[b"connection"] == b"close"
        assert await wire.rest() == b""

    @in_asyncio
    async def test_connection_close(self) -> None:
        """
        A client that says `close` is told so too, and the cell's connection stays.
        """
        for _ in range(3):
            wire = await self.connect()
            await wire.send(b"GET / HTTP/1.1\r\n%sConnection: close\r\n\r\n" % HOST)
            assert (await wire.response()).fields[b"connection"] == b"close"
            assert await wire.rest() == b""
        assert self.cell.connections == 1

    @in_asyncio
    async def test_date(self) -> None:
        """
        Each response has one `Date`: the cell's own if it set one.
        """

        async def script(wire: Wire) -> None:
            await wire.request()
            await wire.send(ok(b"", b"Date: Thu, 01 Jan 1970 00:00:00 GMT\r\n"))
            await wire.request()
            await wire.send(ok(b""))

        self.script(script)
        wire = await self.connect()
        await wire.send(GET * 2)
        assert (await wire.response()).fields[b"date"].endswith(b"1970 00:00:00 GMT")
        assert b"1970" not in (await wire.response()).fields[b"date"]

    @in_asyncio
    async def test_targets(self) -> None:
        """
        An absolute target decides the host, and reaches the cell in origin-form.
        """
        seen: list[tuple[bytes, bytes]] = []

        async def script(wire: Wire) -> None:
            while True:
                request = await wire.request()
                seen.append((request.line, request.fields[b"host"]))
                await wire.send(ok(b""))

        self.script(script)
        wire = await self.connect()
        for line in (
            b"GET http://HELLO.example.com/a?b HTTP/1.1",
            b"GET http://hello.example.com:8080?b HTTP/1.1",
            b"OPTIONS http://hello.example.com HTTP/1.1",
        ):
            await wire.send(line + b"\r\nHost: other.example.com\r\n\r\n")
            assert (await wire.response()).status == 200
        await wire.send(b"OPTIONS * HTTP/1.1\r\n%s\r\n" % HOST)
        assert (await wire.response()).status == 200
        assert seen == [
            (b"GET /a?b HTTP/1.1", b"HELLO.example.com"),
            (b"GET /?b HTTP/1.1", b"hello.example.com:8080"),
            (b"OPTIONS / HTTP/1.1", b"hello.example.com"),
            (b"OPTIONS / HTTP/1.1", b"hello.example.com"),
        ]

    @in_asyncio
    async def test_half_closed(self) -> None:
        """
        A client that has said all it will say still gets all its answers.
        """
        wire = await self.connect()
        await wire.send(GET + GET)
        wire.writer.write_eof()
        assert (await wire.response()).status == 200
        assert (await wire.response()).status == 200
        assert await wire.rest() == b""
        for request, status in ((GET, 200), (b"GET / HTTP/1.1\r\nHost: a.b\r\n\r\n", 404)):
            wire = await self.connect()
            await wire.send(request * 200)
            wire.writer.write_eof()
            for _ in range(200):
                assert (await wire.response()).status == status
            assert await wire.rest() == b""

    @in_asyncio
    async def test_early_response(self) -> None:
        """
        After a response that came before the end of its request, the rest of a small request is
        dropped and the connection is kept.
        """

        async def script(wire: Wire) -> None:
            await wire.head()
            await wire.send(ok(b"enough"))
            await wire.ended()

        self.script(script)
        wire = await self.connect()
        await wire.send(b"POST / HTTP/1.1\r\n%sContent-Length: 6\r\n\r\nab" % HOST)
        response = await wire.response()
        assert response.body == b"enough"
        assert b"connection" not in response.fields
        await until(lambda: self.cell.upstream.in_flight == 0)
        await wire.send(b"cdef" + GET)
        assert (await wire.response()).body == b"enough"

    @in_asyncio
    async def test_early_response_to_much(self) -> None:
        """
        After a response that came before the end of a large request, the client may read it in
        peace, and then the connection ends.
        """

        async def script(wire: Wire) -> None:
            await wire.head()
            await wire.send(ok(b"enough"))

        self.script(script)
        wire = await self.connect()
        await wire.send(b"POST / HTTP/1.1\r\n%sContent-Length: 1000000\r\n\r\nab" % HOST)
        assert (await wire.response()).body == b"enough"
        await wire.send(b"x" * 100_000)
        assert await wire.rest() == b""
