"""
When scheduled functions run. Pure: the time is passed in.

A schedule keeps the time of its next run. A run is *claimed* by moving that time on, before the
function is called: so it runs at most once, however the daemon ends. Times that passed while no
daemon ran (or its clock jumped over them) are made up by one run, the latest of them.
"""

import enum
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Final

import attrs

from workerd_faas.domain.cron import Cron, parse_cron
from workerd_faas.domain.errors import Kind, Problem

MAX_SCHEDULES: Final = 50
"""Of one function."""

_SET_BACK: Final = timedelta(minutes=10)
"""
A clock that is set back by less than this runs nothing twice; by more, the new time holds at once.
"""


class Outcome(enum.Enum):
    """
    How a run ended; the first three are workerd's own words.
    """

    OK = "ok"
    EXCEPTION = "exception"
    CANCELED = "canceled"
    TIMED_OUT = "timed_out"
    INTERRUPTED = "interrupted"
    """The daemon or the cell ended before the run did."""
    NOT_STARTED = "not_started"
    """The function could not be run at all: `Run.detail` says why."""


@attrs.frozen(kw_only=True)
class Run:
    """
    One run of a schedule.

    Attributes:
        scheduled_at: The time that it is for.
        started_at: When it was claimed.
        ended_at: None while it runs.
        missed_since: The first time that passed unserved before `scheduled_at`; None if none did.
        version_id: What ran; None when nothing could.
        detail: More about the outcome, for the function's owner.
    """

    scheduled_at: datetime
    started_at: datetime
    ended_at: datetime | None = None
    outcome: Outcome | None = None
    missed_since: datetime | None = None
    version_id: str | None = None
    detail: str | None = None


@attrs.frozen(kw_only=True)
class Schedule:
    """
    A function's wish to be called by the clock.

    Attributes:
        last: Its newest run; one that ended in an earlier life of the daemon included.
    """

    function: str
    account_id: str
    cron: Cron
    created_at: datetime
    modified_at: datetime
    next_at: datetime
    last: Run | None = None

    @property
    def key(self) -> tuple[str, str]:
        """
        What tells it from all others.
        """
        return self.function, self.cron.text


def read_crons(texts: Iterable[str]) -> Sequence[Cron]:
    """
    The expressions of one function, repeated ones once.

    Raises:
        Problem: `INVALID_SCHEDULE`.
    """
    crons = {cron.text: cron for cron in map(parse_cron, texts)}
    if len(crons) > MAX_SCHEDULES:
        raise Problem(
            kind=Kind.INVALID_SCHEDULE,
            message=f"A function can have {MAX_SCHEDULES} schedules; these are {len(crons)}.",
        )
    return tuple(crons.values())


def is_due(schedule: Schedule, now: datetime) -> bool:
    """
    Whether a run should be claimed now.
    """
    return schedule.next_at <= now


def claim(schedule: Schedule, now: datetime) -> Schedule:
    """
    A due schedule with a run that has begun, and the time of the next one.
    """
    scheduled = schedule.cron.latest(schedule.next_at, now) or schedule.next_at
    missed = schedule.next_at if scheduled > schedule.next_at else None
    return attrs.evolve(
        schedule,
        next_at=schedule.cron.after(now),
        last=Run(scheduled_at=scheduled, started_at=now, missed_since=missed),
    )


def settled(schedule: Schedule, now: datetime) -> Schedule:
    """
    The schedule with a next time that fits the clock as it is now: when it was set back, what is
    next is sooner than what was planned.
    """
    after = now
    if schedule.last is not None and schedule.last.scheduled_at - now < _SET_BACK:
        after = max(now, schedule.last.scheduled_at)
    sooner = schedule.cron.after(after)
    return attrs.evolve(schedule, next_at=sooner) if sooner < schedule.next_at else schedule


def interrupted(schedule: Schedule, now: datetime) -> Schedule:
    """
    The schedule as a starting daemon finds it: a run that has not ended was interrupted.
    """
    run = schedule.last
    if run is None or run.ended_at is not None:
        return schedule
    ended = attrs.evolve(
        run,
        ended_at=now,
        outcome=Outcome.INTERRUPTED,
        detail="The daemon ended before the run did.",
    )
    return attrs.evolve(schedule, last=ended)


def ended(
    schedule: Schedule,
    run: Run,
    outcome: Outcome,
    now: datetime,
    *,
    version_id: str | None,
    detail: str | None,
) -> Schedule:
    """
    The schedule once `run` is over, unless a later one has begun.
    """
    if schedule.last is None or schedule.last.scheduled_at != run.scheduled_at:
        return schedule
    over = attrs.evolve(run, ended_at=now, outcome=outcome, version_id=version_id, detail=detail)
    return attrs.evolve(schedule, last=over)
