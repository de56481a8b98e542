"""Proxies in front of us, trusted or not."""

import asyncio
import ipaddress
from collections.abc import Sequence
from typing import Any, ClassVar

from tests.ingress.harness import RelayCase, Wire, in_asyncio, ok
from workerd_faas.ingress.peers import Peer, parse_address

LOOPBACK = (ipaddress.ip_network("127.0.0.0/8"),)


class Forwarding(RelayCase):
    """
    What a request with `X-Forwarded-*` becomes.
    """

    seen: list[dict[bytes, bytes]]

    async def fields(self, *lines: bytes) -> dict[bytes, bytes]:
        """
        The fields that arrive at the cell or at the API; empty if the relay answers.
        """
        seen = self.seen = []

        async def script(wire: Wire) -> None:
            while True:
                request = await wire.request()
                self.seen.append(request.fields)
                await wire.send(ok(b""))

        self.cell.script = self.api.script = script
        response = await self.ask(b"\r\n".join([b"GET / HTTP/1.1", *lines, b"", b""]))
        assert response.status == (200 if seen else 404)
        return seen[0] if seen else {}


class Trusted(Forwarding):
    """
    The peer is a proxy of ours.
    """

    options: ClassVar[dict[str, Any]] = {"trusted_proxies": LOOPBACK, "use_forwarded_host": True}

    @in_asyncio
    async def test_believed(self) -> None:
        """
        A trusted proxy decides host, scheme and client.
        """
        fields = await self.fields(
            b"Host: 10.0.0.5:8080",
            b"X-Forwarded-Host: hello.example.com",
            b"X-Forwarded-Proto: https",
            b"X-Forwarded-For: 6.6.6.6, 192.0.2.7",
        )
        assert fields[b"host"] == fields[b"x-forwarded-host"] == b"hello.example.com"
        assert fields[b"x-forwarded-proto"] == b"https"
        assert fields[b"cf-connecting-ip"] == b"192.0.2.7"
        assert fields[b"x-forwarded-for"] == b"192.0.2.7, 127.0.0.1"
        assert b'"clientIp":"192.0.2.7"' in fields[b"wfaas-cf"]

    @in_asyncio
    async def test_last_host(self) -> None:
        """
        Of several hosts the one counts that the nearest proxy added.
        """
        for lines in (
            (b"X-Forwarded-Host: evil.example.com, hello.example.com",),
            (b"X-Forwarded-Host: evil.example.com", b"X-Forwarded-Host: hello.example.com"),
        ):
            fields = await self.fields(b"Host: x", *lines)
            assert fields[b"host"] == b"hello.example.com"

    @in_asyncio
    async def test_clients_take_turns(self) -> None:
        """
        On one connection of a proxy each request is told of its own client, repeated or not.
        """
        await self.fields(b"Host: hello.example.com")
        wire = await self.connect()
        line = b"GET / HTTP/1.1\r\nHost: hello.example.com\r\nX-Forwarded-For: 192.0.2.%d\r\n\r\n"
        turns = [1, 1, 1, 2, 1, 1, 2, 2, 2, 2, 1]
        for client in turns:
            await wire.send(line % client)
            assert (await wire.response()).status == 200
        seen = [fields[b"cf-connecting-ip"] for fields in self.seen[1:]]
        assert seen == [b"192.0.2.%d" % client for client in turns]

    @in_asyncio
    async def test_clients_are_remembered(self) -> None:
        """
        A client that comes through one connection of a proxy is known on the others.
        """
        for _ in range(2):
            await self.fields(b"Host: hello.example.com", b"X-Forwarded-For: 192.0.2.7")
        proxy = Peer(address=parse_address("127.0.0.1"), trusted=True)
        assert self.ingress._relay._clients.get((proxy, b"192.0.2.7", None)) is not None

    @in_asyncio
    async def test_api(self) -> None:
        """
        The API can be reached by a forwarded host too, and without one the host itself counts.
        """
        fields = await self.fields(b"Host: x", b"X-Forwarded-Host: example.com")
        assert fields[b"host"] == b"example.com"
        assert b"wfaas-cf" not in fields
        assert b"wfaas-cf" in await self.fields(b"Host: hello.example.com")


class TrustedWithoutHost(Forwarding):
    """
    The same, without USE_FORWARDED_HOST.
    """

    options: ClassVar[dict[str, Any]] = {"trusted_proxies": LOOPBACK}

    @in_asyncio
    async def test_host_counts(self) -> None:
        """
        The forwarded host is not looked at, the client's address is.
        """
        fields = await self.fields(
            b"Host: hello.example.com",
            b"X-Forwarded-Host: example.com",
            b"X-Forwarded-For: 192.0.2.7",
        )
        assert fields[b"host"] == fields[b"x-forwarded-host"] == b"hello.example.com"
        assert fields[b"cf-connecting-ip"] == b"192.0.2.7"


class Untrusted(Forwarding):
    """
    The peer is anybody.
    """

    options: ClassVar[dict[str, Any]] = {
        "trusted_proxies": (ipaddress.ip_network("10.0.0.0/8"),),
        "use_forwarded_host": True,
    }

    @in_asyncio
    async def test_not_believed(self) -> None:
        """
        A stranger decides nothing.
        """
        fields = await self.fields(
            b"Host: hello.example.com",
            b"X-Forwarded-Host: example.com",
            b"X-Forwarded-Proto: https",
            b"X-Forwarded-For: 192.0.2.7",
        )
        assert fields[b"host"] == fields[b"x-forwarded-host"] == b"hello.example.com"
        assert fields[b"x-forwarded-proto"] == b"http"
        assert fields[b"cf-connecting-ip"] == fields[b"x-forwarded-for"] == b"127.0.0.1"
        assert await self.fields(b"Host: x.org", b"X-Forwarded-Host: hello.example.com") == {}


class OnUnixSocket(Forwarding):
    """
    The peer has no address: it counts as 127.0.0.1.
    """

    options: ClassVar[dict[str, Any]] = {"trusted_proxies": LOOPBACK, "use_forwarded_host": True}
    listen: ClassVar[Sequence[str]] = ()

    def make_ingress(self, **options: Any) -> Any:
        """
        Listens on a unix socket.
        """
        self.path = str(self.directory / "front")
        return super().make_ingress(listen=[f"unix:{self.path}"])

    async def connect(self, **options: Any) -> Wire:
        """
        A connection to it.
        """
        wire = Wire(*await asyncio.open_unix_connection(self.path))
        self.wires.append(wire)
        return wire

    @in_asyncio
    async def test_believed(self) -> None:
        """
        A proxy on this machine is believed when loopback is.
        """
        fields = await self.fields(
            b"Host: x",
            b"X-Forwarded-Host: hello.example.com",
            b"X-Forwarded-For: 6.6.6.6, 192.0.2.7",
        )
        assert fields[b"host"] == b"hello.example.com"
        assert fields[b"cf-connecting-ip"] == fields[b"x-forwarded-for"] == b"192.0.2.7"

    @in_asyncio
    async def test_nameless(self) -> None:
        """
        Without a word about it, a client on a unix socket has no address.
        """
        fields = await self.fields(b"Host: hello.example.com")
        assert b"cf-connecting-ip" not in fields
        assert b"clientIp" not in fields[b"wfaas-cf"]
