"""
Several cells for what one cell could run: which of them gets the next request, and when there is to
be one more. A process computes on one core, so a place whose cells are all busy computing gets
another cell, up to a bound; one that nobody needs any more becomes idle and ends.
"""

from collections.abc import Callable, Sequence
from typing import Any, Final, Generic, Protocol, TypeVar

import attrs

from workerd_faas.domain.upstream import Upstream
from workerd_faas.runtime.status import cpu_seconds

BUSY: Final = 0.7
"""Share of a core from which a cell has no time for more."""

_OUTSTANDING: Final = 2
"""Requests in flight from which another cell could help: a client that waits for each answer never
has more than one."""


class Running(Protocol):
    """
    What this module asks of a cell.
    """

    @property
    def upstream(self) -> Upstream:
        """
        Where its requests go.
        """

    @property
    def pid(self) -> int | None:
        """
        Its process.
        """


class Place(Protocol):
    """
    What this module asks of a slot.
    """

    key: str

    @property
    def current(self) -> Any:
        """
        The cell (`Running`) that takes requests, if there is one.
        """

    @property
    def starting(self) -> Any:
        """
        The cell that will.
        """


P = TypeVar("P", bound=Place)

MARK: Final = "#"
"""In keys of places that were added."""


def least(places: Sequence[Place]) -> Upstream | None:
    """
    Where the fewest requests are in flight, the first of several: then those at the end become idle
    when there is little to do.
    """
    found: Upstream | None = None
    for place in places:
        if place.current is not None:
            upstream: Upstream = place.current.upstream
            if found is None or upstream.in_flight < found.in_flight:
                found = upstream
    return found


@attrs.define(eq=False)
class Crowds(Generic[P]):
    """
    The places that belong together.

    Attributes:
        most: Cells that do the work of one; 1: there are no crowds.
        members: The first one and those that were added, by the key of the first one.
    """

    most: int
    cpu: Callable[[int | None], float] = cpu_seconds
    members: dict[str, list[P]] = attrs.Factory(dict)
    _used: dict[int, tuple[float, float]] = attrs.Factory(dict)

    def upstream(self, key: str) -> Upstream | None:
        """
        The cell for the next request to a place with several, if one of them is ready.
        """
        return least(self.members[key])

    def overloaded(self, firsts: Sequence[P], now: float) -> list[P]:
        """
        Those of these first ones all of whose cells have used up their core since this was asked
        last, though more than one request was there, and that may have another cell.
        """
        before, self._used = self._used, {}
        found = []
        for first in firsts:
            awake = [place for place in self._of(first) if place.current or place.starting]
            # All are looked at, so that what they have used is known the next time.
            busy = [self._busy(place, before, now) for place in awake]
            if busy and all(busy) and len(awake) < self.most:
                found.append(first)
        return found

    def _of(self, first: P) -> list[P]:
        return self.members.get(first.key) or [first]

    def _busy(self, place: P, before: dict[int, tuple[float, float]], now: float) -> bool:
        cell: Running | None = place.current
        if cell is None or cell.pid is None or place.starting is not None:
            return False
        used = self.cpu(cell.pid)
        self._used[cell.pid] = (now, used)
        last = before.get(cell.pid)
        if last is None or now <= last[0] or cell.upstream.in_flight < _OUTSTANDING:
            return False
        return (used - last[1]) / (now - last[0]) >= BUSY

    def sleeping(self, first: P) -> P | None:
        """
        One that was added and has no cell now.
        """
        added = (place for place in self._of(first) if place is not first)
        return next((p for p in added if p.current is None and p.starting is None), None)

    def join(self, first: P, make: Callable[[str], P]) -> P:
        """
        Add one, made with its key; it takes a part of the requests to `first` from now on.
        """
        crowd = self.members.setdefault(first.key, [first])
        taken = {place.key for place in crowd}
        names = (f"{first.key}{MARK}{n}" for n in range(2, self.most + 1))
        another = make(next(name for name in names if name not in taken))
        crowd.append(another)
        return another

    def leave(self, place: P) -> None:
        """
        One is gone. The first one of a crowd is not gone before the others.
        """
        first = place.key.partition(MARK)[0]
        crowd = self.members.get(first, [])
        if place in crowd:
            crowd.remove(place)
            if len(crowd) == 1:
                del self.members[first]
