"""The processes in which uploads are checked: one of them, those that are kept, their time."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall

from workerd_faas.runtime import uids
from workerd_faas.runtime.cell import Cause, Cell, CellOwner, Death
from workerd_faas.runtime.status import cpu_seconds
from workerd_faas.runtime.walls import Walls

WALL_FACTOR: Final = 3
"""How much wall time there is for the CPU time that loading may take."""

_LOOK: Final = 0.1


@attrs.define(eq=False)
class CheckProcess:
    """
    One check cell and what became of it.

    Attributes:
        lost: Called when it has ended.
    """

    directory: Path
    walls: Walls
    all: "set[CheckProcess]"
    lost: Callable[[], None]
    cell: Cell | None = None
    uid: int | None = None
    ready: bool = False
    death: Death | None = None
    uses: int = 0
    leave: IDelayedCall | None = None
    _waiting: "list[Deferred[None]]" = attrs.Factory(list)

    def cell_ready(self, cell: Cell) -> None:
        """
        See `CellOwner`.
        """
        self.ready = True
        self._tell()

    def cell_died(self, cell: Cell, death: Death) -> None:
        """
        See `CellOwner`.
        """
        self.death = death
        self.stay()
        self.all.discard(self)
        shutil.rmtree(self.directory, ignore_errors=True)
        uid, self.uid = self.uid, None
        if self.walls.uids is not None and uid is not None:
            self.walls.uids.give_back(uid)
        self._tell()
        self.lost()

    def give_directory(self) -> None:
        """
        Let the process be a user of its own, if it may.

        Raises:
            OSError: it cannot.
        """
        if self.walls.uids is not None:
            self.uid = self.walls.uids.take()
            uids.give(self.directory, self.uid)

    def stay(self) -> None:
        """
        The end that is planned for it does not come.
        """
        if self.leave is not None and self.leave.active():
            self.leave.cancel()
        self.leave = None

    def kill(self) -> None:
        """
        End it now.
        """
        self.stay()
        if self.cell is not None:
            self.cell.kill(Cause.ASKED)

    def _tell(self) -> None:
        waiting, self._waiting = self._waiting, []
        for one in waiting:
            one.callback(None)

    async def started(self) -> None:
        """
        Returns once the cell is ready or dead.
        """
        if not self.ready and self.death is None:
            await self._wait()

    async def ended(self) -> Death:
        """
        Returns once the cell is dead.
        """
        while self.death is None:
            await self._wait()
        return self.death

    async def _wait(self) -> None:
        one: Deferred[None] = Deferred(self._waiting.remove)
        self._waiting.append(one)
        await one


@attrs.define(eq=False)
class Kept:
    """
    Processes that wait for the next upload of the account that had the last one.

    Attributes:
        reactor: Provides IReactorTime.
        most: How many wait at once.
        seconds: How long each waits.
        uses: How many uploads one checks at most.
    """

    reactor: Any
    most: int
    seconds: float
    uses: int
    _kept: dict[str, CheckProcess] = attrs.Factory(dict)

    def take(self, account_id: str) -> CheckProcess | None:
        """
        The one that waits for this account, if it lives.
        """
        process = self._kept.pop(account_id, None)
        if process is None or process.death is not None:
            return None
        process.stay()
        return process

    def keep(self, process: CheckProcess, account_id: str) -> None:
        """
        Have it wait, or end it if it may not.
        """
        process.uses += 1
        if not account_id or not self.most or process.uses >= self.uses:
            process.kill()
            return
        before = self._kept.pop(account_id, None)
        if before is not None:
            before.kill()
        elif len(self._kept) >= self.most:
            self._kept.pop(next(iter(self._kept))).kill()
        self._kept[account_id] = process
        process.leave = self.reactor.callLater(self.seconds, self._leave, account_id, process)

    def clear(self) -> list[CheckProcess]:
        """
        None of them waits any more; returns those that did.
        """
        kept, self._kept = list(self._kept.values()), {}
        for process in kept:
            process.stay()
        return kept

    def _leave(self, account_id: str, process: CheckProcess) -> None:
        if self._kept.get(account_id) is process:
            del self._kept[account_id]
        process.kill()


@attrs.define(eq=False)
class Watch:
    """
    Kills a cell that has used up its time.
    """

    reactor: Any
    cell: Cell
    allowed: float
    _until: float = 0.0
    _cpu_before: float = 0.0
    _next: IDelayedCall | None = None

    def start(self) -> None:
        """
        The time begins now.
        """
        self._until = self.reactor.seconds() + WALL_FACTOR * self.allowed
        self._cpu_before = cpu_seconds(self.cell.pid)
        self._next = self.reactor.callLater(self.allowed, self._look)

    def stop(self) -> None:
        """
        It has ended in time, or not.
        """
        if self._next is not None and self._next.active():
            self._next.cancel()

    def _look(self) -> None:
        used = cpu_seconds(self.cell.pid) - self._cpu_before
        if used >= self.allowed or self.reactor.seconds() >= self._until:
            self.cell.kill(Cause.OVER_LIMIT)
        else:
            self._next = self.reactor.callLater(_LOOK, self._look)


_check: type[CellOwner] = CheckProcess
