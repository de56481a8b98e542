"""
TLS towards the provider: who is at the other end.

Twisted looks at the name in a certificate in a callback that takes whatever it did not expect for
success (26.10): a trusted certificate that names nobody, or in a malformed way, passes for every
host. Here what is not proved is refused.
"""

from typing import Any

import attrs
from OpenSSL import SSL
from service_identity import CertificateError, VerificationError
from service_identity.cryptography import (
    verify_certificate_hostname,
    verify_certificate_ip_address,
)
from twisted.internet.abstract import isIPAddress, isIPv6Address
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator
from twisted.internet.ssl import optionsForClientTLS
from twisted.python.failure import Failure
from twisted.web.iweb import IPolicyForHTTPS
from zope.interface import implementer


@implementer(IPolicyForHTTPS)
class Verified:
    """
    The system's authorities, and a certificate for the very host.
    """

    def creatorForNetloc(self, hostname: bytes, port: int) -> "_Creator":
        """
        See the interface.
        """
        name = hostname.decode("ascii")
        return _Creator(name, optionsForClientTLS(name))


@implementer(IOpenSSLClientConnectionCreator)
@attrs.frozen
class _Creator:
    name: str
    twisted: Any

    def clientConnectionForTLS(self, tlsProtocol: Any) -> SSL.Connection:
        """
        See the interface.
        """
        connection: SSL.Connection = self.twisted.clientConnectionForTLS(tlsProtocol)
        is_address = isIPAddress(self.name) or isIPv6Address(self.name)
        check = verify_certificate_ip_address if is_address else verify_certificate_hostname

        def fits(
            _: SSL.Connection, certificate: Any, _error: int, depth: int, trusted: int
        ) -> bool:
            if not trusted or depth:
                return bool(trusted)
            try:
                check(certificate.to_cryptography(), self.name)
            except (VerificationError, CertificateError):
                # Ends the connection with this reason. Anything else that is raised here is
                # a refusal to OpenSSL, and raised again.
                tlsProtocol.failVerification(Failure())
                return False
            return True

        connection.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT, fits)
        return connection
