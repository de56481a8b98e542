"""Requests that try to be two things at once: answered once, and then the connection ends."""

import asyncio

from tests.ingress.harness import GET, HOST, RelayCase, Wire, in_asyncio, ok, until

SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: hello.example.com\r\n\r\n"


def post(fields: bytes, body: bytes = b"") -> bytes:
    """
    A POST with these field lines.
    """
    return b"POST / HTTP/1.1\r\n" + HOST + fields + b"\r\n" + body


REFUSED = {
    "two lengths": post(b"Content-Length: 0\r\nContent-Length: 52\r\n"),
    "equal lengths": post(b"Content-Length: 0\r\nContent-Length: 0\r\n"),
    "list of lengths": post(b"Content-Length: 0, 52\r\n"),
    "signed length": post(b"Content-Length: +0\r\n"),
    "hexadecimal length": post(b"Content-Length: 0x0\r\n"),
    "length with a space": post(b"Content-Length: 0 0\r\n"),
    "empty length": post(b"Content-Length: \r\n"),
    "length and chunks": post(b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", b"0\r\n\r\n"),
    "chunks and length": post(b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", b"0\r\n\r\n"),
    "space before the colon": post(b"Transfer-Encoding : chunked\r\n", b"0\r\n\r\n"),
    "tab before the colon": post(b"Transfer-Encoding\t: chunked\r\n", b"0\r\n\r\n"),
    "vertical tab": post(b"Transfer-Encoding: \x0bchunked\r\n", b"0\r\n\r\n"),
    "no-break space": post(b"Transfer-Encoding: \xa0chunked\r\n", b"0\r\n\r\n"),
    "chunked twice": post(b"Transfer-Encoding: chunked, chunked\r\n", b"0\r\n\r\n"),
    "two codings": post(b"Transfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n", b"0\r\n\r\n"),
    "other coding last": post(b"Transfer-Encoding: chunked, identity\r\n", b"0\r\n\r\n"),
    "other coding first": post(b"Transfer-Encoding: identity, chunked\r\n", b"0\r\n\r\n"),
    "unknown coding": post(b"Transfer-Encoding: cow\r\n", b"0\r\n\r\n"),
    "quoted coding": post(b'Transfer-Encoding: "chunked"\r\n', b"0\r\n\r\n"),
    "folded coding": post(b"Transfer-Encoding:\r\n chunked\r\n", b"0\r\n\r\n"),
    "folded field": post(b"A: b\r\n c\r\n"),
    "folded first": b"GET / HTTP/1.1\r\n Host: x\r\n" + HOST + b"\r\n",
    "bare LF in a field": post(b"A: b\nTransfer-Encoding: chunked\r\n", b"0\r\n\r\n"),
    "bare CR in a field": post(b"A: b\rTransfer-Encoding: chunked\r\n", b"0\r\n\r\n"),
    "LF only": b"GET / HTTP/1.1\nHost: hello.example.com\n\n",
    "LF at the end": b"GET / HTTP/1.1\r\nHost: hello.example.com\r\n\n",
    "CR only": b"GET / HTTP/1.1\rHost: hello.example.com\r\r",
    "NUL in a name": post(b"A\x00: b\r\n"),
    "NUL in a value": post(b"A: b\x00c\r\n"),
    "control byte": post(b"A: b\x08c\r\n"),
    "no name": post(b": b\r\n"),
    "no colon": post(b"Transfer-Encoding\r\n"),
    "no host": b"GET / HTTP/1.1\r\n\r\n",
    "two hosts": b"GET / HTTP/1.1\r\n" + HOST + b"Host: example.com\r\n\r\n",
    "equal hosts": b"GET / HTTP/1.1\r\n" + HOST + HOST + b"\r\n",
    "folded host": b"GET / HTTP/1.1\r\nHost:\r\n hello.example.com\r\n\r\n",
    "chunks in HTTP/1.0": b"POST / HTTP/1.0\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n"
    b"0\r\n\r\n",
    "space in the target": b"GET / / HTTP/1.1\r\n" + HOST + b"\r\n",
    "leading space": b" GET / HTTP/1.1\r\n" + HOST + b"\r\n",
    "no version": b"GET /\r\n\r\n",
    "fragment": b"GET /#x HTTP/1.1\r\n" + HOST + b"\r\n",
    "user in the target": b"GET http://a@hello.example.com/ HTTP/1.1\r\n" + HOST + b"\r\n",
    "disguised underscore is no length": b"GET\x00/ HTTP/1.1\r\n" + HOST + b"\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    "SSH": b"\x00SSH-2.0-x\r\n",
}

BAD_CHUNKS = {
    "too long a chunk": b"1\r\nab\r\n0\r\n\r\n",
    "size with a sign": b"+1\r\na\r\n0\r\n\r\n",
    "size in hexadecimal": b"0x1\r\na\r\n0\r\n\r\n",
    "size that overflows": b"10000000000000001\r\na\r\n0\r\n\r\n",
    "size with a space": b"1 \r\na\r\n0\r\n\r\n",
    "no size": b"\r\na\r\n0\r\n\r\n",
    "LF after the size": b"1\na\r\n0\r\n\r\n",
    "LF after the data": b"1\r\na\n0\r\n\r\n",
    "CR in an extension": b"1;a\rb\r\na\r\n0\r\n\r\n",
    "LF in an extension": b"1;a\nb\r\na\r\n0\r\n\r\n",
    "endless extension": b"1;" + b"x" * 2000 + b"\r\na\r\n0\r\n\r\n",
    "many extensions": (b"1;" + b"x" * 900 + b"\r\na\r\n") * 30 + b"0\r\n\r\n",
    "endless trailers": b"0\r\n" + b"A: bbbbbbbb\r\n" * 2000 + b"\r\n",
    "trailer without a name": b"0\r\n: b\r\n\r\n",
    "folded trailer": b"0\r\nA: b\r\n c\r\n\r\n",
    "LF at the end": b"0\r\n\n",
}


class Smuggling(RelayCase):
    """
    One refusal each, and nothing behind it is served.
    """

    @in_asyncio
    async def test_refused(self) -> None:
        """
        A head that can be read in two ways is refused, reaches nobody and ends the connection.
        """
        for name, data in REFUSED.items():
            wire = await self.connect()
            await wire.send(data + SMUGGLED)
            response = await wire.response()
            assert 400 <= response.status < 500 and response.status != 404, (name, response)
            assert response.fields[b"connection"] == b"close", name
            assert await wire.rest() == b"", name
            wire.close()
        assert self.cell.connections == 0

    @in_asyncio
    async def test_refused_later(self) -> None:
        """
        So is one that follows a good request on the same connection.
        """
        for name, data in list(REFUSED.items())[::5]:
            wire = await self.connect()
            await wire.send(GET + data + SMUGGLED)
            assert (await wire.response()).status == 200, name
            assert (await wire.response()).status == 400, name
            assert await wire.rest() == b"", name
            wire.close()

    @in_asyncio
    async def test_other_protocols(self) -> None:
        """
        HTTP/2 with prior knowledge and CONNECT are told that they are in the wrong place.
        """
        for data, status in (
            (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
            (b"CONNECT hello.example.com:443 HTTP/1.1\r\n" + HOST + b"\r\n", 501),
        ):
            wire = await self.connect()
            await wire.send(data + SMUGGLED)
            assert (await wire.response()).status == status
            assert await wire.rest() == b""
            wire.close()

    @in_asyncio
    async def test_bad_chunks(self) -> None:
        """
        Broken chunks end the request in the cell, incomplete, and the connection.
        """
        completed = []

        async def script(wire: Wire) -> None:
            await wire.request()
            completed.append(wire)

        self.script(script)
        for name, data in BAD_CHUNKS.items():
            for gap in (False, True):
                wire = await self.connect()
                await wire.send(post(b"Transfer-Encoding: chunked\r\n"))
                if gap:
                    before = self.cell.connections
                    await until(lambda: self.cell.connections > before)  # noqa: B023
                await wire.send(data + SMUGGLED)
                assert (await wire.response()).status == 400, name
                assert await wire.rest() == b"", name
                wire.close()
        await until(lambda: self.cell.upstream.in_flight == 0)
        assert not completed

    @in_asyncio
    async def test_disguises_are_not_passed_on(self) -> None:
        """
        Names that a careless gateway would take for lengths never reach the cell.
        """
        seen: list[bytes] = []

        async def script(wire: Wire) -> None:
            while True:
                seen.append((await wire.request()).head.lower())
                await wire.send(ok(b""))

        self.script(script)
        wire = await self.connect()
        await wire.send(post(b"Transfer_Encoding: chunked\r\nContent_Length: 5\r\n"))
        assert (await wire.response()).status == 200
        assert b"encoding" not in seen[0]
        assert b"length" not in seen[0]

    @in_asyncio
    async def test_body_is_not_a_request(self) -> None:
        """
        A request inside a body stays inside the body.
        """
        seen: list[tuple[bytes, bytes]] = []

        async def script(wire: Wire) -> None:
            while True:
                request = await wire.request()
                seen.append((request.line, request.body))
                await wire.send(ok(b""))

        self.script(script)
        wire = await self.connect()
        await wire.send(post(b"Content-Length: %d\r\n" % len(SMUGGLED), SMUGGLED) + GET)
        await wire.send(
            post(
                b"Transfer-Encoding: chunked\r\n",
                b"%x;%s\r\n%s\r\n0\r\nX: %s\r\n\r\n" % (len(SMUGGLED), b"0 0", SMUGGLED, b"0"),
            )
        )
        for _ in range(3):
            assert (await wire.response()).status == 200
        assert [body for _, body in seen] == [SMUGGLED, b"", SMUGGLED]
        assert not any(b"smuggled" in line for line, _ in seen)

    @in_asyncio
    async def test_function_is_told_the_truth(self) -> None:
        """
        A client cannot choose what the cell believes about it.
        """
        seen: list[dict[bytes, bytes]] = []

        async def script(wire: Wire) -> None:
            while True:
                seen.append((await wire.request()).fields)
                await wire.send(ok(b""))

        self.script(script)
        wire = await self.connect()
        ours = (
            b"wfaas-cf",
            b"wfaas-proto",
            b"cf-connecting-ip",
            b"cf-ray",
            b"cf-visitor",
            b"x-real-ip",
            b"x-forwarded-for",
            b"x-forwarded-host",
            b"x-forwarded-proto",
        )
        forged = b"".join(b"%s: forged\r\n" % name for name in ours)
        forged += b"".join(b"%s: forged\r\n" % name.upper().replace(b"-", b"_") for name in ours)
        named = b"Connection: " + b", ".join(ours) + b"\r\n"
        await wire.send(b"GET / HTTP/1.1\r\n" + named + HOST + forged + b"\r\n")
        assert (await wire.response()).status == 200
        assert set(ours) <= set(seen[0])
        assert not any(b"forged" in value for value in seen[0].values())
        assert not any(b"_" in name for name in seen[0])

    @in_asyncio
    async def test_many_at_once(self) -> None:
        """
        Hundreds of hostile connections at once leave the next request unharmed.
        """
        wires = [await self.connect() for _ in range(100)]
        corpus = list(REFUSED.values())
        for number, wire in enumerate(wires):
            wire.writer.write(corpus[number % len(corpus)] + SMUGGLED)
        await asyncio.gather(*(wire.ended() for wire in wires))
        assert (await self.ask(GET)).status == 200
