"""A document of the provider's that is fetched when it is needed and kept for a while."""

from collections.abc import Callable, Coroutine
from typing import Any, Final, Generic, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure

T = TypeVar("T")

FAILURE_SPACING: Final = 1.0
"""Seconds for which a failure is answered again without another try."""


class Refreshing(Generic[T]):
    """
    Keeps the latest value. Everybody who asks during a fetch gets its one outcome; the fetch
    belongs to this object, so an asker that goes away takes nothing from the others.
    """

    def __init__(
        self,
        reactor: IReactorTime,
        fetch: Callable[[], Coroutine[Any, Any, T]],
        *,
        max_age: float,
        renew_spacing: float,
    ) -> None:
        """
        Args:
            reactor: Monotonic time.
            fetch: Gets the value anew. It must end by itself.
            max_age: Seconds for which a value is good.
            renew_spacing: Seconds between two renewals that were asked for before that time.
        """
        self._reactor = reactor
        self._fetch = fetch
        self._max_age = max_age
        self._renew_spacing = renew_spacing
        self._value: tuple[T, float] | None = None
        self._failure: tuple[BaseException, float] | None = None
        self._renewed_at: float | None = None
        self._fetching: Deferred[T] | None = None
        self._waiting: list[Deferred[T]] = []

    async def get(self) -> T:
        """
        The value, fetched if there is none or it is too old.

        Raises:
            Exception: what `fetch` raised, now or less than `FAILURE_SPACING` ago.
        """
        now = self._reactor.seconds()
        if self._value is not None and now - self._value[1] < self._max_age:
            return self._value[0]
        if self._failure is not None and now - self._failure[1] < FAILURE_SPACING:
            raise self._failure[0]
        return await self._outcome()

    async def renewed(self) -> T | None:
        """
        The value, fetched anew though it is not old; None when that was done too recently.

        Raises:
            Exception: what `fetch` raised; the value that there was is kept.
        """
        now = self._reactor.seconds()
        if self._renewed_at is not None and now - self._renewed_at < self._renew_spacing:
            return None
        self._renewed_at = now
        return await self._outcome()

    def stop(self) -> None:
        """
        Give up a fetch that is under way. Idempotent.
        """
        if self._fetching is not None:
            self._fetching.cancel()

    def _outcome(self) -> "Deferred[T]":
        waiter: Deferred[T] = Deferred(self._waiting.remove)
        self._waiting.append(waiter)
        if self._fetching is None:
            self._fetching = Deferred.fromCoroutine(self._fetch())
            self._fetching.addCallbacks(self._fetched, self._failed)
        return waiter

    def _fetched(self, value: T) -> None:
        self._value, self._failure = (value, self._reactor.seconds()), None
        for waiter in self._end():
            waiter.callback(value)

    def _failed(self, failure: Failure) -> None:
        assert failure.value is not None
        self._failure = (failure.value, self._reactor.seconds())
        for waiter in self._end():
            waiter.errback(failure)

    def _end(self) -> "list[Deferred[T]]":
        self._fetching = None
        waiting, self._waiting = self._waiting, []
        return waiting
