"""What is due, and what a clock that jumps does to it."""

from datetime import UTC, datetime, timedelta

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workerd_faas.domain.cron import parse_cron
from workerd_faas.domain.errors import Kind, Problem
from workerd_faas.domain.schedules import (
    Outcome,
    Schedule,
    claim,
    ended,
    interrupted,
    is_due,
    read_crons,
    settled,
)

NOON = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)


def schedule(cron: str = "* * * * *", *, made: datetime = NOON) -> Schedule:
    """
    One that was made at `made`.
    """
    parsed = parse_cron(cron)
    return Schedule(
        function="fn",
        account_id="a" * 32,
        cron=parsed,
        created_at=made,
        modified_at=made,
        next_at=parsed.after(made),
    )


def run(value: Schedule, now: datetime) -> Schedule:
    """
    Claimed and ended well, at once.
    """
    claimed = claim(value, now)
    assert claimed.last is not None
    return ended(claimed, claimed.last, Outcome.OK, now, version_id="v", detail=None)


def test_a_new_schedule_waits_for_its_next_time() -> None:
    """
    The minute in which a schedule is made is not run.
    """
    made = schedule()
    assert not is_due(made, NOON + timedelta(seconds=59))
    assert is_due(made, NOON + timedelta(seconds=60))


def test_a_claimed_time_is_not_due_again() -> None:
    """
    A run that is claimed moves the next time on, however often one looks.
    """
    now = NOON + timedelta(seconds=61)
    claimed = claim(schedule(), now)
    assert not is_due(claimed, now)
    assert claimed.next_at == NOON + timedelta(minutes=2)
    assert claimed.last is not None
    assert claimed.last.scheduled_at == NOON + timedelta(minutes=1)
    assert claimed.last.missed_since is None


def test_times_that_passed_are_made_up_by_one_run() -> None:
    """
    After three hours away an hourly schedule runs once, for the latest time, and says since when.
    """
    now = NOON + timedelta(hours=3, minutes=20)
    claimed = claim(schedule("0 * * * *"), now)
    assert claimed.last is not None
    assert claimed.last.scheduled_at == NOON + timedelta(hours=3)
    assert claimed.last.missed_since == NOON + timedelta(hours=1)
    assert claimed.next_at == NOON + timedelta(hours=4)


def test_a_run_that_a_dead_daemon_left_was_interrupted() -> None:
    """
    A run without an end is reported as interrupted by the next daemon, and is not repeated.
    """
    left = claim(schedule(), NOON + timedelta(minutes=1))
    found = interrupted(left, NOON + timedelta(minutes=1, seconds=30))
    assert found.last is not None
    assert found.last.outcome is Outcome.INTERRUPTED
    assert not is_due(found, NOON + timedelta(minutes=1, seconds=30))
    done = run(schedule(), NOON + timedelta(minutes=1))
    assert interrupted(done, NOON + timedelta(minutes=2)) == done


def test_a_clock_that_is_set_back_a_little_runs_nothing_twice() -> None:
    """
    A correction by two seconds across a minute does not repeat that minute.
    """
    done = run(schedule(), NOON + timedelta(minutes=1))
    assert settled(done, NOON + timedelta(seconds=58)).next_at == NOON + timedelta(minutes=2)


def test_a_clock_that_is_set_back_far_is_followed() -> None:
    """
    After the clock went back by an hour the next minute runs, not the one an hour later.
    """
    done = run(schedule(), NOON + timedelta(minutes=1))
    back = NOON - timedelta(hours=1)
    assert settled(done, back).next_at == back + timedelta(minutes=1)


def test_an_end_is_for_the_run_it_belongs_to() -> None:
    """
    The outcome of a run does not end a later one.
    """
    first = claim(schedule(), NOON + timedelta(minutes=1))
    second = claim(first, NOON + timedelta(minutes=2))
    assert first.last is not None
    late = ended(
        second, first.last, Outcome.OK, NOON + timedelta(minutes=3), version_id="v", detail=None
    )
    assert late == second


@given(
    st.sampled_from(["* * * * *", "*/7 * * * *", "0 3 * * *", "30 12 1 * *"]),
    st.lists(st.integers(1, 100_000), max_size=30),
)
def test_every_time_is_run_at_most_once_in_order(cron: str, steps: list[int]) -> None:
    """
    However long the pauses between two looks are, scheduled times only grow, and each time that
    passed is run, or counted as missed by the run after it.
    """
    value, now, seen = schedule(cron), NOON, NOON
    for step in steps:
        now += timedelta(seconds=step)
        value = settled(value, now)
        if not is_due(value, now):
            assert value.cron.latest(seen + timedelta(minutes=1), now) is None
            continue
        value = run(value, now)
        assert value.last is not None
        assert seen < value.last.scheduled_at <= now
        first = value.cron.after(seen)
        expected = None if first == value.last.scheduled_at else first
        assert value.last.missed_since == expected
        seen = value.last.scheduled_at


def test_repeated_expressions_are_one_schedule() -> None:
    """
    The same expression with other spaces counts once.
    """
    assert [cron.text for cron in read_crons(["0 0 * * *", "0  0 * * *"])] == ["0 0 * * *"]


def test_there_is_a_bound_to_schedules() -> None:
    """
    A function with more than fifty schedules is refused.
    """
    with pytest.raises(Problem) as caught:
        read_crons(f"{n} * * * *" for n in range(51))
    assert caught.value.kind is Kind.INVALID_SCHEDULE


def test_schedules_are_told_apart_by_function_and_expression() -> None:
    """
    Two functions may have the same expression.
    """
    one = schedule()
    assert one.key != attrs.evolve(one, function="other").key
