"""
Replacing cells on request, so that nobody notices: for a new configuration, a new workerd, an
account or the operator.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

import attrs
from twisted.internet.defer import Deferred, DeferredSemaphore, gatherResults
from twisted.logger import Logger

from workerd_faas.domain.errors import Kind, Problem
from workerd_faas.runtime.cell import Cause
from workerd_faas.runtime.check import CheckCells
from workerd_faas.runtime.fleet import Fleet
from workerd_faas.runtime.options import FleetOptions
from workerd_faas.runtime.slot import Slot
from workerd_faas.runtime.state.fleet import StateFleet
from workerd_faas.usecases.restarts.ports import Restarted

AT_ONCE: Final = 2
"""Cells that are replaced at a time: starting one takes a processor for some tens of milliseconds,
which the functions want too."""

ENDING: Final = 2
"""Cells of one place that may be finishing when another replacement is asked for: each may take
half a minute, and has memory."""


@attrs.frozen(kw_only=True)
class CellRestarts:
    """
    `usecases.restarts.ports.Restarts` for function cells and state cells.
    """

    log = Logger()

    fleet: Fleet
    state: StateFleet
    checks: CheckCells

    async def rebuild(self, binary: Path, options: FleetOptions) -> None:
        """
        Make cells in this way from now on, and replace all that there are.

        Raises:
            Problem: workerd does not start; then nothing has changed.
        """
        await self.checks.use(binary)
        self.checks.options = attrs.evolve(self.checks.options, memory_of_large=options.memory)
        self.fleet.rebuild(binary, options)
        self.state.rebuild(binary, options.max_cells, options.idle)

    def unreachable(self) -> None:
        """
        The sockets of all cells are gone: nobody can ask them anything any more.
        """
        for place in (*self.fleet.places(), *self.state.places()):
            for cell in place.cells:
                cell.kill(Cause.ASKED)
        self.checks.renew()

    async def all(self) -> Restarted:
        """
        Replace all cells.
        """
        return await self._replaced([*self.fleet.places(), *self.state.places()])

    async def of_account(self, account_id: str) -> Restarted:
        """
        See `Restarts.of_account`.
        """
        places = [*self.fleet.places(account_id), *self.state.places(account_id)]
        return await self._replaced(_not_too_many(places))

    async def of_function(self, account_id: str, function: str) -> Restarted:
        """
        See `Restarts.of_function`.
        """
        return await self._replaced(_not_too_many(self.fleet.places(account_id, function)))

    async def _replaced(self, places: Sequence[Slot]) -> Restarted:
        turns = DeferredSemaphore(AT_ONCE)
        tried = await gatherResults([turns.run(self._replace, place) for place in places])
        return Restarted(replaced=tried.count(True), failed=tried.count(False))

    def _replace(self, place: Slot) -> "Deferred[bool]":
        return Deferred.fromCoroutine(self._replaced_one(place))

    async def _replaced_one(self, place: Slot) -> bool:
        try:
            if place.starting is not None:  # That one is as things were before.
                await place.replace()
            await place.replace()
        except Problem as problem:
            self.log.error(
                "the cell of {key} was not replaced: {problem}",
                key=place.key,
                problem=str(problem),
            )
            return False
        return True


def _not_too_many(places: Iterable[Slot]) -> list[Slot]:
    """
    Raises:
        Problem: `TOO_MANY_REQUESTS`.
    """
    found = list(places)
    if any(len(place.retired) >= ENDING for place in found):
        raise Problem(
            kind=Kind.TOO_MANY_REQUESTS,
            message="Processes that were replaced before are still finishing what they have.",
            retry_after=30,
        )
    return found
