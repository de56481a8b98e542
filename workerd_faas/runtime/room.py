"""How many cells there may be, who waits for one, and who makes room."""

from collections import Counter
from collections.abc import Callable, Collection
from typing import Final

import attrs
from twisted.logger import Logger

from workerd_faas.runtime import memory
from workerd_faas.runtime.cell import Cell
from workerd_faas.runtime.options import FleetOptions
from workerd_faas.runtime.process import MIB
from workerd_faas.runtime.slot import Slot

_NEW_CELL: Final = 16 * MIB
"""What a cell has to itself once a function answers."""


@attrs.define(eq=False, kw_only=True)
class Room:
    """
    Attributes:
        options: Its bounds.
        cells: All processes that there are.
        slots: All places of cells.
        seconds: A clock that does not go back.
        give_up: Does without a process that is not needed; whether there was one.
    """

    options: FleetOptions
    cells: Callable[[], Collection[Cell]]
    slots: Callable[[], Collection[Slot]]
    seconds: Callable[[], float]
    give_up: Callable[[], bool]
    _queued: dict[Slot, None] = attrs.Factory(dict)

    _log = Logger()

    @property
    def waiting(self) -> int:
        """
        How many slots wait.
        """
        return len(self._queued)

    def admit(self, slot: Slot) -> bool:
        """
        See `SlotOwner`.
        """
        if self.has_some():
            self._queued.pop(slot, None)
            return True
        self._queued[slot] = None
        self._make_some()
        return False

    def has_some(self) -> bool:
        """
        Whether one more cell may be started.
        """
        cells = self.cells()
        return len(cells) < self.options.max_cells and (not cells or self._fits(_NEW_CELL))

    def freed(self) -> None:
        """
        A process has ended.
        """
        while self._queued and self.has_some():
            queued = self._neediest()
            del self._queued[queued]
            queued.admitted()

    def _neediest(self) -> Slot:
        """
        Who waits and whose account has the fewest cells; of these who has waited for longest.
        """
        held = self._held()
        return min(self._queued, key=lambda slot: held[slot.account_id])

    def _held(self) -> Counter[str | None]:
        """
        How many cells each account has that take requests or will.
        """
        return Counter(
            slot.account_id
            for slot in self.slots()
            for cell in (slot.current, slot.starting)
            if cell is not None
        )

    def tick(self) -> None:
        """
        To be called every second: what has become free may be memory, of which nobody is told.
        """
        self._queued = {slot: None for slot in self._queued if slot.wanted}
        self.freed()
        if self._queued or not self._fits(0):
            self._make_some()

    def _fits(self, more: int) -> bool:
        bound = self.options.memory_of_all
        return bound is None or more + sum(memory.private(c.pid) for c in self.cells()) <= bound

    def _make_some(self) -> None:
        """
        Stop the cell that has been idle for longest, unless as many are ending as are waited for.
        Those that have something to finish may take long, and are not counted on.
        """
        slots = self.slots()
        ending = sum(
            not cell.upstream.in_flight and not cell.health.pending
            for slot in slots
            for cell in slot.retired
        )
        if ending >= max(1, len(self._queued)) or self.give_up():
            return
        now = self.seconds()
        idle = [
            (bool(slot.current.health.pending), slot.last_used, slot.idle_out)
            for slot in slots
            if slot.current is not None and not slot.in_use(now)
        ]
        if idle:
            min(idle, key=lambda each: each[:2])[2]()
        elif self._queued:
            self._share()

    def _share(self) -> None:
        """
        Nothing is idle, and somebody waits: an account that has two cells more than theirs gives
        one up, which finishes what it has first.
        """
        slots, held = self.slots(), self._held()
        [(account_id, most)] = held.most_common(1) or [(None, 0)]
        needy = sum(held[slot.account_id] + 2 <= most for slot in self._queued)
        if sum(len(slot.retired) for slot in slots) >= needy:
            return
        theirs = [slot for slot in slots if slot.account_id == account_id and slot.current]
        if theirs:
            given = min(theirs, key=lambda slot: slot.last_used)
            self._log.info("{key} makes room for others", key=given.key)
            given.idle_out()
