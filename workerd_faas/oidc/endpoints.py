"""
Connections to the identity provider that carry no more than an answer may take.

Twisted's client bounds a line of an answer's head but not how many there are, so that heads have to
be counted where their bytes come in.
"""

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import HostnameEndpoint, wrapClientTLS
from twisted.internet.interfaces import IProtocol, IProtocolFactory, IStreamClientEndpoint
from twisted.protocols.policies import ProtocolWrapper, WrappingFactory
from twisted.web.client import URI
from twisted.web.error import SchemeNotSupported
from twisted.web.iweb import IAgentEndpointFactory
from zope.interface import implementer

from workerd_faas.oidc.tls import Verified


class _Counted(ProtocolWrapper):
    """
    Ends its connection when more has come than its factory allows.
    """

    _received = 0

    def dataReceived(self, data: bytes) -> None:
        """
        More of an answer.
        """
        self._received += len(data)
        factory: Any = self.factory
        if self._received > factory.most:
            self.abortConnection()
            return
        super().dataReceived(data)


class _Counting(WrappingFactory):
    protocol = _Counted
    noisy = False

    def __init__(self, factory: IProtocolFactory, most: int) -> None:
        super().__init__(factory)
        self.most = most


@implementer(IStreamClientEndpoint)
class _CountedEndpoint:
    def __init__(self, endpoint: IStreamClientEndpoint, most: int) -> None:
        self._endpoint = endpoint
        self._most = most

    def connect(self, protocolFactory: IProtocolFactory) -> "Deferred[IProtocol]":
        """
        See `IStreamClientEndpoint.connect`.
        """
        connecting: Deferred[Any] = self._endpoint.connect(_Counting(protocolFactory, self._most))
        return connecting.addCallback(lambda counted: counted.wrappedProtocol)


@implementer(IAgentEndpointFactory)
class CountedEndpoints:
    """
    Endpoints for http and https; the latter verify certificates against the system's authorities.
    """

    def __init__(self, reactor: Any, *, connect_timeout: float, most: int) -> None:
        """
        Args:
            reactor: Makes connections.
            connect_timeout: Seconds.
            most: Bytes that one connection may bring, heads included.
        """
        self._reactor = reactor
        self._connect_timeout = connect_timeout
        self._most = most
        self._policy = Verified()

    def endpointForURI(self, uri: URI) -> IStreamClientEndpoint:
        """
        See `IAgentEndpointFactory.endpointForURI`.
        """
        host = uri.host.decode("ascii")
        endpoint: Any = HostnameEndpoint(
            self._reactor, host, uri.port, timeout=self._connect_timeout
        )
        if uri.scheme == b"https":
            endpoint = wrapClientTLS(self._policy.creatorForNetloc(uri.host, uri.port), endpoint)
        elif uri.scheme != b"http":
            raise SchemeNotSupported(f"Unsupported scheme: {uri.scheme!r}")
        return _CountedEndpoint(endpoint, self._most)
