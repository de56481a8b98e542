"""
Calls to the identity provider: bounded in time and size, no redirects, no cookies.

A provider that hangs, drips, redirects or sends without end costs one time-out and little more than
`MAX_ANSWER` bytes of memory, whether it sends them in heads or bodies.
"""

from collections.abc import Mapping
from typing import Any, Final

import attrs
from OpenSSL import SSL
from service_identity import CertificateError, VerificationError
from treq.client import HTTPClient
from twisted.internet.defer import Deferred, TimeoutError
from twisted.internet.error import (
    ConnectError,
    ConnectionClosed,
    ConnectionDone,
    ConnectionLost,
    ConnectionRefusedError,
    DNSLookupError,
    NoRouteError,
)
from twisted.internet.error import TimeoutError as ConnectTimeout
from twisted.internet.interfaces import IReactorTime
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from twisted.web.client import (
    Agent,
    RequestTransmissionFailed,
    ResponseDone,
    ResponseFailed,
    ResponseNeverReceived,
)
from twisted.web.error import SchemeNotSupported
from twisted.web.http import PotentialDataLoss
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgent, IBodyProducer, IResponse
from zope.interface import implementer

from workerd_faas.oidc.endpoints import CountedEndpoints
from workerd_faas.wire.strict_json import RefusedJson, parse_json

MAX_ANSWER: Final = 1 << 20
"""Bytes of an answer."""

TOTAL_TIMEOUT: Final = 10.0
"""Seconds for one call, from the name look-up to the last byte."""

CONNECT_TIMEOUT: Final = 5.0
"""Seconds for the connection."""

_MOST_BYTES: Final = 2 * MAX_ANSWER
"""Of an answer with its head and framing, so that a body of `MAX_ANSWER` fits in."""


_WORDS: Final[Mapping[type[BaseException], str]] = {
    DNSLookupError: "its host name is unknown",
    ConnectionRefusedError: "nothing listens there",
    ConnectTimeout: "nothing answers there",
    NoRouteError: "there is no route to it",
    VerificationError: "its certificate is for another name",
    CertificateError: "its certificate does not say whose it is",
    ConnectionLost: "it broke off",
    ConnectionDone: "it hung up",
}


@attrs.define(auto_exc=True)
class CallFailed(Exception):
    """
    A call brought no answer that can be read; the message is for the log and has no secret.
    """

    message: str


def reason(error: BaseException) -> str:
    """
    Why there is no connection, for an operator. What an exception says of itself may be long or
    quote what was sent; so its class speaks, or we do.
    """
    if isinstance(error, SSL.Error):
        said = ", ".join(str(each[-1]) for each in error.args[0]) if error.args else ""
        if "certificate verify failed" in said:
            return (
                "its certificate is not trusted here; add an authority of your own to those of the "
                "system (Debian: update-ca-certificates)"
            )
        return f"TLS fails: {said or 'it broke off'}"
    for kind, words in _WORDS.items():
        if isinstance(error, kind):
            return words
    return type(error).__name__


@attrs.frozen
class Answer:
    """
    A JSON object and the status that it came with.
    """

    status: int
    document: Mapping[str, Any] = attrs.field(repr=False)


def provider_agent(reactor: Any) -> IAgent:
    """
    An agent that verifies TLS against the system's certificates, gives up on connecting, and takes
    no head without end.
    """
    endpoints = CountedEndpoints(reactor, connect_timeout=CONNECT_TIMEOUT, most=_MOST_BYTES)
    agent: IAgent = Agent.usingEndpointFactory(reactor, endpoints)
    return agent


@implementer(IAgent)
class _PlainAgent:
    """
    Asks for answers without compression and refuses others: treq would unpack them beyond bounds.
    """

    def __init__(self, agent: IAgent) -> None:
        self._agent = agent

    def request(
        self,
        method: bytes,
        uri: bytes,
        headers: Headers | None = None,
        bodyProducer: IBodyProducer | None = None,
    ) -> "Deferred[IResponse]":
        """
        See `IAgent.request`.
        """
        headers = Headers() if headers is None else headers.copy()
        headers.setRawHeaders(b"accept-encoding", [b"identity"])
        asked: Deferred[IResponse] = self._agent.request(method, uri, headers, bodyProducer)
        return asked.addCallback(self._uncompressed)

    @staticmethod
    def _uncompressed(response: IResponse) -> IResponse:
        encoding = response.headers.getRawHeaders(b"content-encoding", [b"identity"])
        if [each.lower() for each in encoding] != [b"identity"]:
            response.deliverBody(_Discarded())
            raise CallFailed("the answer is compressed, which was not asked for")
        return response


class _Discarded(Protocol):
    """
    A body that nobody wants.
    """

    def connectionMade(self) -> None:
        """
        Close the connection.
        """
        _abort(self)


class _Bounded(Protocol):
    """
    Collects a body up to `MAX_ANSWER` bytes.
    """

    def __init__(self) -> None:
        self.finished: Deferred[bytes] = Deferred(lambda _: _abort(self))
        self._received = bytearray()

    def dataReceived(self, data: bytes) -> None:
        """
        More of it.
        """
        self._received += data
        if len(self._received) > MAX_ANSWER:
            self._end(CallFailed(f"the answer is longer than {MAX_ANSWER} bytes"))
            _abort(self)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """
        The end of it.
        """
        if reason.check(ResponseDone, PotentialDataLoss):
            self._end(None)
        else:
            self._end(CallFailed("the answer was cut off"))

    def _end(self, error: CallFailed | None) -> None:
        if self.finished.called:
            return
        if error is None:
            self.finished.callback(bytes(self._received))
        else:
            self.finished.errback(Failure(error))
        self._received.clear()


def _abort(protocol: Protocol) -> None:
    transport: Any = protocol.transport
    if transport is None:
        return
    abort = getattr(transport, "abortConnection", None) or transport.loseConnection
    abort()


@attrs.frozen(kw_only=True)
class ProviderCalls:
    """
    Makes the calls.

    Attributes:
        agent: Usually `provider_agent`.
        reactor: For the time-outs.
        timeout: Seconds for one call.
    """

    agent: IAgent
    reactor: IReactorTime
    timeout: float = TOTAL_TIMEOUT

    async def get(self, url: str, headers: Mapping[str, str] | None = None) -> Answer:
        """
        GET a JSON object.

        Raises:
            CallFailed: there is none.
        """
        return await self._bounded(self._call("GET", url, headers or {}, None))

    async def post(
        self, url: str, form: Mapping[str, str], headers: Mapping[str, str] | None = None
    ) -> Answer:
        """
        POST a form, get a JSON object.

        Raises:
            CallFailed: there is none.
        """
        return await self._bounded(self._call("POST", url, headers or {}, form))

    async def _bounded(self, call: Any) -> Answer:
        running: Deferred[Answer] = Deferred.fromCoroutine(call)
        try:
            return await running.addTimeout(self.timeout, self.reactor)
        except TimeoutError:
            raise CallFailed(f"no complete answer within {self.timeout:g} s") from None
        except (ConnectError, ConnectionClosed, DNSLookupError, SchemeNotSupported) as error:
            raise CallFailed(f"no connection: {reason(error)}") from error
        except (ResponseFailed, ResponseNeverReceived, RequestTransmissionFailed) as error:
            reasons = ", ".join(reason(each.value) for each in error.reasons)
            raise CallFailed(f"no valid HTTP answer: {reasons}") from error

    async def _call(
        self, method: str, url: str, headers: Mapping[str, str], form: Mapping[str, str] | None
    ) -> Answer:
        # A client for one call: its cookies are nobody else's.
        client = HTTPClient(_PlainAgent(self.agent))
        response: Any = await client.request(
            method,
            url,
            headers=Headers(
                {"accept": ["application/json"], **{k: [v] for k, v in headers.items()}}
            ),
            data=None if form is None else dict(form),
            allow_redirects=False,
            unbuffered=True,
            reactor=self.reactor,  # type: ignore[arg-type]
        )
        body = _Bounded()
        response.deliverBody(body)
        if 300 <= response.code < 400:
            _abort(body)
            raise CallFailed(f"status {response.code}: redirects are not followed")
        try:
            document = parse_json(await body.finished, max_bytes=MAX_ANSWER)
        except RefusedJson as refused:
            raise CallFailed(f"status {response.code}, not JSON: {refused}") from None
        if not isinstance(document, dict):
            raise CallFailed(f"status {response.code}, JSON but no object")
        return Answer(response.code, document)
