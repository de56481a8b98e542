"""
Requests of our own to a cell: one connection each, one small answer with a `Content-Length`.

Every cell is asked every second, which is why this is not an `Agent`.
"""

from pathlib import Path
from typing import Any, Final

import attrs
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.defer import TimeoutError as DeferredTimeout
from twisted.internet.endpoints import UNIXClientEndpoint
from twisted.internet.error import ConnectError, ConnectingCancelledError
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure

_LIMIT: Final = 1 << 20


class NoAnswer(Exception):
    """
    The cell gave no whole answer in time.
    """


@attrs.frozen
class Answer:
    """
    A whole answer.
    """

    status: int
    body: bytes


def request_bytes(headers: dict[str, str], body: bytes | None) -> bytes:
    """
    A request head and body (POST when there is a body, else GET).
    """
    lines = [f"{'GET' if body is None else 'POST'} / HTTP/1.1", "host: cell", "connection: close"]
    lines.extend(f"{name}: {value}" for name, value in headers.items())
    if body is not None:
        lines.append(f"content-length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode() + (body or b"")


def parse_answer(data: bytes) -> Answer | None:
    """
    The answer that `data` is, or None while it is not whole.

    Raises:
        ValueError: it is no answer of the kind that we expect.
    """
    head, end, body = data.partition(b"\r\n\r\n")
    if not end:
        return None
    status, *fields = head.decode("latin-1").split("\r\n")
    if not status.startswith("HTTP/1.1 "):
        raise ValueError("not HTTP/1.1")
    for field in fields:
        name, _, value = field.partition(":")
        if name.lower() == "content-length":
            length = int(value)
            return Answer(int(status.split(" ")[1]), body[:length]) if len(body) >= length else None
    raise ValueError("an answer without a length")


class _Ask(Protocol):
    def __init__(self, request: bytes) -> None:
        self._request = request
        self._data = bytearray()
        self.answer: Deferred[Answer] = Deferred(lambda _: self._abort())
        self._done = False

    def _abort(self) -> None:
        self._done = True
        if self.transport is not None:
            self.transport.abortConnection()  # type: ignore[attr-defined]

    def connectionMade(self) -> None:
        assert self.transport is not None
        self.transport.write(self._request)

    def dataReceived(self, data: bytes) -> None:
        self._data += data
        try:
            answer = parse_answer(bytes(self._data))
        except ValueError as error:
            self._finish(Failure(NoAnswer(str(error))))
            return
        if answer is not None:
            self._finish(answer)
        elif len(self._data) > _LIMIT:
            self._finish(Failure(NoAnswer("the answer is too long")))

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._finish(Failure(NoAnswer("the connection was lost")))

    def _finish(self, result: Answer | Failure) -> None:
        if not self._done:
            self._abort()
            self.answer.callback(result)


@attrs.define(eq=False)
class _One(Factory):
    noisy = False
    _protocol: _Ask

    def buildProtocol(self, addr: object) -> _Ask:
        return self._protocol


async def ask(
    reactor: Any, socket: Path, headers: dict[str, str], body: bytes | None, timeout: float
) -> Answer:
    """
    One request and its whole answer, of at most 1 MiB.

    Raises:
        NoAnswer: there was none within `timeout` seconds.
    """
    endpoint = UNIXClientEndpoint(reactor, str(socket))
    asked = Deferred.fromCoroutine(_ask(endpoint, request_bytes(headers, body)))
    try:
        answer: Answer = await asked.addTimeout(timeout, reactor)
    except (DeferredTimeout, ConnectError) as error:
        raise NoAnswer(type(error).__name__) from error
    return answer


async def _ask(endpoint: UNIXClientEndpoint, request: bytes) -> Answer:
    protocol = _Ask(request)
    try:
        await endpoint.connect(_One(protocol))
    except ConnectingCancelledError as error:
        # Twisted's own word, which neither `addTimeout` nor whoever cancels would know.
        raise CancelledError from error
    return await protocol.answer
