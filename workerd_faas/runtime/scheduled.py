"""Calling a function's `scheduled()` in its account's cell."""

import json
import random
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import attrs

from workerd_faas.domain.errors import Problem
from workerd_faas.domain.routing import Route, RoutingTable
from workerd_faas.domain.schedules import Outcome
from workerd_faas.domain.upstream import Upstream
from workerd_faas.runtime.unix_http import NoAnswer, ask
from workerd_faas.runtime.waiting import router_for
from workerd_faas.usecases.ports import Cells, FunctionEvents, WallClock
from workerd_faas.usecases.schedules.ports import Ran, ScheduledCalls
from workerd_faas.wire.headers import ROUTE_AND_CF

RUN_SECONDS: Final = 15 * 60.0
"""How long a run may take; Cloudflare's own bound."""

_GRACE: Final = 30.0
"""Seconds beyond it in which the cell must have ended the run and said so."""

_ATTEMPTS: Final = 4
"""How often a cell is asked for, each time as long as a request would wait for it."""

_LONGEST_DETAIL: Final = 1000


@attrs.frozen(kw_only=True)
class CellCalls:
    """
    `usecases.schedules.ports.ScheduledCalls` on the function cells.

    Attributes:
        reactor: Provides IReactorUNIX and IReactorTime.
        position: Where in [0, 100) a run falls among a deployment's shares.
        seconds: How long a run may take.
    """

    reactor: Any
    cells: Cells
    routes: RoutingTable
    events: FunctionEvents
    clock: WallClock
    seconds: float = RUN_SECONDS
    position: Callable[[], float] = lambda: random.random() * 100  # noqa: S311

    async def call(self, function: str, cron: str, scheduled_at: datetime) -> Ran:
        """
        See `ScheduledCalls.call`.
        """
        try:
            route = self.routes.resolve(function, None, self.position())
        except Problem as problem:
            return Ran(outcome=Outcome.NOT_STARTED, detail=problem.message)
        result = await self._run(route, cron, scheduled_at)
        if result.outcome in {Outcome.NOT_STARTED, Outcome.INTERRUPTED}:
            # The cell itself reports runs that came to an end.
            ended = round(self.clock.now().timestamp() * 1000)
            self.events.invocation(route, _trace(cron, scheduled_at, result), ended)
        return result

    async def _run(self, route: Route, cron: str, scheduled_at: datetime) -> Ran:
        question = {
            "scheduled": {
                "version": route.version_id,
                "cron": cron,
                "time": round(scheduled_at.timestamp() * 1000),
                "milliseconds": round(self.seconds * 1000),
            }
        }
        try:
            upstream = await self._upstream(route)
        except Problem as problem:
            return Ran(
                outcome=Outcome.NOT_STARTED, version_id=route.version_id, detail=problem.message
            )
        upstream.begin(route.function)
        run = object()
        upstream.witnesses[run] = lambda _: (route.function,)
        try:
            answer = await ask(
                self.reactor,
                Path(upstream.address),
                {ROUTE_AND_CF: json.dumps(question)},
                None,
                self.seconds + _GRACE,
            )
        except NoAnswer:
            return Ran(
                outcome=Outcome.INTERRUPTED,
                version_id=route.version_id,
                detail="The process of this function ended before the run did.",
            )
        finally:
            del upstream.witnesses[run]
            upstream.end()
        return ran(answer.body, route.version_id)

    async def _upstream(self, route: Route) -> Upstream:
        for _ in range(_ATTEMPTS - 1):
            try:
                return await router_for(self.cells, route)
            except Problem:
                continue
        return await router_for(self.cells, route)


def _trace(cron: str, scheduled_at: datetime, result: Ran) -> dict[str, Any]:
    """
    What the function's log has of a run that left no trace of its own.
    """
    milliseconds = round(scheduled_at.timestamp() * 1000)
    said = {"name": "Error", "message": result.detail, "timestamp": milliseconds}
    return {
        "outcome": "exception" if result.outcome is Outcome.NOT_STARTED else "canceled",
        "eventTimestamp": milliseconds,
        "event": {"cron": cron, "scheduledTime": milliseconds},
        "logs": [],
        "exceptions": [said],
    }


def ran(body: bytes, version_id: str) -> Ran:
    """
    The outcome that a router's answer tells. The function may have had a say in it: unknown words
    are an exception.
    """
    try:
        document = json.loads(body)
        outcome, detail = document["outcome"], document.get("detail")
    except (ValueError, TypeError, KeyError, AttributeError):
        outcome, detail = None, "The process gave no answer that can be understood."
    known = {each.value: each for each in Outcome}
    return Ran(
        outcome=known.get(outcome, Outcome.EXCEPTION)
        if isinstance(outcome, str)
        else Outcome.EXCEPTION,
        version_id=version_id,
        detail=detail[:_LONGEST_DETAIL] if isinstance(detail, str) else None,
    )


_check: type[ScheduledCalls] = CellCalls
