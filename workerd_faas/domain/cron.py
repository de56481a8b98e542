"""
Cron expressions in Cloudflare's dialect, in UTC. Pure.

Five fields: minute, hour, day of month, month, day of week. Lists, ranges and steps in all of
them; names of months and weekdays in any case. Weekdays count from 1, which is Sunday, to 7. In
the day of month `L` is the last day, `L-3` the third before it, `15W` the weekday (Monday to
Friday) nearest to the 15th within the month, `LW` and `L-3W` likewise; in the day of week `L` is
Saturday, `6L` the last Friday of the month, `2#1` its first Monday. When both day fields are
restricted, a day matches when either of them does.

A range that runs backwards, `*` as one of several, and an expression that never matches are
refused, as the schedules of workerd itself do.
"""

import bisect
import re
from calendar import monthrange
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, time, timedelta
from typing import Final

import attrs

from workerd_faas.domain.errors import Kind, Problem

LONGEST: Final = 256
"""Characters of an expression."""

_YEARS: Final = 41
"""Within so many years a calendar shows every date that it can (28, and 12 at a century's turn)."""

_DAY: Final = timedelta(days=1)
_MINUTE: Final = timedelta(minutes=1)
_OFFSET: Final = re.compile(r"L-(\d{1,2})(W?)")
_SATURDAY: Final = 7


@attrs.frozen
class _Field:
    name: str
    least: int
    most: int
    names: tuple[str, ...] = ()


_MINUTES: Final = _Field("minute", 0, 59)
_HOURS: Final = _Field("hour", 0, 23)
_DAYS: Final = _Field("day of month", 1, 31)
_MONTHS: Final = _Field(
    "month",
    1,
    12,
    ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"),
)
_WEEKDAYS: Final = _Field("day of week", 1, 7, ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"))


@attrs.frozen
class _Day:
    """
    A day as the day fields see it.

    Attributes:
        weekday: 1 is Sunday.
        last: The last day of its month.
    """

    day: int
    weekday: int
    last: int


_Matches = Callable[[_Day], bool]


@attrs.frozen(kw_only=True)
class Cron:
    """
    A parsed expression.

    Attributes:
        text: As it was given, with single spaces.
    """

    text: str
    _minutes: tuple[int, ...] = attrs.field(repr=False)
    _hours: tuple[int, ...] = attrs.field(repr=False)
    _months: frozenset[int] = attrs.field(repr=False)
    _day: _Matches = attrs.field(repr=False, eq=False)

    def after(self, moment: datetime) -> datetime:
        """
        The first time that matches and is later than `moment`.
        """
        found = self._after(moment)
        assert found is not None, "parse_cron lets no other expression pass"
        return found

    def latest(self, begin: datetime, end: datetime) -> datetime | None:
        """
        The last time that matches, not before `begin` and not after `end`.
        """
        bound = end.astimezone(UTC)
        day = bound.date()
        until = (bound.hour, bound.minute)
        while day >= begin.astimezone(UTC).date():
            if self._matches(day):
                found = self._last_time(until)
                if found is not None:
                    moment = datetime.combine(day, found, UTC)
                    return moment if moment >= begin else None
            day, until = day - _DAY, (23, 59)
        return None

    def matches(self, moment: datetime) -> bool:
        """
        Whether the minute of `moment` matches.
        """
        moment = moment.astimezone(UTC)
        return (
            self._matches(moment.date())
            and moment.hour in self._hours
            and moment.minute in self._minutes
        )

    def _after(self, moment: datetime) -> datetime | None:
        start = moment.astimezone(UTC).replace(second=0, microsecond=0) + _MINUTE
        day, least = start.date(), (start.hour, start.minute)
        end = day.year + _YEARS
        while day.year < end:
            if day.month not in self._months:
                day, least = _next_month(day), (0, 0)
                continue
            if self._matches(day):
                found = self._first_time(least)
                if found is not None:
                    return datetime.combine(day, found, UTC)
            day, least = day + _DAY, (0, 0)
        return None

    def _matches(self, day: date) -> bool:
        if day.month not in self._months:
            return False
        last = monthrange(day.year, day.month)[1]
        return self._day(_Day(day.day, day.isoweekday() % 7 + 1, last))

    def _first_time(self, least: tuple[int, int]) -> time | None:
        hour, minute = least
        if hour in self._hours and minute <= self._minutes[-1]:
            return time(hour, self._minutes[bisect.bisect_left(self._minutes, minute)])
        later = bisect.bisect_right(self._hours, hour)
        return None if later == len(self._hours) else time(self._hours[later], self._minutes[0])

    def _last_time(self, most: tuple[int, int]) -> time | None:
        hour, minute = most
        if hour in self._hours and minute >= self._minutes[0]:
            return time(hour, self._minutes[bisect.bisect_right(self._minutes, minute) - 1])
        earlier = bisect.bisect_left(self._hours, hour)
        return None if earlier == 0 else time(self._hours[earlier - 1], self._minutes[-1])


def parse_cron(text: str) -> Cron:
    """
    Raises:
        Problem: `INVALID_SCHEDULE`, naming the field and what is wrong with it.
    """
    if len(text) > LONGEST or not text.isascii() or not text.replace("\t", " ").isprintable():
        raise _wrong(text, f"use at most {LONGEST} printable ASCII characters")
    fields = text.split()
    if len(fields) != 5:
        raise _wrong(
            text,
            f"it has {len(fields)} fields; there must be 5: "
            "minute, hour, day of month, month, day of week",
        )
    try:
        cron = Cron(
            text=" ".join(fields),
            minutes=tuple(sorted(_values(fields[0], _MINUTES))),
            hours=tuple(sorted(_values(fields[1], _HOURS))),
            months=_values(fields[3], _MONTHS),
            day=_either(_day_of_month(fields[2]), _day_of_week(fields[4])),
        )
    except ValueError as error:
        raise _wrong(text, str(error)) from None
    if cron._after(datetime(2000, 1, 1, tzinfo=UTC)) is None:
        raise _wrong(text, "no date ever matches it")
    return cron


def _wrong(text: str, what: str) -> Problem:
    shown = text if len(text) <= LONGEST else text[:80] + "…"
    return Problem(
        kind=Kind.INVALID_SCHEDULE, message=f"The cron expression {shown!r} is not valid: {what}."
    )


def _next_month(day: date) -> date:
    return (day.replace(day=28) + timedelta(days=4)).replace(day=1)


def _value(text: str, field: _Field) -> int:
    if text.upper() in field.names:
        return field.least + field.names.index(text.upper())
    value = _number(text)
    if value is None:
        raise ValueError(f"the {field.name} field has {text!r}")
    if not field.least <= value <= field.most:
        raise ValueError(f"the {field.name} field takes {field.least} to {field.most}, not {value}")
    return value


def _number(text: str) -> int | None:
    return int(text) if text.isdigit() and len(text) <= 3 else None


def _values(text: str, field: _Field) -> frozenset[int]:
    """
    A list of values, ranges and steps.
    """
    items = text.split(",")
    if "*" in items and len(items) > 1:
        raise ValueError(f"the {field.name} field has '*' among others")
    found: set[int] = set()
    for item in items:
        found.update(_item(item, field))
    return frozenset(found)


def _item(item: str, field: _Field) -> Sequence[int]:
    span, slash, step_text = item.partition("/")
    step = _number(step_text) if slash else 1
    if step is None or not 1 <= step <= field.most - field.least:
        raise ValueError(f"the {field.name} field has the step {step_text!r}")
    if span == "*":
        return range(field.least, field.most + 1, step)
    first_text, dash, last_text = span.partition("-")
    first = _value(first_text, field)
    open_end = field.most if slash else first
    last = _value(last_text, field) if dash else open_end
    if first > last:
        raise ValueError(f"the {field.name} field has {item!r}, a range that runs backwards")
    return range(first, last + 1, step)


def _either(of_month: _Matches | None, of_week: _Matches | None) -> _Matches:
    if of_month is None:
        return of_week or (lambda _: True)
    if of_week is None:
        return of_month
    return lambda day: of_month(day) or of_week(day)


def _day_of_month(text: str) -> _Matches | None:
    """
    None for `*`.
    """
    if text == "*":
        return None
    if text == "L":
        return lambda day: day.day == day.last
    if text == "LW":
        return lambda day: day.day == _nearest_weekday(day, day.last)
    offset = _OFFSET.fullmatch(text)
    if offset is not None:
        before = int(offset[1])
        if not 1 <= before <= 30:
            raise ValueError(f"the day of month field takes L-1 to L-30, not {text!r}")
        if not offset[2]:
            return lambda day: day.day == day.last - before
        return lambda day: day.day == _nearest_weekday(day, day.last - before)
    if text.endswith("W"):
        wanted = _value(text[:-1], _DAYS)
        return lambda day: day.day == _nearest_weekday(day, wanted)
    days = _values(text, _DAYS)
    return lambda day: day.day in days


def _nearest_weekday(day: _Day, wanted: int) -> int | None:
    """
    The day from Monday to Friday that is nearest to the wanted day and in the same month; None if
    the month has no such day.
    """
    if not 1 <= wanted <= day.last:
        return None
    weekday = (day.weekday - 1 + wanted - day.day) % 7 + 1
    if weekday == _SATURDAY:
        return wanted - 1 if wanted > 1 else wanted + 2
    if weekday == 1:
        return wanted + 1 if wanted < day.last else wanted - 2
    return wanted


def _day_of_week(text: str) -> _Matches | None:
    """
    None for `*`.
    """
    if text == "*":
        return None
    if text == "L":
        return lambda day: day.weekday == _SATURDAY
    if text.endswith("L"):
        last = _value(text[:-1], _WEEKDAYS)
        return lambda day: day.weekday == last and day.day + 7 > day.last
    name, sharp, nth_text = text.partition("#")
    if sharp:
        wanted, nth = _value(name, _WEEKDAYS), _number(nth_text)
        if nth is None or not 1 <= nth <= 5:
            raise ValueError(f"the day of week field takes #1 to #5, not {text!r}")
        return lambda day: day.weekday == wanted and (day.day - 1) // 7 + 1 == nth
    days = _values(text, _WEEKDAYS)
    return lambda day: day.weekday in days
