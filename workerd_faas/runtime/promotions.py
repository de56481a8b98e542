"""Which versions have a process of their own since they are called so much (`promoted.py`)."""

import math
from collections.abc import Callable, Iterable
from functools import partial

import attrs
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from workerd_faas.domain.errors import Problem
from workerd_faas.domain.upstream import Upstream
from workerd_faas.runtime.promoted import Promoted, promoted
from workerd_faas.runtime.slot import Slot
from workerd_faas.usecases.ports import VersionLoader

COOL = 20
"""Requests a second below which a process of its own is not worth while any more."""

CALM = 30.0
"""Seconds of that until it ends."""

_FIRST_PAUSE = 60.0
_LONGER = 8
_REMEMBERED = 1000


@attrs.define
class _Heat:
    since: float
    served: int = 0


@attrs.frozen
class _Pause:
    until: float
    next: float


@attrs.define(eq=False, kw_only=True)
class Promotions:
    """
    A version is promoted when its router says that it is called much and says nothing, and demoted
    when that is over; what it finds in its memory is gone each time. What has said something after
    all has to wait, longer each time.

    Attributes:
        most: How many versions of one account.
        room: Whether one more process may be started.
        place: Makes a slot for one, or gives the one that it had.
        leave: Its slot gets nothing any more; whether it has to be over soon, or may finish what it
            has however long that takes.
        keys: What the slots of those that are ready are called, by version.
    """

    reactor: IReactorTime
    loader: VersionLoader
    most: int
    room: Callable[[], bool]
    place: Callable[[Promoted], Slot]
    leave: Callable[[Slot, bool], None]
    keys: dict[str, str] = attrs.Factory(dict)
    _slots: dict[str, Slot] = attrs.Factory(dict)
    _loading: dict[str, str] = attrs.Factory(dict)
    _pauses: dict[str, _Pause] = attrs.Factory(dict)
    _heat: dict[str, _Heat] = attrs.Factory(dict)
    _changes: int = 0

    _log = Logger()

    def __contains__(self, version_id: str) -> bool:
        return version_id in self._slots

    async def promote(self, account_id: str, version_id: str) -> None:
        """
        Give a version a process if it may have one.
        """
        pause = self._pauses.get(version_id)
        if (
            version_id in self._slots
            or version_id in self._loading
            or (pause is not None and self.reactor.seconds() < pause.until)
            or self._of(account_id) >= self.most
            or not self.room()
        ):
            return
        self._loading[version_id] = account_id
        changes = self._changes
        try:
            document = await self.loader.load_document(account_id, version_id)
        except Problem:
            self._wait(version_id)
            return
        finally:
            del self._loading[version_id]
        if changes != self._changes:
            return  # It may have been this one. If it is still called much, it comes again.
        found = promoted(document, account_id, version_id)
        if found is None:
            self._pauses[version_id] = _Pause(math.inf, math.inf)
            return
        slot = self._slots[version_id] = self.place(found)
        self._heat[version_id] = _Heat(self.reactor.seconds())
        slot.when_ready(partial(self._came, version_id, slot))

    def _of(self, account_id: str) -> int:
        slots = sum(slot.account_id == account_id for slot in self._slots.values())
        return slots + sum(each == account_id for each in self._loading.values())

    def _came(self, version_id: str, slot: Slot, result: Upstream | Problem) -> None:
        if self._slots.get(version_id) is not slot:
            return
        if isinstance(result, Problem):
            self._demote(version_id, "its process did not come up", pause=True)
            return
        self.keys[version_id] = slot.key
        self._log.info("{key} is promoted", key=slot.key)

    def demote(self, which: Callable[[Promoted], bool], reason: str, *, soon: bool = False) -> None:
        """
        These run as others do from now on.

        Args:
            soon: What their processes have begun must be over soon.
        """
        self._changes += 1
        for version_id, slot in tuple(self._slots.items()):
            if slot.promoted is not None and which(slot.promoted):
                self._demote(version_id, reason, soon=soon)

    def lost(self, slot: Slot, *, asked: bool) -> None:
        """
        One of its processes has ended.

        Args:
            asked: It was told to.
        """
        version = slot.promoted
        if version is None or self._slots.get(version.version_id) is not slot:
            return
        if slot.current is None and slot.starting is None:
            self._demote(version.version_id, "its process has ended", pause=not asked)

    def give_one_up(self) -> bool:
        """
        Make room by demoting the one that was promoted last; whether there was one.
        """
        for version_id in reversed(self.keys):
            self._demote(version_id, "its room is needed", pause=True)
            return True
        return False

    def tick(self) -> None:
        """
        To be called every second.
        """
        now = self.reactor.seconds()
        for version_id, slot in tuple(self._slots.items()):
            cell, heat = slot.current, self._heat[version_id]
            if cell is None:
                continue
            if cell.health.loud:
                self._demote(version_id, "it has something to say", pause=True)
                continue
            served = cell.upstream.served
            if served - heat.served >= COOL or served < heat.served:
                heat.since = now
            heat.served = served
            if now - heat.since > CALM:
                self._demote(version_id, "it is not called much any more")

    def _demote(
        self, version_id: str, reason: str, *, pause: bool = False, soon: bool = False
    ) -> None:
        self.keys.pop(version_id, None)
        del self._heat[version_id]
        slot = self._slots.pop(version_id)
        if pause:
            self._wait(version_id)
        self._log.info("{key} is not promoted any more: {reason}", key=slot.key, reason=reason)
        self.leave(slot, soon)

    def _wait(self, version_id: str) -> None:
        before = self._pauses.get(version_id)
        length = _FIRST_PAUSE if before is None else before.next
        if len(self._pauses) >= _REMEMBERED:
            self._pauses.clear()
        self._pauses[version_id] = _Pause(self.reactor.seconds() + length, length * _LONGER)


def hot(slots: Iterable[Slot]) -> list[tuple[str, str]]:
    """
    Account and id of the versions whose routers say that they are called much. What runs in a
    process that accounts share stays there.
    """
    return [
        (slot.account_id, version_id)
        for slot in slots
        if slot.account_id is not None and slot.current is not None
        for version_id in slot.current.health.hot
    ]
