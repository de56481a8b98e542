"""The scheduler with a clock in hand: on time, once, not lost, not repeated."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from workerd_faas.domain.cron import parse_cron
from workerd_faas.domain.errors import Kind, Problem
from workerd_faas.domain.schedules import Outcome, Schedule
from workerd_faas.usecases.ports import WallClock
from workerd_faas.usecases.schedules.ports import Ran, ScheduledCalls, ScheduleStore
from workerd_faas.usecases.schedules.scheduler import AT_ONCE, Scheduler

NOON = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
ACCOUNT = "a" * 32


@attrs.define
class JumpingClock:
    """
    The time of day over a monotonic clock; `jump` sets it by so much.
    """

    monotonic: Clock
    ahead: timedelta = timedelta()

    def now(self) -> datetime:
        """
        See `WallClock`.
        """
        return NOON + timedelta(seconds=self.monotonic.seconds()) + self.ahead

    def jump(self, by: timedelta) -> None:
        """
        Somebody sets the clock.
        """
        self.ahead += by


@attrs.define
class MemoryStore:
    """
    Schedules in memory; `broken` fails each write.
    """

    rows: dict[tuple[str, str], Schedule] = attrs.Factory(dict)
    broken: Problem | None = None
    slow: "Deferred[None] | None" = None

    async def all(self) -> Sequence[Schedule]:
        """
        See `ScheduleStore`.
        """
        return tuple(self.rows.values())

    async def replace(
        self, account_id: str, function: str, schedules: Sequence[Schedule], now: datetime
    ) -> Sequence[Schedule]:
        """
        See `ScheduleStore`.
        """
        kept = {schedule.key: self.rows.get(schedule.key, schedule) for schedule in schedules}
        self.rows = {key: row for key, row in self.rows.items() if key[0] != function} | kept
        return tuple(kept.values())

    async def save(self, schedules: Sequence[Schedule]) -> Sequence[Schedule]:
        """
        See `ScheduleStore`.
        """
        if self.slow is not None:
            await self.slow
        if self.broken is not None:
            raise self.broken
        there = [schedule for schedule in schedules if schedule.key in self.rows]
        self.rows.update({schedule.key: schedule for schedule in there})
        return there


@attrs.define
class RecordingCalls:
    """
    Functions that run well at once, or until `waiting` is fired.
    """

    made: list[tuple[str, str, datetime]] = attrs.Factory(list)
    waiting: "list[Deferred[None]]" = attrs.Factory(list)
    slow: bool = False

    async def call(self, function: str, cron: str, scheduled_at: datetime) -> Ran:
        """
        See `ScheduledCalls`.
        """
        self.made.append((function, cron, scheduled_at))
        if self.slow:
            end: Deferred[None] = Deferred()
            self.waiting.append(end)
            await end
        return Ran(outcome=Outcome.OK, version_id="v")

    @property
    def minutes(self) -> list[float]:
        """
        Minutes after noon for which there were calls.
        """
        return [(scheduled - NOON).total_seconds() / 60 for _, _, scheduled in self.made]


class SchedulerTests(SynchronousTestCase):
    """
    One scheduler, made at noon.
    """

    def setUp(self) -> None:
        """
        Make its surroundings.
        """
        self.reactor = Clock()
        self.clock = JumpingClock(self.reactor)
        self.store = MemoryStore()
        self.calls = RecordingCalls()
        self.scheduler = self.started()

    def started(self) -> Scheduler:
        """
        A scheduler on what is stored.
        """
        scheduler = Scheduler(
            reactor=self.reactor,
            clock=self.clock,
            store=self.store,
            calls=self.calls,
            drain=10.0,
        )
        self.successResultOf(Deferred.fromCoroutine(scheduler.start()))
        return scheduler

    def put(self, *crons: str, function: str = "fn") -> None:
        """
        Set a function's schedules.
        """
        replacing = self.scheduler.replace(ACCOUNT, function, [parse_cron(c) for c in crons])
        self.successResultOf(Deferred.fromCoroutine(replacing))

    def pass_time(self, seconds: float, *, step: float = 1.0) -> None:
        """
        Let the time go on.
        """
        for _ in range(round(seconds / step)):
            self.reactor.advance(step)

    def stopping(self) -> "Deferred[None]":
        """
        Stop the scheduler.
        """
        return Deferred.fromCoroutine(self.scheduler.stop())

    def test_runs_are_on_time_and_once(self) -> None:
        """
        An every-minute schedule is called once a minute, in the second in which the minute begins.
        """
        self.put("* * * * *")
        self.pass_time(59)
        self.assertEqual(self.calls.made, [])
        self.pass_time(1)
        self.assertEqual(self.calls.minutes, [1.0])
        self.pass_time(240)
        self.assertEqual(self.calls.minutes, [1.0, 2.0, 3.0, 4.0, 5.0])
        (schedule,) = self.scheduler.of(ACCOUNT, "fn")
        assert schedule.last is not None
        self.assertEqual(schedule.last.outcome, Outcome.OK)
        self.assertEqual(schedule.last.version_id, "v")
        self.assertEqual(schedule.next_at, NOON + timedelta(minutes=6))

    def test_a_wake_that_comes_late_loses_nothing(self) -> None:
        """
        When the daemon is held up over several minutes, one run makes up for them.
        """
        self.put("* * * * *")
        self.reactor.advance(200)
        self.assertEqual(self.calls.minutes, [3.0])
        (schedule,) = self.scheduler.of(ACCOUNT, "fn")
        assert schedule.last is not None
        self.assertEqual(schedule.last.missed_since, NOON + timedelta(minutes=1))

    def test_a_restart_makes_up_once(self) -> None:
        """
        What was due while no daemon ran is run once by the next one, and what ran is not repeated.
        """
        self.put("* * * * *", "0 0 * * *")
        self.pass_time(61)
        self.successResultOf(self.stopping())
        self.reactor.advance(600)
        self.assertEqual(self.calls.minutes, [1.0])
        self.scheduler = self.started()
        self.assertEqual(self.calls.minutes, [1.0, 11.0])
        self.pass_time(60)
        self.assertEqual(self.calls.minutes, [1.0, 11.0, 12.0])

    def test_a_killed_daemon_repeats_nothing_that_began(self) -> None:
        """
        A run that had begun when the daemon died is reported as interrupted and not run again.
        """
        self.calls.slow = True
        self.put("* * * * *")
        self.pass_time(60)
        self.assertEqual(self.calls.minutes, [1.0])
        self.scheduler = self.started()
        self.assertEqual(self.calls.minutes, [1.0])
        (schedule,) = self.scheduler.of(ACCOUNT, "fn")
        assert schedule.last is not None
        self.assertEqual(schedule.last.outcome, Outcome.INTERRUPTED)

    def test_nothing_runs_before_it_is_claimed_durably(self) -> None:
        """
        A function is called only once the store has the claim; a failing store delays the run.
        """
        self.put("* * * * *")
        self.store.broken = Problem(kind=Kind.STORAGE_FULL, message="no space")
        self.pass_time(70)
        self.assertEqual(self.calls.made, [])
        self.assertTrue(self.flushLoggedErrors(Problem))
        self.store.broken = None
        self.pass_time(6)
        self.assertEqual(self.calls.minutes, [1.0])

    def test_a_deleted_function_is_not_called(self) -> None:
        """
        A schedule that is gone from the store is dropped when it comes due.
        """
        self.put("* * * * *")
        self.store.rows.clear()
        self.pass_time(120)
        self.assertEqual(self.calls.made, [])
        self.assertEqual(self.scheduler.of(ACCOUNT, "fn"), [])

    def test_a_schedule_does_not_overlap_itself(self) -> None:
        """
        While a run goes on its next times wait, and one run makes up for them afterwards.
        """
        self.calls.slow = True
        self.put("* * * * *")
        self.pass_time(60 * 4)
        self.assertEqual(self.calls.minutes, [1.0])
        self.calls.waiting.pop().callback(None)
        self.assertEqual(self.calls.minutes, [1.0, 4.0])

    def test_replacing_schedules_takes_effect_at_once(self) -> None:
        """
        A new schedule is waited for, a removed one is not run any more, one that stays keeps its
        history.
        """
        self.put("* * * * *")
        self.pass_time(60)
        self.put("* * * * *", "30 12 * * *")
        (kept, new) = self.scheduler.of(ACCOUNT, "fn")
        self.assertIsNotNone(kept.last)
        self.assertIsNone(new.last)
        self.put("30 12 * * *")
        self.pass_time(60 * 29)
        self.assertEqual(self.calls.minutes, [1.0, 30.0])
        self.put()
        self.pass_time(60 * 60 * 24, step=60)
        self.assertEqual(self.calls.minutes, [1.0, 30.0])

    def test_a_run_that_is_removed_while_it_runs_leaves_nothing(self) -> None:
        """
        The end of a run whose schedule is gone does not bring it back.
        """
        self.calls.slow = True
        self.put("* * * * *")
        self.pass_time(60)
        self.put()
        self.calls.waiting.pop().callback(None)
        self.assertEqual(self.scheduler.of(ACCOUNT, "fn"), [])
        self.assertEqual(self.store.rows, {})

    def test_the_clock_jumps_forward(self) -> None:
        """
        Times that a jump passes over are made up by one run, soon after it.
        """
        self.put("0 * * * *")
        self.pass_time(5)
        self.clock.jump(timedelta(hours=5))
        self.pass_time(20)
        self.assertEqual(self.calls.minutes, [300.0])

    def test_the_clock_is_set_back(self) -> None:
        """
        After it went back by two hours, the next minute is run and not the one two hours later.
        """
        self.put("* * * * *")
        self.pass_time(60)
        self.clock.jump(timedelta(hours=-2))
        self.pass_time(90)
        self.assertEqual(self.calls.minutes, [1.0, -118.0])

    def test_a_small_correction_repeats_nothing(self) -> None:
        """
        A clock that is set back by three seconds just after a run does not cause it again.
        """
        self.put("* * * * *")
        self.pass_time(61)
        self.clock.jump(timedelta(seconds=-3))
        self.pass_time(62)
        self.assertEqual(self.calls.minutes, [1.0, 2.0])

    def test_an_account_has_a_bounded_number_of_runs(self) -> None:
        """
        More runs than that wait for their turn; another account's do not wait for them.
        """
        self.calls.slow = True
        for n in range(AT_ONCE + 3):
            self.put("* * * * *", function=f"fn{n}")
        other = self.scheduler.replace("b" * 32, "other", [parse_cron("* * * * *")])
        self.successResultOf(Deferred.fromCoroutine(other))
        self.pass_time(60)
        self.assertEqual(len(self.calls.made), AT_ONCE + 1)
        self.calls.waiting[0].callback(None)
        self.assertEqual(len(self.calls.made), AT_ONCE + 2)

    def test_a_stopping_daemon_waits_for_runs(self) -> None:
        """
        A run under way may end; only then has the scheduler stopped.
        """
        self.calls.slow = True
        self.put("* * * * *")
        self.pass_time(60)
        stopping = self.stopping()
        self.assertNoResult(stopping)
        self.calls.waiting.pop().callback(None)
        self.successResultOf(stopping)
        (schedule,) = self.store.rows.values()
        assert schedule.last is not None
        self.assertEqual(schedule.last.outcome, Outcome.OK)
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_a_stopping_daemon_does_not_wait_for_ever(self) -> None:
        """
        A run that does not end in time is interrupted, and that is stored.
        """
        self.calls.slow = True
        self.put("* * * * *")
        self.pass_time(60)
        stopping = self.stopping()
        self.pass_time(10)
        self.successResultOf(stopping)
        (schedule,) = self.store.rows.values()
        assert schedule.last is not None
        self.assertEqual(schedule.last.outcome, Outcome.INTERRUPTED)

    def test_stopping_while_claiming_runs_nothing_more(self) -> None:
        """
        A scheduler that is stopped while the store writes a claim ends after that run.
        """
        self.put("* * * * *")
        self.store.slow = Deferred()
        self.pass_time(60)
        stopping = self.stopping()
        self.assertNoResult(stopping)
        slow, self.store.slow = self.store.slow, None
        slow.callback(None)
        self.successResultOf(stopping)
        self.assertEqual(self.calls.minutes, [1.0])
        self.pass_time(120)
        self.assertEqual(self.calls.minutes, [1.0])

    def test_others_see_nothing(self) -> None:
        """
        The schedules of a function are shown to its own account only.
        """
        self.put("* * * * *")
        self.assertEqual(self.scheduler.of("b" * 32, "fn"), [])


_checks: tuple[type[WallClock], type[ScheduleStore], type[ScheduledCalls]] = (
    JumpingClock,
    MemoryStore,
    RecordingCalls,
)
