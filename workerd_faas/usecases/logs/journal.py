"""Where what functions say comes in, and where it goes: to those who watch, and to what is kept."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

import attrs
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger

from workerd_faas.domain.errors import Problem
from workerd_faas.domain.invocation import Invocation, lines, loss, one_line, read_invocation
from workerd_faas.domain.routing import Route
from workerd_faas.usecases.logs.tails import Tails
from workerd_faas.usecases.ports import FunctionEvents, LogStore, WallClock

GATHER_SECONDS: Final = 1.0
"""For how long losses are added up before they are said."""

ECHOED_LINES: Final = 20
ECHOED_CHARACTERS: Final = 2000


@attrs.define(eq=False, kw_only=True)
class FunctionLog:
    """
    `usecases.ports.FunctionEvents`.

    Attributes:
        reactor: Provides IReactorTime.
        echo: Whether the daemon's own log tells the beginning of it too. Functions may print
            secrets, so this is for a developer's own machine.
    """

    reactor: Any
    clock: WallClock
    tails: Tails
    store: LogStore
    echo: bool = False
    _losses: dict[Route, tuple[int, int]] = attrs.Factory(dict)
    _timer: IDelayedCall | None = None

    log = Logger(namespace="workerd_faas.function")

    def invocation(self, route: Route, trace: Mapping[str, Any], ended: Any) -> None:
        """
        See `usecases.ports.FunctionEvents.invocation`.
        """
        try:
            invocation = read_invocation(route, trace, ended=ended, now=self._now())
        except ValueError:
            self.lost(route, 1, 0)
            return
        self.tails.publish(invocation)
        if invocation.levels or invocation.outcome != "ok":
            self.store.keep(invocation)
            if self.echo:
                self._echo(invocation)

    def lost(self, route: Route, invocations: int, dropped_lines: int) -> None:
        """
        See `usecases.ports.FunctionEvents.lost`.
        """
        before = self._losses.get(route, (0, 0))
        self._losses[route] = (before[0] + invocations, before[1] + dropped_lines)
        if self._timer is None:
            self._timer = self.reactor.callLater(GATHER_SECONDS, self._tell_losses)

    def tailed(self, account_id: str | None) -> Sequence[str]:
        """
        See `usecases.ports.FunctionEvents.tailed`.
        """
        return self.tails.tailed(account_id)

    async def forget(self, account_id: str, function: str) -> None:
        """
        The function is gone: so is what it said, and who watches it is told. Never fails.
        """
        self.tails.function_removed(account_id, function)
        try:
            await self.store.forget(account_id, function)
        except Problem as problem:
            self.log.error(
                "the log of {function} of {account}, which was deleted, is still there: {problem}",
                function=function,
                account=account_id,
                problem=str(problem),
            )

    async def start(self) -> None:
        """
        See `lifecycle.Stage.start`.
        """

    async def stop(self) -> None:
        """
        Say what was lost last.
        """
        if self._timer is not None:
            self._timer.cancel()
            self._tell_losses()

    def _tell_losses(self) -> None:
        self._timer = None
        losses, self._losses = self._losses, {}
        for route, (invocations, dropped_lines) in losses.items():
            event = loss(
                route, invocations=invocations, dropped_lines=dropped_lines, now=self._now()
            )
            self.tails.publish(event, always=True)
            self.store.keep(event)
            self.log.warn(
                "{function} of {account} writes too much: {invocations} invocations and {lines} "
                "lines of its log were dropped",
                function=route.function,
                account=route.account_id,
                version=route.version_id,
                invocations=invocations,
                lines=dropped_lines,
            )

    def _echo(self, invocation: Invocation) -> None:
        said = [one_line(each) for each in list(lines(invocation.event))[:ECHOED_LINES]]
        self.log.info(
            "{request_id} {function}: {outcome}: {said}",
            request_id=invocation.request_id,
            function=invocation.route.function,
            version=invocation.route.version_id,
            outcome=invocation.outcome,
            said=" | ".join(said)[:ECHOED_CHARACTERS],
        )

    def _now(self) -> int:
        return math.floor(self.clock.now().timestamp() * 1000)


_check: type[FunctionEvents] = FunctionLog
