"""
One coarse timer for all connections: a request costs it two attribute writes, never a call.
"""

import math
from collections.abc import Callable
from email.utils import formatdate
from typing import Any, Final, Protocol

from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger

NEVER: Final = math.inf
"""A deadline that does not come."""


class Timed(Protocol):
    """
    Something that must not last for ever.

    Attributes:
        deadline: When `overdue` is to be called, in `Timers.now` time; it may be moved at will.
    """

    deadline: float

    def overdue(self, now: float) -> None:
        """
        The deadline has passed. Called at each tick until it is moved or the thing removed.
        """


class Timers:
    """
    Looks at all deadlines once a tick.

    Attributes:
        now: Monotonic seconds at the last tick.
        date_line: The `Date` header line of this second.
    """

    _log = Logger()

    def __init__(self, reactor: Any, tick_seconds: float) -> None:
        self._reactor = reactor
        self._tick_seconds = tick_seconds
        self._timed: set[Timed] = set()
        self._each_tick: list[Callable[[float], None]] = []
        self._call: IDelayedCall | None = None
        self.now: float = reactor.seconds()
        self.date_line = _date_line()
        self.add = self._timed.add
        self.discard = self._timed.discard

    def start(self) -> None:
        """
        Begin to tick.
        """
        self._tick()

    def stop(self) -> None:
        """
        Tick no more.
        """
        if self._call is not None:
            self._call.cancel()
            self._call = None

    def each_tick(self, job: Callable[[float], None]) -> None:
        """
        Call `job(now)` at every tick from now on.
        """
        self._each_tick.append(job)

    def _tick(self) -> None:
        self._call = self._reactor.callLater(self._tick_seconds, self._tick)
        now = self.now = self._reactor.seconds()
        self.date_line = _date_line()
        for timed in [timed for timed in self._timed if timed.deadline <= now]:
            with self._log.failureHandler("a deadline could not be kept"):
                timed.overdue(now)
        for job in self._each_tick:
            with self._log.failureHandler("a periodic job failed"):
                job(now)


def _date_line() -> bytes:
    return b"Date: %s\r\n" % formatdate(usegmt=True).encode("ascii")
