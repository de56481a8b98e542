"""Schedules of functions over HTTP: `/accounts/:account/workers/scripts/:name/schedules`."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

import attrs
from klein import Klein
from twisted.web.iweb import IRequest

from workerd_faas.api.envelope import answer, read_any_json
from workerd_faas.api.scripts import SCRIPT, target_of
from workerd_faas.domain.errors import Kind, Problem
from workerd_faas.domain.model import timestamp
from workerd_faas.domain.schedules import Run, Schedule
from workerd_faas.usecases.ports import Authenticator
from workerd_faas.usecases.schedules.verbs import Schedules


@attrs.frozen(kw_only=True)
class TriggerRoutes:
    """
    Reading and replacing the schedules of a function.
    """

    auth: Authenticator
    schedules: Schedules

    def register(self, app: Klein) -> None:
        """
        See `api.app.Routes.register`.
        """

        @app.route(SCRIPT + "/schedules", methods=["GET"])
        async def schedules(request: IRequest, account: str, name: str) -> bytes:
            target = await target_of(self.auth, request, account, name)
            return answer(request, _shape(await self.schedules.of(target)))

        @app.route(SCRIPT + "/schedules", methods=["PUT"])
        async def put_schedules(request: IRequest, account: str, name: str) -> bytes:
            target = await target_of(self.auth, request, account, name)
            crons = _crons(read_any_json(request))
            return answer(request, _shape(await self.schedules.replace(target, crons)))


def _crons(document: Any) -> Sequence[str]:
    entries = document if isinstance(document, list) else [None]
    crons = []
    for entry in entries:
        cron = entry.get("cron") if isinstance(entry, dict) else None
        if not isinstance(cron, str):
            raise Problem(
                kind=Kind.INVALID_SCHEDULE,
                message='The body must be an array of {"cron": "<expression>"}.',
            )
        crons.append(cron)
    return crons


def _shape(schedules: Iterable[Schedule]) -> dict[str, Any]:
    return {"schedules": [_schedule(each) for each in schedules]}


def _schedule(value: Schedule) -> dict[str, Any]:
    return {
        "cron": value.cron.text,
        "created_on": timestamp(value.created_at),
        "modified_on": timestamp(value.modified_at),
        "next_run_on": timestamp(value.next_at),
        "last_run": None if value.last is None else _run(value.last),
    }


def _run(value: Run) -> dict[str, Any]:
    return {
        "scheduled_on": timestamp(value.scheduled_at),
        "started_on": timestamp(value.started_at),
        "ended_on": _moment(value.ended_at),
        "outcome": "running" if value.outcome is None else value.outcome.value,
        "missed_since": _moment(value.missed_since),
        "version_id": value.version_id,
        "detail": value.detail,
    }


def _moment(value: datetime | None) -> str | None:
    return None if value is None else timestamp(value)
