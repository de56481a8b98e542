"""The process whose router runs something, waited for if need be."""

from collections.abc import Callable

from twisted.internet.defer import Deferred

from workerd_faas.domain.errors import Problem
from workerd_faas.domain.routing import Route
from workerd_faas.domain.upstream import Upstream
from workerd_faas.usecases.ports import Cells


async def router_for(cells: Cells, route: Route) -> Upstream:
    """
    Not `Cells.upstream`: behind that there may be nothing but the function.

    Raises:
        Problem: `UNAVAILABLE`, or the function is quarantined.
    """
    take_back: list[Callable[[], None]] = []
    told: Deferred[Upstream | Problem] = Deferred(lambda _: take_back[0]())
    take_back.append(cells.when_ready(route, told.callback))
    outcome = await told
    if isinstance(outcome, Problem):
        raise outcome
    return outcome
