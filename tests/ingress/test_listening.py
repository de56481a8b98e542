"""Opening, renewing and closing ports."""

import asyncio
import datetime
import os
import resource
import ssl
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.ingress.harness import GET, HOST, RelayCase, Wire, in_asyncio, ok, twisted, until
from workerd_faas.ingress.descriptors import needed_for, room_for_connections, room_in
from workerd_faas.ingress.limits import RelayLimits
from workerd_faas.ingress.listen import ListenError
from workerd_faas.ingress.tls import parse_tls_endpoint


def write_certificate(key_path: Path, certificate_path: Path, name: str) -> None:
    """
    A new self-signed certificate for `name`.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    key_path.write_bytes(
        key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    certificate_path.write_bytes(certificate.public_bytes(pem))


class Endpoints(RelayCase):
    """
    What can be listened on.
    """

    async def refused(self, endpoint: str) -> str:
        """
        The reason why an endpoint cannot be opened.
        """
        ingress = self.make_ingress(listen=["tcp:0:interface=127.0.0.1", endpoint])
        with pytest.raises(ListenError) as caught:
            await twisted(ingress.start())
        assert ingress.addresses == ()
        message = str(caught.value)
        assert endpoint in message
        assert "\n" not in message
        return message

    @in_asyncio
    async def test_taken(self) -> None:
        """
        A port that is taken is one clear line, and ports opened before it are closed again.
        """
        port = self.ingress.addresses[0].port
        message = await self.refused(f"tcp:{port}:interface=127.0.0.1")
        assert "in use" in message

    @in_asyncio
    async def test_nonsense(self) -> None:
        """
        Strings that are no endpoints, or none that give plain connections, are refused.
        """
        for endpoint in (
            "",
            "nonsense",
            "tcp",
            "tcp:http/x",
            "tcp:0:interface=192.0.2.1",
            "tcp:0:foo=bar",
            "unix:/nonexistent/directory/socket",
            "haproxy:tcp:0:interface=127.0.0.1",
        ):
            await self.refused(endpoint)

    @in_asyncio
    async def test_a_socket_that_systemd_did_not_hand_over(self) -> None:
        """
        The message says that the socket is missing and where it would come from.
        """
        for which in ("index=5", "name=web"):
            assert ".socket unit" in await self.refused(f"systemd:domain=INET:{which}")

    @in_asyncio
    async def test_wrong_tls(self) -> None:
        """
        Each mistake in an `ssl:` string is named.
        """
        key, certificate = self.directory / "key.pem", self.directory / "cert.pem"
        write_certificate(key, certificate, "x")
        other = self.directory / "other.pem"
        write_certificate(other, self.directory / "other-cert.pem", "x")
        files = f"privateKey={key}:certKey={certificate}"
        for endpoint, word in (
            ("ssl:0", "key"),
            (f"ssl:x:{files}", "port"),
            (f"ssl:65536:{files}", "port"),
            (f"ssl:0:{files}:sslmethod=x", "sslmethod"),
            (f"ssl:0:privateKey={other}:certKey={certificate}", "mismatch"),
            ("ssl:0:privateKey=/nonexistent", "No such file"),
            (f"ssl:{self.ingress.addresses[0].port}:{files}:interface=127.0.0.1", "in use"),
        ):
            assert word.lower() in (await self.refused(endpoint)).lower(), endpoint

    @in_asyncio
    async def test_several(self) -> None:
        """
        Several endpoints are served alike.
        """
        path = str(self.directory / "front")
        ingress = self.make_ingress(
            listen=["tcp:0:interface=127.0.0.1", f"unix:{path}", r"tcp6:0:interface=\:\:1"]
        )
        await twisted(ingress.start())
        first, _, third = ingress.addresses
        for opening in (
            asyncio.open_connection("127.0.0.1", first.port),
            asyncio.open_unix_connection(path),
            asyncio.open_connection("::1", third.port),
        ):
            wire = Wire(*await opening)
            await wire.send(GET)
            assert (await wire.response()).status == 200
            wire.close()
        await twisted(ingress.stop())
        assert not os.path.exists(path)  # noqa: PTH110


class Descriptors(RelayCase):
    """
    Descriptors run out.
    """

    @in_asyncio
    async def test_revived(self) -> None:
        """
        A port that has stopped accepting, as uvloop's do for want of descriptors, accepts again.
        """
        for _ in range(2):
            self.ingress._ports[0]._server.close()
            await until(lambda: self.ingress._ports[0]._server.sockets)
            assert (await self.ask(GET)).status == 200
        await twisted(self.ingress.drain(0))
        with pytest.raises(IndexError):
            await self.connect()

    def test_room(self) -> None:
        """
        There are never more clients than there are descriptors for, nor more than allowed.
        """
        descriptors, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        assert room_for_connections(20) == 20
        assert 16 <= room_for_connections(1 << 40) < descriptors
        for most in (16, 17, 20_000, 50_000):
            assert room_in(needed_for(most), most) == most
            assert most <= 17 or room_in(needed_for(most) - 2, most) < most

    def test_run_out(self) -> None:
        """
        With few descriptors and many clients, some are told so, nobody spins, and all is well
        again when they have gone.
        """
        output = subprocess.run(
            [sys.executable, "-m", "tests.ingress.few_descriptors"],
            check=True,
            capture_output=True,
            text=True,
            timeout=60,
            cwd=Path(__file__).parents[2],
        ).stdout
        crowd, busy, after = output.split()
        assert crowd == "503"
        assert float(busy) < 0.5
        assert after == "404"


class Drain(RelayCase):
    """
    Stopping without breaking anything.
    """

    @in_asyncio
    async def test_in_flight(self) -> None:
        """
        New connections are refused, idle ones end, and what is in flight is finished and told
        that it was the last.
        """
        answer = asyncio.Event()

        async def script(wire: Wire) -> None:
            while True:
                await wire.request()
                await answer.wait()
                await wire.send(ok(b"done"))

        self.script(script)
        idle, busy = await self.connect(), await self.connect()
        half = await self.connect()
        await half.send(GET[:20])
        await busy.send(GET)
        await until(lambda: self.cell.upstream.in_flight)
        address = self.ingress.addresses[0]
        draining = asyncio.ensure_future(twisted(self.ingress.drain(20)))
        assert await idle.rest() == b""
        idle.close()
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection(address.host, address.port)
        assert not draining.done()
        answer.set()
        for wire in (busy, half):
            if wire is half:
                await half.send(GET[20:])
            response = await wire.response()
            assert (response.body, response.fields[b"connection"]) == (b"done", b"close")
            assert await wire.rest() == b""
            wire.close()
        await draining

    @in_asyncio
    async def test_bound(self) -> None:
        """
        What is still in flight when the time is over is cut off.
        """

        async def script(wire: Wire) -> None:
            await wire.request()
            await asyncio.Event().wait()

        self.script(script)
        wire = await self.connect()
        await wire.send(GET)
        await until(lambda: self.cell.upstream.in_flight)
        await twisted(self.ingress.drain(0.05))
        assert self.cell.upstream.in_flight == 0
        assert await wire.ended()

    @in_asyncio
    async def test_own_answers(self) -> None:
        """
        Our own answers say `close` too.
        """
        wire = await self.connect()
        await wire.send(b"GET / HTTP/1.1\r\nHost: x")
        await until(lambda: self.ingress.stats().connections == 1)
        draining = asyncio.ensure_future(twisted(self.ingress.drain(20)))
        await until(lambda: not self.ingress.addresses)
        await wire.send(b".org\r\n\r\n")
        response = await wire.response()
        assert (response.status, response.fields[b"connection"]) == (404, b"close")
        assert await wire.rest() == b""
        wire.close()
        await draining


class TlsCase(RelayCase):
    """
    The relay speaks TLS.
    """

    listen: ClassVar[Sequence[str]] = ()

    def make_ingress(self, **options: Any) -> Any:
        """
        Listens with a fresh certificate.
        """
        self.key, self.certificate = self.directory / "key.pem", self.directory / "cert.pem"
        write_certificate(self.key, self.certificate, "first")
        endpoint = f"ssl:0:privateKey={self.key}:certKey={self.certificate}:interface=127.0.0.1"
        return super().make_ingress(listen=[endpoint], **options)

    def context(self, **options: Any) -> ssl.SSLContext:
        """
        A client's.
        """
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        context.set_alpn_protocols(["h2", "http/1.1"])
        return context

    async def secure(self, context: ssl.SSLContext | None = None) -> Wire:
        """
        A client's connection.
        """
        return await self.connect(ssl=context or self.context(), server_hostname="localhost")

    async def shown(self) -> str:
        """
        The name in the certificate that a new client is shown.
        """
        wire = await self.secure()
        session = wire.writer.get_extra_info("ssl_object")
        certificate = x509.load_der_x509_certificate(session.getpeercert(binary_form=True))
        wire.close()
        return str(certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value)


class Tls(TlsCase):
    """
    Connections, and certificates that change.
    """

    @in_asyncio
    async def test_https(self) -> None:
        """
        The cell is told `https`, and which version and cipher; the protocol is HTTP/1.1.
        """
        seen: list[dict[bytes, bytes]] = []

        async def script(wire: Wire) -> None:
            while True:
                request = await wire.request()
                seen.append(request.fields)
                await wire.send(ok(request.body))

        self.script(script)
        wire = await self.secure()
        session = wire.writer.get_extra_info("ssl_object")
        assert session.selected_alpn_protocol() == "http/1.1"
        body = b"x" * 1_000_000
        await wire.send(b"POST / HTTP/1.1\r\n%sContent-Length: %d\r\n\r\n" % (HOST, len(body)))
        await wire.send(body)
        assert (await wire.response()).body == body
        await wire.send(GET)
        assert (await wire.response()).status == 200
        assert seen[0][b"x-forwarded-proto"] == b"https"
        assert b'"tlsVersion":"TLSv1.3"' in seen[0][b"wfaas-cf"]

    @in_asyncio
    async def test_old_versions(self) -> None:
        """
        TLS 1.1 is refused, 1.2 is not.
        """
        context = self.context()
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        wire = await self.secure(context)
        assert wire.writer.get_extra_info("ssl_object").version() == "TLSv1.2"
        with pytest.warns(DeprecationWarning):
            context.minimum_version = ssl.TLSVersion.TLSv1
        with pytest.warns(DeprecationWarning):
            context.maximum_version = ssl.TLSVersion.TLSv1_1
        with pytest.raises((ssl.SSLError, ConnectionError)):
            await self.secure(context)

    @in_asyncio
    async def test_reload(self) -> None:
        """
        A new certificate is shown to new clients, and old connections go on.
        """
        wire = await self.secure()
        assert await self.shown() == "first"
        write_certificate(self.key, self.certificate, "second")
        assert await self.shown() == "first"
        self.ingress.reload()
        assert await self.shown() == "second"
        await wire.send(GET)
        assert (await wire.response()).status == 200

    @in_asyncio
    async def test_bad_reload(self) -> None:
        """
        A certificate that cannot be used is logged, and the old one stays.
        """
        for content in (b"nonsense", b""):
            self.certificate.write_bytes(content)
            self.ingress.reload()
            assert await self.shown() == "first"
        self.certificate.unlink()
        self.ingress.reload()
        assert await self.shown() == "first"

    @in_asyncio
    async def test_client_leaves(self) -> None:
        """
        A client that says goodbye in TLS ends its request in the cell.
        """
        ended = asyncio.Event()

        async def script(wire: Wire) -> None:
            await wire.head()
            await wire.ended()
            ended.set()

        self.script(script)
        wire = await self.secure()
        await wire.send(GET)
        await until(lambda: self.cell.connections)
        wire.close()
        await ended.wait()

    @in_asyncio
    async def test_refusals(self) -> None:
        """
        Malformed requests are answered and closed over TLS as well; plain HTTP is not answered.
        """
        wire = await self.secure()
        await wire.send(b"nonsense\r\n\r\n")
        assert (await wire.response()).status == 400
        assert await wire.rest() == b""
        plain = await self.connect()
        await plain.send(GET)
        await plain.ended()

    @in_asyncio
    async def test_tunnel(self) -> None:
        """
        An upgrade works over TLS.
        """

        async def script(wire: Wire) -> None:
            await wire.request()
            await wire.send(
                b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: raw\r\n\r\n"
            )
            while data := await wire.reader.read(100):
                await wire.send(data)

        self.script(script)
        wire = await self.secure()
        await wire.send(b"GET / HTTP/1.1\r\n%sConnection: upgrade\r\nUpgrade: raw\r\n\r\n" % HOST)
        assert (await wire.response()).status == 101
        await wire.send(b"there and back")
        assert await wire.reader.readexactly(14) == b"there and back"


class PeriodicReload(TlsCase):
    """
    Changed files are noticed without a signal.
    """

    limits: ClassVar[RelayLimits] = RelayLimits(tick_seconds=0.02, certificate_seconds=0.05)

    @in_asyncio
    async def test_noticed(self) -> None:
        """
        A new certificate is shown some time after its files have changed.
        """
        write_certificate(self.key, self.certificate, "second")
        while await self.shown() != "second":
            await asyncio.sleep(0.02)


def test_parsing() -> None:
    """
    The parts of an `ssl:` string may be positional or named, and quoted.
    """
    plain, files = parse_tls_endpoint(
        r"ssl:443:/k\:1.pem:certKey=/c.pem:extraCertChain=/x.pem:interface=\:\:1:backlog=9"
    )
    assert plain == r"tcp:443:interface=\:\:1:backlog=9"
    assert (str(files.private_key), str(files.certificate)) == ("/k:1.pem", "/c.pem")
    assert str(files.chain) == "/x.pem"
    _, files = parse_tls_endpoint("ssl:443:privateKey=/both.pem")
    assert files.certificate == files.private_key
