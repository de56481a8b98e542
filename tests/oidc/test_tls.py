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
from OpenSSL import SSL
from service_identity import CertificateError, VerificationError
from twisted.internet import ssl
from twisted.internet.error import ConnectionRefusedError, DNSLookupError
from twisted.trial.unittest import TestCase

from tests.identity.world import WorldCase
from tests.oidc.provider import FIRST_KEY
from workerd_faas.oidc.http import reason


def address(text: str) -> x509.IPAddress:
    """
    The name of a host without a name.
    """
    return x509.IPAddress(ipaddress.ip_address(text))


def certificate(directory: Path, *names: x509.GeneralName) -> ssl.DefaultOpenSSLContextFactory:
    """
    A context with a certificate for these names that signs itself, also as `ca.pem`.
    """
    directory.mkdir()
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "test")])
    now = datetime.datetime.now(datetime.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(FIRST_KEY.private.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), True)
    )
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), False)
    made = builder.sign(FIRST_KEY.private, SHA256())
    pem = made.public_bytes(Encoding.PEM)
    (directory / "ca.pem").write_bytes(pem)
    key = FIRST_KEY.private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (directory / "key.pem").write_bytes(key)
    return ssl.DefaultOpenSSLContextFactory(
        str(directory / "key.pem"), str(directory / "ca.pem"), SSL.TLS_METHOD
    )


class TlsTests(WorldCase):
    """
    A provider on https.
    """

    async def _login(self, trusted: bool, *names: x509.GeneralName) -> str:
        directory = Path(self.mktemp())
        tls = certificate(directory, *names)
        changes = {"SSL_CERT_FILE": str(directory / "ca.pem")} if trusted else {}
        with mock.patch.dict(os.environ, changes):
            world = await self.world(provider_tls=tls)
            answer = await world.browser().request("GET", world.authorize_url())
        return answer.location

    async def test_a_certificate_must_be_trusted_and_fit(self) -> None:
        """
        With a certificate of our authorities for its address it is asked, else not.
        """
        self.assertIn("/authorize?", await self._login(True, address("127.0.0.1")))
        for trusted, names in (
            (False, [address("127.0.0.1")]),
            (True, [address("127.0.0.2")]),
            (True, [x509.DNSName("127.0.0.1")]),
        ):
            refused = await self._login(trusted, *names)
            self.assertIn("error=temporarily_unavailable", refused)

    async def test_a_certificate_must_say_whose_it_is(self) -> None:
        """
        One of our authorities that names nobody, or in a malformed way, passes for no host.
        """
        for names in ([], [x509.DNSName("*.localhost")], [x509.DNSName("a*b.example.com")]):
            refused = await self._login(True, *names)
            self.assertIn("error=temporarily_unavailable", refused)


class ReasonTests(TestCase):
    """
    What an operator is told.
    """

    def test_words(self) -> None:
        """
        Each way not to be connected is told in words, not by the name of a class.
        """
        untrusted = SSL.Error([("SSL routines", "", "certificate verify failed")])
        for error, words in (
            (untrusted, "certificate is not trusted"),
            (SSL.Error([("SSL routines", "", "wrong version number")]), "wrong version number"),
            (SSL.Error(), "broke off"),
            (DNSLookupError(), "host name is unknown"),
            (ConnectionRefusedError(), "nothing listens"),
            (VerificationError([]), "another name"),
            (CertificateError(), "does not say whose"),
        ):
            self.assertIn(words, reason(error))
        self.assertEqual(reason(ValueError("a secret")), "ValueError")
