"""Schedules in SQL."""

from collections.abc import Sequence
from datetime import datetime
from sqlite3 import Cursor
from typing import Any, Final

import attrs

from workerd_faas.domain.cron import parse_cron
from workerd_faas.domain.errors import Kind, Problem
from workerd_faas.domain.model import timestamp
from workerd_faas.domain.schedules import Outcome, Run, Schedule
from workerd_faas.usecases.ports import Database
from workerd_faas.usecases.schedules import ports

_LAST: Final = (
    "last_scheduled_at, last_started_at, last_ended_at, last_outcome, last_missed_since,"
    " last_version, last_detail"
)
_COLUMNS: Final = (
    "schedules.function, functions.account_id, cron, schedules.created_at,"
    f" schedules.modified_at, next_at, {_LAST}"
)
_FROM: Final = "FROM schedules JOIN functions ON functions.name = schedules.function"


@attrs.frozen
class SQLSchedules:
    """
    `usecases.schedules.ports.ScheduleStore` on a `Database`.
    """

    _database: Database

    async def all(self) -> Sequence[Schedule]:
        """
        See `ScheduleStore.all`.
        """
        return await self._database.run(_all)

    async def replace(
        self, account_id: str, function: str, schedules: Sequence[Schedule], now: datetime
    ) -> Sequence[Schedule]:
        """
        See `ScheduleStore.replace`.
        """

        def work(cursor: Cursor) -> Sequence[Schedule]:
            cursor.execute(
                "SELECT 1 FROM functions WHERE name = ? AND account_id = ?", (function, account_id)
            )
            if cursor.fetchone() is None:
                raise Problem(
                    kind=Kind.SCRIPT_NOT_FOUND,
                    message="This Worker does not exist on your account.",
                )
            return _replace(cursor, function, schedules, now)

        return await self._database.run(work)

    async def save(self, schedules: Sequence[Schedule]) -> Sequence[Schedule]:
        """
        See `ScheduleStore.save`.
        """

        def work(cursor: Cursor) -> Sequence[Schedule]:
            return [schedule for schedule in schedules if _save(cursor, schedule)]

        return await self._database.run(work)


def _all(cursor: Cursor) -> Sequence[Schedule]:
    cursor.execute(f"SELECT {_COLUMNS} {_FROM}")
    return [_schedule_of(row) for row in cursor]


def _replace(
    cursor: Cursor, function: str, schedules: Sequence[Schedule], now: datetime
) -> Sequence[Schedule]:
    cursor.execute("SELECT cron FROM schedules WHERE function = ?", (function,))
    wanted = {schedule.cron.text for schedule in schedules}
    for (cron,) in cursor.fetchall():
        if cron not in wanted:
            cursor.execute(
                "DELETE FROM schedules WHERE function = ? AND cron = ?", (function, cron)
            )
    for schedule in schedules:
        cursor.execute(
            "INSERT INTO schedules (function, cron, created_at, modified_at, next_at)"
            " VALUES (?1, ?2, ?3, ?3, ?4)"
            " ON CONFLICT (function, cron) DO UPDATE SET modified_at = ?3",
            (function, schedule.cron.text, timestamp(now), timestamp(schedule.next_at)),
        )
    cursor.execute(f"SELECT {_COLUMNS} {_FROM} WHERE schedules.function = ?", (function,))
    stored = {row[2]: _schedule_of(row) for row in cursor}
    return [stored[schedule.cron.text] for schedule in schedules]


def _save(cursor: Cursor, schedule: Schedule) -> bool:
    run = schedule.last
    last = (None,) * 7 if run is None else _run_row(run)
    cursor.execute(
        f"UPDATE schedules SET (next_at, {_LAST}) = (?, ?, ?, ?, ?, ?, ?, ?)"
        " WHERE function = ? AND cron = ?",
        (timestamp(schedule.next_at), *last, *schedule.key),
    )
    return bool(cursor.rowcount)


def _run_row(run: Run) -> tuple[str | None, ...]:
    return (
        timestamp(run.scheduled_at),
        timestamp(run.started_at),
        _text(run.ended_at),
        None if run.outcome is None else run.outcome.value,
        _text(run.missed_since),
        run.version_id,
        run.detail,
    )


def _schedule_of(row: Sequence[Any]) -> Schedule:
    function, account_id, cron, created_at, modified_at, next_at, *last = row
    return Schedule(
        function=function,
        account_id=account_id,
        cron=parse_cron(cron),
        created_at=datetime.fromisoformat(created_at),
        modified_at=datetime.fromisoformat(modified_at),
        next_at=datetime.fromisoformat(next_at),
        last=_run_of(last),
    )


def _run_of(row: Sequence[Any]) -> Run | None:
    scheduled_at, started_at, ended_at, outcome, missed_since, version_id, detail = row
    if scheduled_at is None:
        return None
    return Run(
        scheduled_at=datetime.fromisoformat(scheduled_at),
        started_at=datetime.fromisoformat(started_at),
        ended_at=_moment(ended_at),
        outcome=None if outcome is None else Outcome(outcome),
        missed_since=_moment(missed_since),
        version_id=version_id,
        detail=detail,
    )


def _text(moment: datetime | None) -> str | None:
    return None if moment is None else timestamp(moment)


def _moment(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)


_check: type[ports.ScheduleStore] = SQLSchedules
