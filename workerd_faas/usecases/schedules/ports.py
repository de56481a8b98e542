"""What scheduling needs of the store and the runtime."""

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

import attrs

from workerd_faas.domain.schedules import Outcome, Schedule


class ScheduleStore(Protocol):
    """
    Schedules with their next times and newest runs. Each method is one transaction.
    """

    async def all(self) -> Sequence[Schedule]:
        """
        Those of all functions.
        """

    async def replace(
        self, account_id: str, function: str, schedules: Sequence[Schedule], now: datetime
    ) -> Sequence[Schedule]:
        """
        Let a function have exactly these; one that is there already (by its expression) stays as it
        is. Returns what the function has then, in the order given.

        Raises:
            Problem: `SCRIPT_NOT_FOUND`.
        """

    async def save(self, schedules: Sequence[Schedule]) -> Sequence[Schedule]:
        """
        Write next times and newest runs; returns those schedules that are still there.
        """


@attrs.frozen(kw_only=True)
class Ran:
    """
    What became of a call of `scheduled()`.

    Attributes:
        detail: More about it, for the function's owner; None if there is nothing to add.
        version_id: What ran; None when nothing did.
    """

    outcome: Outcome
    version_id: str | None = None
    detail: str | None = None


class ScheduledCalls(Protocol):
    """
    Calls functions' `scheduled()` in their accounts' cells.
    """

    async def call(self, function: str, cron: str, scheduled_at: datetime) -> Ran:
        """
        Call it once in a version that serves the function now, and wait for its end, which is
        bounded. Never raises a `Problem`: what is wrong is in the outcome. May be cancelled; then
        the run is ended.
        """
