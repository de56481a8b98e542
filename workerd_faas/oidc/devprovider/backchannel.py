"""The daemon's own calls to its built-in provider: to the API's socket, past the ingress."""

from pathlib import Path
from typing import Any

from twisted.internet.endpoints import UNIXClientEndpoint
from twisted.internet.interfaces import IReactorUNIX, IStreamClientEndpoint
from twisted.web.client import URI, Agent
from twisted.web.iweb import IAgent, IAgentEndpointFactory
from zope.interface import implementer

from workerd_faas.oidc.http import CONNECT_TIMEOUT


@implementer(IAgentEndpointFactory)
class _OneSocket:
    """
    Whatever the URL says, the connection goes to one unix socket.
    """

    def __init__(self, reactor: IReactorUNIX, path: Path) -> None:
        self._reactor = reactor
        self._path = path

    def endpointForURI(self, uri: URI) -> IStreamClientEndpoint:
        """
        See `IAgentEndpointFactory.endpointForURI`.
        """
        return UNIXClientEndpoint(self._reactor, str(self._path), timeout=CONNECT_TIMEOUT)


def socket_agent(reactor: Any, path: Path) -> IAgent:
    """
    An agent for the relying party of `--dev`: its provider is on the API's own unix socket, so it
    is reached whether or not the base domain has an address, and while the public port is not open.
    """
    agent: IAgent = Agent.usingEndpointFactory(reactor, _OneSocket(reactor, path))
    return agent
