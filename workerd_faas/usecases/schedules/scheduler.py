"""
The clock behind scheduled functions: wakes when a schedule is due, claims it, has it run.

It waits by the monotonic clock and looks at the time of day when it wakes, at least every
`RECHECK` seconds; so a clock that jumps is noticed soon. What is due is decided in
`domain.schedules`.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

import attrs
from twisted.internet.defer import CancelledError, Deferred, DeferredLock, DeferredSemaphore
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from workerd_faas.domain.cron import Cron
from workerd_faas.domain.errors import Problem
from workerd_faas.domain.schedules import (
    Outcome,
    Run,
    Schedule,
    claim,
    ended,
    interrupted,
    is_due,
    settled,
)
from workerd_faas.usecases.ports import WallClock
from workerd_faas.usecases.schedules.ports import Ran, ScheduledCalls, ScheduleStore

RECHECK: Final = 20.0
"""Seconds between two looks at the time of day, at most."""

AT_ONCE: Final = 10
"""Runs of one account at the same time; more wait for their turn."""

_SET_BACK: Final = 1.0
"""Seconds by which the time of day may fall behind before it counts as set back."""

_RETRY: Final = 5.0
"""Seconds until the store is tried again."""


@attrs.define(kw_only=True, eq=False)
class Scheduler:
    """
    A stage of the daemon.

    Attributes:
        reactor: Provides IReactorTime.
        drain: Seconds that a stopping daemon waits for runs under way.
    """

    log = Logger()

    reactor: Any
    clock: WallClock
    store: ScheduleStore
    calls: ScheduledCalls
    drain: float
    _schedules: dict[tuple[str, str], Schedule] = attrs.Factory(dict)
    _running: "dict[tuple[str, str], Deferred[None]]" = attrs.Factory(dict)
    _turns: dict[str, DeferredSemaphore] = attrs.Factory(dict)
    _lock: DeferredLock = attrs.Factory(DeferredLock)
    _timer: IDelayedCall | None = None
    _looking: "Deferred[None] | None" = None
    _look_again: bool = False
    _stopped: bool = False
    _ahead: float = 0.0

    async def start(self) -> None:
        """
        Take up what is stored. A run that had not ended was interrupted, and is not repeated.
        Also after `stop`.
        """
        self._stopped = False
        now = self.clock.now()
        self._ahead = now.timestamp() - self.reactor.seconds()
        found = [settled(interrupted(s, now), now) for s in await self.store.all()]
        self._schedules = {schedule.key: schedule for schedule in found}
        self._look()

    async def stop(self) -> None:
        """
        Claim nothing more; wait for the runs under way, for a while, and interrupt the others.
        """
        self._stopped = True
        self._cancel_timer()
        if self._looking is not None:
            await _over(self._looking)
        late = self.reactor.callLater(self.drain, self._interrupt_all)
        while self._running:
            await _over(next(iter(self._running.values())))
        if late.active():
            late.cancel()

    def _interrupt_all(self) -> None:
        for run in tuple(self._running.values()):
            run.cancel()

    # What the API asks.

    async def replace(
        self, account_id: str, function: str, crons: Sequence[Cron]
    ) -> Sequence[Schedule]:
        """
        Let a function have exactly these schedules.

        Raises:
            Problem: `SCRIPT_NOT_FOUND`.
        """
        now = self.clock.now()
        wanted = [
            Schedule(
                function=function,
                account_id=account_id,
                cron=cron,
                created_at=now,
                modified_at=now,
                next_at=cron.after(now),
            )
            for cron in crons
        ]
        async with _holding(self._lock):
            stored = await self.store.replace(account_id, function, wanted, now)
            for key in [key for key in self._schedules if key[0] == function]:
                del self._schedules[key]
            self._schedules.update({schedule.key: schedule for schedule in stored})
        self._look()
        return stored

    def of(self, account_id: str, function: str) -> Sequence[Schedule]:
        """
        The schedules of a function, the older ones first.
        """
        found = (s for s in self._schedules.values() if s.function == function)
        mine = [schedule for schedule in found if schedule.account_id == account_id]
        return sorted(mine, key=lambda schedule: (schedule.created_at, schedule.cron.text))

    def status(self) -> Mapping[str, int]:
        """
        For operators.
        """
        return {"schedules": len(self._schedules), "scheduled_runs": len(self._running)}

    # Waking.

    def _look(self) -> None:
        """
        Claim what is due; one look at a time.
        """
        self._cancel_timer()
        if self._stopped:
            return
        if self._looking is not None:
            self._look_again = True
            return
        self._look_again = False
        self._looking = Deferred.fromCoroutine(self._claim_due())
        self._looking.addBoth(self._looked)

    def _looked(self, result: object) -> None:
        self._looking = None
        wait = self._pause()
        if isinstance(result, Failure):
            wait = _RETRY
            self.log.failure("schedules that are due could not be claimed", result)
        if self._stopped:
            return
        if self._look_again:
            self._look()
        else:
            self._timer = self.reactor.callLater(wait, self._timed)

    def _timed(self) -> None:
        self._timer = None
        self._look()

    def _cancel_timer(self) -> None:
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()

    def _pause(self) -> float:
        now = self.clock.now()
        waiting = (s.next_at for key, s in self._schedules.items() if key not in self._running)
        soonest = min(waiting, default=None)
        if soonest is None:
            return RECHECK
        return min(max((soonest - now).total_seconds(), 0.0), RECHECK)

    async def _claim_due(self) -> None:
        async with _holding(self._lock):
            now = self.clock.now()
            self._settle(now)
            due = [
                claim(schedule, now)
                for key, schedule in self._schedules.items()
                if is_due(schedule, now) and key not in self._running
            ]
            if not due:
                return
            claimed = {schedule.key: schedule for schedule in await self.store.save(due)}
            for schedule in due:
                if schedule.key not in claimed:
                    # Its function was deleted.
                    self._schedules.pop(schedule.key, None)
                elif schedule.key in self._schedules:
                    self._schedules[schedule.key] = schedule
                    self._begin(schedule)

    def _settle(self, now: datetime) -> None:
        """
        If the clock was set back since the last look, plan anew.
        """
        ahead = now.timestamp() - self.reactor.seconds()
        if ahead < self._ahead - _SET_BACK:
            self.log.warn(
                "the clock was set back by {seconds} s", seconds=round(self._ahead - ahead)
            )
            for key, schedule in self._schedules.items():
                self._schedules[key] = settled(schedule, now)
        self._ahead = ahead

    # Running.

    def _begin(self, schedule: Schedule) -> None:
        run = schedule.last
        assert run is not None
        if run.missed_since is not None:
            self.log.warn(
                "{function}: {cron} was missed from {since} on; made up by one run for {scheduled}",
                function=schedule.function,
                cron=schedule.cron.text,
                since=run.missed_since.isoformat(),
                scheduled=run.scheduled_at.isoformat(),
            )
        work = Deferred.fromCoroutine(self._run(schedule, run))
        self._running[schedule.key] = work
        work.addErrback(lambda failure: self.log.failure("a scheduled run", failure))
        work.addBoth(self._ran, schedule.key)

    def _ran(self, _result: object, key: tuple[str, str]) -> None:
        del self._running[key]
        self._look()

    async def _run(self, schedule: Schedule, run: Run) -> None:
        turns = self._turns.setdefault(schedule.account_id, DeferredSemaphore(AT_ONCE))
        try:
            await turns.acquire()
            try:
                ran = await self.calls.call(schedule.function, schedule.cron.text, run.scheduled_at)
            finally:
                turns.release()
                if turns.tokens == turns.limit and not turns.waiting:
                    self._turns.pop(schedule.account_id, None)
        except CancelledError:
            ran = Ran(outcome=Outcome.INTERRUPTED, detail="The daemon was stopped.")
        self.log.debug(
            "{function}: {cron} for {scheduled} ended: {outcome}",
            function=schedule.function,
            account=schedule.account_id,
            cron=schedule.cron.text,
            scheduled=run.scheduled_at.isoformat(),
            outcome=ran.outcome.value,
            version=ran.version_id,
            detail=ran.detail,
        )
        await self._record(schedule, run, ran)

    async def _record(self, schedule: Schedule, run: Run, ran: Ran) -> None:
        async with _holding(self._lock):
            current = self._schedules.get(schedule.key)
            if current is None:
                return
            over = ended(
                current,
                run,
                ran.outcome,
                self.clock.now(),
                version_id=ran.version_id,
                detail=ran.detail,
            )
            self._schedules[schedule.key] = over
            try:
                await self.store.save([over])
            except Problem as problem:
                # Written with the next claim; until then it is known in memory.
                self.log.error("a run's result is not stored: {problem}", problem=str(problem))


@attrs.define
class _holding:  # noqa: N801 - reads as a verb
    """
    `async with` for a DeferredLock.
    """

    _lock: DeferredLock

    async def __aenter__(self) -> None:
        await self._lock.acquire()

    async def __aexit__(self, *_: object) -> None:
        self._lock.release()


async def _over(work: "Deferred[None]") -> None:
    """
    Wait until something has ended, however. It may have other waiters.
    """
    done: Deferred[None] = Deferred()

    def tell(result: Any) -> Any:
        done.callback(None)
        return result

    work.addBoth(tell)
    await done
