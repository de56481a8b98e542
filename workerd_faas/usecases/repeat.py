"""Work that is done again and again."""

from collections.abc import Callable, Coroutine
from typing import Any

import attrs
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger
from twisted.python.failure import Failure


@attrs.define(eq=False, kw_only=True)
class Repeat:
    """
    Does something some time after it has last been done. A failure that nobody foresaw is logged,
    and the work goes on with the next turn.

    Attributes:
        reactor: Provides IReactorTime.
        seconds: From the end of one turn to the beginning of the next.
        work: Makes the coroutine of a turn.
        what: The work in words, for the log.
    """

    log = Logger()

    reactor: Any
    seconds: float
    work: Callable[[], Coroutine[Any, Any, object]]
    what: str
    _next: IDelayedCall | None = None
    _turn: "Deferred[object] | None" = None
    _on: bool = False

    def start(self, *, now: bool = False) -> None:
        """
        Begin, with a turn at once or after the first pause.
        """
        self._on = True
        self._next = self.reactor.callLater(0 if now else self.seconds, self._begin)

    def stop(self) -> None:
        """
        End; what is being done is cancelled.
        """
        self._on = False
        if self._next is not None:
            self._next.cancel()
            self._next = None
        if self._turn is not None:
            self._turn.cancel()

    def _begin(self) -> None:
        self._next = None
        self._turn = Deferred.fromCoroutine(self.work())
        self._turn.addErrback(self._failed)
        self._turn.addCallback(self._again)

    def _failed(self, failure: Failure) -> None:
        if not failure.check(CancelledError):
            self.log.failure("{what}", failure=failure, what=self.what)

    def _again(self, _: object) -> None:
        self._turn = None
        if self._on:
            self._next = self.reactor.callLater(self.seconds, self._begin)
