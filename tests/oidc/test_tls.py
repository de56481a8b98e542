"""TLS towards the provider."""

import datetime
import ipaddress
import os
from pathlib import Path
from unittest import mock

from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from OpenSSL.SSL import TLS_METHOD
from twisted.internet import ssl

from tests.identity.world import WorldCase
from tests.oidc.provider import FIRST_KEY


def certificate(directory: Path, address: str) -> ssl.DefaultOpenSSLContextFactory:
    """
    A context with a certificate for `address` that signs itself, also as `ca.pem`.
    """
    directory.mkdir()
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "test")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(FIRST_KEY.private.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(address))]), False
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), True)
        .sign(FIRST_KEY.private, SHA256())
    )
    pem = made.public_bytes(Encoding.PEM)
    (directory / "ca.pem").write_bytes(pem)
    key = FIRST_KEY.private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (directory / "key.pem").write_bytes(key)
    return ssl.DefaultOpenSSLContextFactory(
        str(directory / "key.pem"), str(directory / "ca.pem"), TLS_METHOD
    )


class TlsTests(WorldCase):
    """
    A provider on https.
    """

    async def _login(self, address: str, trusted: bool) -> str:
        directory = Path(self.mktemp())
        tls = certificate(directory, address)
        changes = {"SSL_CERT_FILE": str(directory / "ca.pem")} if trusted else {}
        with mock.patch.dict(os.environ, changes):
            world = await self.world(provider_tls=tls)
            answer = await world.browser().request("GET", world.authorize_url())
        return answer.location

    async def test_a_certificate_must_be_trusted_and_fit(self) -> None:
        """
        With a certificate of our authorities for its address it is asked, else not.
        """
        trusted = await self._login("127.0.0.1", True)
        self.assertIn("/authorize?", trusted)
        for address, known in (("127.0.0.1", False), ("127.0.0.2", True)):
            refused = await self._login(address, known)
            self.assertIn("error=temporarily_unavailable", refused)
