"""One change of a function at a time."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

import attrs
from twisted.internet.defer import DeferredLock

T = TypeVar("T")


@attrs.define(eq=False)
class SerialByName:
    """
    Runs work for the same name one after the other, for different names side by side.
    """

    _locks: dict[str, DeferredLock] = attrs.Factory(dict)

    async def run(self, name: str, work: Callable[[], Awaitable[T]]) -> T:
        """
        Run `work()` when what was asked before for this name has ended.
        """
        lock = self._locks.setdefault(name, DeferredLock())
        await lock.acquire()
        try:
            return await work()
        finally:
            lock.release()
            if not lock.locked and self._locks.get(name) is lock:
                del self._locks[name]
