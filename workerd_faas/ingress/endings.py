"""Exchanges that come to no good end: what their clients are told."""

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from workerd_faas.domain.errors import Kind, Problem
from workerd_faas.domain.termination import WORDS, Termination, Verdict
from workerd_faas.ingress.http1 import Malformed

if TYPE_CHECKING:
    from workerd_faas.ingress.pool import Pool
    from workerd_faas.ingress.upstream_connection import UpstreamConnection


def failed() -> Problem:
    """
    The process goes on, but has broken this request off.
    """
    return Problem(
        kind=Kind.UPSTREAM_FAILED,
        message="The function's process broke off before it answered.",
    )


def unfit(malformed: Malformed) -> Problem:
    """
    What the function answered is no answer.
    """
    return Problem(
        kind=Kind.UPSTREAM_FAILED,
        message=f"The function's answer cannot be passed on: {malformed}",
    )


def terminated(verdict: Verdict) -> Problem:
    """
    The process has ended.
    """
    if verdict.termination is None:
        return Problem(
            kind=Kind.UNAVAILABLE,
            message="The function's process was stopped before it answered.",
            retry_after=1,
        )
    return Problem(
        kind=Kind.TERMINATED,
        message=f"The function's process {WORDS[verdict.termination]} and has ended.",
        retry_after=1,
        termination=verdict.termination,
    )


def timed_out() -> Problem:
    """
    The head of the response did not come.
    """
    return Problem(
        kind=Kind.UPSTREAM_TIMEOUT,
        message="The function did not answer in time.",
        termination=Termination.TIMEOUT,
    )


def unavailable() -> Problem:
    """
    There is no cell to be had, or no connection.
    """
    return Problem(
        kind=Kind.UNAVAILABLE,
        message="There is no room for this request right now: try again in a moment.",
        retry_after=1,
    )


_OPEN: Final = 0.25
"""
Seconds that a connection must stay open: that of a process that is just ending may have been made
before the end of its listening socket, but does not last.
"""


class Knock:
    """
    Is there still somebody who accepts connections? A process that has ended does not, before
    anybody is told that it has ended.

    Args:
        loop: For the time that it takes.
        pool: Gets the connection.
        there: Called if there is.
    """

    def __init__(
        self, loop: asyncio.AbstractEventLoop, pool: "Pool", there: Callable[[], None]
    ) -> None:
        self._loop = loop
        self._pool = pool
        self._there = there

    def connected(self, connection: "UpstreamConnection") -> None:
        """
        See `pool.Wanting`.
        """
        self._loop.call_later(_OPEN, self._look, connection)

    def refused(self, error: OSError) -> None:
        """
        See `pool.Wanting`.
        """

    def _look(self, connection: "UpstreamConnection") -> None:
        if not connection.transport.is_closing():
            self._pool.give_back(connection)
            self._there()
