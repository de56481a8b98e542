"""What a cell's router is asked over its own socket, and what it answers."""

import json
from collections.abc import Callable, Container, Iterable, Sequence
from pathlib import Path
from typing import Any, Protocol

import attrs
from twisted.internet.defer import Deferred

from workerd_faas.runtime.unix_http import NoAnswer, ask
from workerd_faas.wire.headers import ROUTE_AND_CF


@attrs.frozen(kw_only=True)
class Health:
    """
    What a router says of itself.

    Attributes:
        pending: Invocations that are not over: requests, open streams, `waitUntil` work, and
            reports that are on their way to the daemon.
        loaded: Versions in memory.
        busy: The functions of these that have something pending.
        hot: The versions that are called so much that a process of their own would pay.
        loud: Its promoted version has said something, or is watched.
    """

    pending: int = 0
    loaded: int = 0
    busy: tuple[str, ...] = ()
    hot: tuple[str, ...] = ()
    loud: bool = False


class Prober(Protocol):
    """
    Asks one cell.
    """

    def probe(self) -> "Deferred[Health]":
        """
        Fails with `NoAnswer` when there is none in time. May be cancelled.
        """

    def forget(self, version_id: str) -> "Deferred[None]":
        """
        Have a version evicted if it is loaded. Fails with `NoAnswer`. May be cancelled.
        """

    def changed(self, function: str, reload: bool) -> "Deferred[None]":
        """
        Have it forget which versions serve a function, and with `reload` load these anew. Fails
        with `NoAnswer`. May be cancelled.
        """

    def warm(self, version_id: str, function: str) -> "Deferred[None]":
        """
        Have it load a version if it has loaded another one of the function. Fails with `NoAnswer`.
        May be cancelled.
        """


def health(body: bytes, loaded: Container[str] = ()) -> Health:
    """
    The health that an answer's body tells. The router counts; a function cannot make it lie, but
    nothing here relies on that.

    Args:
        loaded: The functions that the cell was given: it can say of no others that they are busy,
            and so be blamed for what it does itself.

    Raises:
        NoAnswer: it is not one.
    """
    try:
        document = json.loads(body)
        return Health(
            pending=int(document.get("pending", 0)),
            loaded=int(document.get("loaded", 0)),
            busy=tuple(name for name in _texts(document.get("busy", ())) if name in loaded),
            hot=_texts(document.get("hot", ())),
            loud=document.get("loud") is True,
        )
    except (ValueError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        raise NoAnswer("the answer is not a router's") from error


def _texts(values: Iterable[Any]) -> tuple[str, ...]:
    return tuple(value for value in values if isinstance(value, str))


@attrs.frozen
class SocketProber:
    """
    Asks over the cell's unix socket.

    Attributes:
        reactor: Provides IReactorUNIX and IReactorTime.
        timeout: Seconds until no answer is taken for none.
        tailed: The functions of which the daemon wants every invocation. Each probe tells them, so
            that a cell knows before its first request, and again whatever got lost.
        loaded: The functions that the cell was given.
    """

    reactor: Any
    socket: Path
    timeout: float
    tailed: Callable[[], Sequence[str]] = tuple
    loaded: Container[str] = ()

    def probe(self) -> "Deferred[Health]":
        """
        See `Prober`.
        """
        return Deferred.fromCoroutine(self._probe())

    def forget(self, version_id: str) -> "Deferred[None]":
        """
        See `Prober`.
        """
        return Deferred.fromCoroutine(self._forget(version_id))

    def changed(self, function: str, reload: bool) -> "Deferred[None]":
        """
        See `Prober`.
        """
        return Deferred.fromCoroutine(self._changed(function, reload))

    def warm(self, version_id: str, function: str) -> "Deferred[None]":
        """
        See `Prober`.
        """
        return Deferred.fromCoroutine(self._warm(version_id, function))

    async def _probe(self) -> Health:
        answer = await self._ask({"probe": True, "tailed": list(self.tailed())})
        return health(answer, self.loaded)

    async def _forget(self, version_id: str) -> None:
        await self._ask({"forget": version_id})

    async def _changed(self, function: str, reload: bool) -> None:
        await self._ask({"changed": {"function": function, "reload": reload}})

    async def _warm(self, version_id: str, function: str) -> None:
        await self._ask({"warm": {"version": version_id, "function": function}})

    async def _ask(self, question: dict[str, Any]) -> bytes:
        headers = {ROUTE_AND_CF: json.dumps(question)}
        answer = await ask(self.reactor, self.socket, headers, None, self.timeout)
        if answer.status != 200:
            raise NoAnswer(f"the router answered {answer.status}")
        return answer.body


_check: type[Prober] = SocketProber
