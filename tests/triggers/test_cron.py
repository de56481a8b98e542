"""Cron expressions as Cloudflare reads them."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from workerd_faas.domain.cron import parse_cron
from workerd_faas.domain.errors import Kind, Problem

START = datetime(2026, 11, 23, 12, 0, 30, tzinfo=UTC)
"""A Monday."""


def times(expression: str, count: int, start: datetime = START) -> list[str]:
    """
    The next times of an expression.
    """
    cron, found = parse_cron(expression), []
    for _ in range(count):
        start = cron.after(start)
        found.append(start.strftime("%a %Y-%m-%d %H:%M"))
    return found


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("* * * * *", ["Mon 2026-11-23 12:01", "Mon 2026-11-23 12:02"]),
        ("*/30 * * * *", ["Mon 2026-11-23 12:30", "Mon 2026-11-23 13:00"]),
        ("45 * * * *", ["Mon 2026-11-23 12:45", "Mon 2026-11-23 13:45"]),
        ("0 17 * * SUN", ["Sun 2026-11-29 17:00", "Sun 2026-12-06 17:00"]),
        ("0 17 * * 1", ["Sun 2026-11-29 17:00", "Sun 2026-12-06 17:00"]),
        ("10 7 * * mon-fri", ["Tue 2026-11-24 07:10", "Wed 2026-11-25 07:10"]),
        ("10 7 * * 2-6", ["Tue 2026-11-24 07:10", "Wed 2026-11-25 07:10"]),
        ("0 15 1 * *", ["Tue 2026-12-01 15:00", "Fri 2027-01-01 15:00"]),
        ("0 18 * * 6L", ["Fri 2026-11-27 18:00", "Fri 2026-12-25 18:00"]),
        ("59 23 LW * *", ["Mon 2026-11-30 23:59", "Thu 2026-12-31 23:59"]),
        ("0 0 L * *", ["Mon 2026-11-30 00:00", "Thu 2026-12-31 00:00"]),
        ("0 0 L-3 * *", ["Fri 2026-11-27 00:00", "Mon 2026-12-28 00:00"]),
        ("0 0 L-1W FEB *", ["Fri 2027-02-26 00:00", "Mon 2028-02-28 00:00"]),
        ("0 0 15W * *", ["Tue 2026-12-15 00:00", "Fri 2027-01-15 00:00"]),
        ("0 0 1W MAY *", ["Mon 2027-05-03 00:00", "Mon 2028-05-01 00:00"]),
        ("0 0 31W JAN *", ["Fri 2027-01-29 00:00", "Mon 2028-01-31 00:00"]),
        ("0 0 * * L", ["Sat 2026-11-28 00:00", "Sat 2026-12-05 00:00"]),
        ("0 0 * * MON#1", ["Mon 2026-12-07 00:00", "Mon 2027-01-04 00:00"]),
        ("0 0 * * 2#5", ["Mon 2026-11-30 00:00", "Mon 2027-03-29 00:00"]),
        ("0 0 29 2 *", ["Tue 2028-02-29 00:00", "Sun 2032-02-29 00:00"]),
        ("0 0 1 JAN,jul *", ["Fri 2027-01-01 00:00", "Thu 2027-07-01 00:00"]),
        ("5-7,50/5 3 * * *", ["Tue 2026-11-24 03:05", "Tue 2026-11-24 03:06"]),
        ("  0   0\t1  1 * ", ["Fri 2027-01-01 00:00", "Sat 2028-01-01 00:00"]),
    ],
)
def test_next_times(expression: str, expected: list[str]) -> None:
    """
    Each form gives the times that Cloudflare documents for it.
    """
    assert times(expression, len(expected)) == expected


def test_a_day_matches_when_either_day_field_does() -> None:
    """
    The 1st and every Friday: two restricted day fields are alternatives.
    """
    assert times("0 0 1 * FRI", 3) == [
        "Fri 2026-11-27 00:00",
        "Tue 2026-12-01 00:00",
        "Fri 2026-12-04 00:00",
    ]


@pytest.mark.parametrize(
    ("expression", "said"),
    [
        ("", "0 fields"),
        ("* * * *", "4 fields"),
        ("* * * * * *", "6 fields"),
        ("@daily", "1 fields"),
        ("60 * * * *", "minute field takes 0 to 59, not 60"),
        ("* 24 * * *", "hour field takes 0 to 23"),
        ("* * 0 * *", "day of month field takes 1 to 31"),
        ("* * * 13 *", "month field takes 1 to 12"),
        ("* * * * 0", "day of week field takes 1 to 7, not 0"),
        ("* * * * 8", "day of week field takes 1 to 7"),
        ("* * * FOO *", "month field has 'FOO'"),
        ("*/0 * * * *", "step"),
        ("*/60 * * * *", "step"),
        ("*/ * * * *", "step"),
        ("1/2/3 * * * *", "step"),
        ("5-1 * * * *", "runs backwards"),
        ("* * * * SAT-SUN", "runs backwards"),
        ("*,5 * * * *", "'*' among others"),
        ("1,,2 * * * *", "minute field has ''"),
        ("-1 * * * *", "minute field has ''"),
        ("1- * * * *", "minute field has ''"),
        ("1-2-3 * * * *", "minute field has '2-3'"),
        ("* * L-31 * *", "L-1 to L-30"),
        ("* * L-0 * *", "L-1 to L-30"),
        ("* * l * *", "day of month field has 'l'"),
        ("* * W * *", "day of month field has ''"),
        ("* * 15W,20 * *", "day of month field has '15W'"),
        ("* * ? * *", "day of month field has '?'"),
        ("* * * * MON#6", "#1 to #5"),
        ("* * * * MON#", "#1 to #5"),
        ("* * * * #2", "day of week field has ''"),
        ("0 0 31 2,4 *", "no date ever matches"),
        ("0 0 30W FEB *", "no date ever matches"),
        ("²  * * * *", "printable ASCII"),
        ("0\x00 * * * *", "printable ASCII"),
        ("0," * 200 + "0 * * * *", "at most 256"),
    ],
)
def test_what_is_wrong_is_said(expression: str, said: str) -> None:
    """
    An expression that cannot be is refused with the field and the reason.
    """
    with pytest.raises(Problem) as caught:
        parse_cron(expression)
    assert caught.value.kind is Kind.INVALID_SCHEDULE
    assert said in caught.value.message


def _field(least: int, most: int) -> st.SearchStrategy[str]:
    number = st.integers(least, most)
    spans = st.tuples(number, number).map(sorted).map(lambda ends: f"{ends[0]}-{ends[1]}")
    step = st.integers(1, most - least).map(str)
    item = st.one_of(
        number.map(str),
        spans,
        st.tuples(st.one_of(number.map(str), spans, st.just("*")), step).map("/".join),
    )
    return st.one_of(st.just("*"), st.lists(item, min_size=1, max_size=4).map(",".join))


_EXPRESSIONS = st.tuples(
    _field(0, 59),
    _field(0, 23),
    st.one_of(_field(1, 31), st.sampled_from(["L", "LW", "L-3", "L-30W", "1W", "15W", "31W"])),
    _field(1, 12),
    st.one_of(_field(1, 7), st.sampled_from(["L", "1L", "FRIL", "MON#1", "7#5"])),
).map(" ".join)
_MOMENTS = st.datetimes(datetime(1999, 1, 1), datetime(2120, 1, 1), timezones=st.just(UTC))


@given(_EXPRESSIONS, _MOMENTS)
def test_the_next_time_matches_and_none_between_does(expression: str, moment: datetime) -> None:
    """
    `after` gives the first matching minute: it matches, and what `latest` finds before it is older
    than the moment it was asked for.
    """
    try:
        cron = parse_cron(expression)
    except Problem as problem:
        assume("no date ever" not in problem.message)
        raise
    found = cron.after(moment)
    assert found > moment
    assert cron.matches(found)
    assert (found.second, found.microsecond) == (0, 0)
    assert cron.latest(moment + timedelta(microseconds=1), found - timedelta(minutes=1)) is None
    assert cron.latest(moment, found + timedelta(seconds=59)) == found


@given(_EXPRESSIONS, _MOMENTS, st.integers(0, 60 * 24 * 3))
def test_latest_is_what_walking_minute_by_minute_finds(
    expression: str, begin: datetime, minutes: int
) -> None:
    """
    `latest` agrees with looking at every minute of the span.
    """
    try:
        cron = parse_cron(expression)
    except Problem:
        assume(False)
    end = begin + timedelta(minutes=minutes)
    minute = end.replace(second=0, microsecond=0)
    while minute >= begin and not cron.matches(minute):
        minute -= timedelta(minutes=1)
    assert cron.latest(begin, end) == (minute if minute >= begin else None)


@given(st.text(max_size=60))
def test_any_text_is_read_or_refused(text: str) -> None:
    """
    No text raises anything but a problem of its own.
    """
    try:
        parse_cron(text)
    except Problem as problem:
        assert problem.kind is Kind.INVALID_SCHEDULE
