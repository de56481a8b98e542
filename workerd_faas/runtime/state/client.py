"""The daemon's own requests to a state cell: KV values, SQL, queues, as the management API asks."""

import io
from collections.abc import Mapping
from typing import Any, BinaryIO, Final

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import UNIXClientEndpoint
from twisted.internet.error import ConnectError, ConnectionClosed
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from twisted.web.client import (
    URI,
    Agent,
    FileBodyProducer,
    HTTPConnectionPool,
    RequestTransmissionFailed,
    ResponseDone,
    ResponseFailed,
)
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgentEndpointFactory, IResponse
from zope.interface import implementer

from workerd_faas.domain.errors import Kind, Problem
from workerd_faas.usecases.storage.ports import StateAnswer, StateQuestion

MAX_ANSWER: Final = 64 << 20
"""Bytes of an answer that is kept in memory: the largest value, or the rows of a query."""


@implementer(IAgentEndpointFactory)
@attrs.frozen
class _ToSocket:
    reactor: Any
    path: str

    def endpointForURI(self, uri: URI) -> IStreamClientEndpoint:
        return UNIXClientEndpoint(self.reactor, self.path)


class _Pool(HTTPConnectionPool):
    """
    Says nothing of connections that begin and end: each question has one.
    """

    _factory: Any = type("Quiet", (HTTPConnectionPool._factory,), {"noisy": False})


class _Sink(Protocol):
    def __init__(self, target: BinaryIO, most: int | None) -> None:
        self._target = target
        self._left = most
        self.whole: Deferred[None] = Deferred(lambda _: self._abort())

    def dataReceived(self, data: bytes) -> None:
        if self._left is not None:
            self._left -= len(data)
            if self._left < 0:
                self._abort()
                return
        self._target.write(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if self.whole.called:
            return
        if self._left is not None and self._left < 0:
            self.whole.errback(
                Problem(
                    kind=Kind.BODY_TOO_LARGE,
                    message=f"The answer is longer than {MAX_ANSWER} bytes: ask for less of it.",
                )
            )
        elif reason.check(ResponseDone):
            self.whole.callback(None)
        else:
            self.whole.errback(_broken())

    def _abort(self) -> None:
        assert self.transport is not None
        self.transport.abortConnection()  # type: ignore[attr-defined]


@attrs.frozen
class _Lent:
    """
    A file that stays open when it has been sent: its owner may send it again.
    """

    _file: BinaryIO

    def read(self, size: int = -1, /) -> bytes:
        return self._file.read(size)

    def seek(self, offset: int, whence: int = 0, /) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()

    def close(self) -> None:
        """
        It is not ours.
        """


def _broken() -> Problem:
    return Problem(
        kind=Kind.UNAVAILABLE,
        message="The account's storage process ended before it answered: try again.",
        retry_after=1,
    )


async def ask(
    reactor: Any, socket: str, question: StateQuestion, sink: BinaryIO | None = None
) -> StateAnswer:
    """
    One request on a connection of its own, and its whole answer.

    Args:
        sink: Where the body of a success is written to, instead of into the answer.

    Raises:
        Problem: `UNAVAILABLE` when the process ended meanwhile; `BODY_TOO_LARGE`.
    """
    agent = Agent.usingEndpointFactory(
        reactor, _ToSocket(reactor, socket), pool=_Pool(reactor, persistent=False)
    )
    headers = {"state-kind": question.kind, "state-id": question.id, **question.headers}
    body = question.body
    if isinstance(body, bytes):
        body = io.BytesIO(body)
    try:
        response: IResponse = await agent.request(
            question.method.encode(),
            b"http://state" + question.target.encode("ascii"),
            Headers({name: [value] for name, value in headers.items()}),
            None if body is None else FileBodyProducer(_Lent(body)),
        )
    except (ConnectError, ConnectionClosed, RequestTransmissionFailed, ResponseFailed):
        raise _broken() from None
    collected = io.BytesIO()
    into_sink = sink is not None and response.code == 200
    target = sink if sink is not None and into_sink else collected
    receiver = _Sink(target, None if into_sink else MAX_ANSWER)
    response.deliverBody(receiver)
    await receiver.whole
    return StateAnswer(
        status=response.code, headers=_headers(response.headers), body=collected.getvalue()
    )


def _headers(headers: Headers) -> Mapping[str, str]:
    return {
        name.decode("ascii").lower(): values[-1].decode("utf-8", "replace")
        for name, values in headers.getAllRawHeaders()
    }
