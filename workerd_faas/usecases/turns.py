"""Heavy work in turns: little of it at once, and of one account less than that."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

import attrs
from twisted.internet.defer import DeferredSemaphore

from workerd_faas.domain.errors import Kind, Problem
from workerd_faas.usecases.ports import OwnedWork

T = TypeVar("T")


@attrs.define(eq=False, kw_only=True)
class Turns:
    """
    What an upload brings is some hundred megabytes in memory while it is read, checked and stored,
    so uploads wait for one another. An account that sends many waits for itself: of all that wait
    for a turn there is at most one of each account.

    Attributes:
        work: Owns what has begun: a turn ends with the work and not with the client.
        at_once: How many at once.
        queue: How many of one account may wait.
    """

    work: OwnedWork
    at_once: int = 2
    queue: int = 32
    _all: DeferredSemaphore = attrs.field(init=False)
    _accounts: dict[str, DeferredSemaphore] = attrs.Factory(dict)

    @_all.default
    def _all_turns(self) -> DeferredSemaphore:
        return DeferredSemaphore(self.at_once)

    async def run(self, account_id: str, work: Callable[[], Awaitable[T]]) -> T:
        """
        Run `work()` when it is its turn. Whoever is cancelled before gives up its place.

        Raises:
            Problem: `TOO_MANY_REQUESTS`, and what `work` raises.
        """
        own = self._accounts.setdefault(account_id, DeferredSemaphore(1))
        if len(own.waiting) >= self.queue:
            raise Problem(
                kind=Kind.TOO_MANY_REQUESTS,
                message="Too many uploads of this account are waiting: try again in a moment.",
                retry_after=1,
            )
        await own.acquire()
        try:
            await self._all.acquire()
        except BaseException:
            self._leave(account_id, own)
            raise

        async def turn() -> T:
            try:
                return await work()
            finally:
                self._all.release()
                self._leave(account_id, own)

        return await self.work.finish(turn)

    def _leave(self, account_id: str, own: DeferredSemaphore) -> None:
        own.release()
        if own.tokens and self._accounts.get(account_id) is own:
            del self._accounts[account_id]
