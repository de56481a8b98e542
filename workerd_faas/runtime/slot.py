"""
The place of one tenant's cell: at most one cell that takes requests, one that is starting, and any
number that finish what they have.
"""

import math
import random
from collections.abc import Callable
from typing import Any, Protocol

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger

from workerd_faas.domain.errors import Kind, Problem
from workerd_faas.domain.upstream import Upstream
from workerd_faas.runtime.backoff import CALM, Backoff
from workerd_faas.runtime.cell import Cause, Cell, CellOwner, Death
from workerd_faas.runtime.promoted import Promoted

Then = Callable[[Upstream | Problem], None]


def unavailable(message: str, seconds: float) -> Problem:
    """
    The problem of a cell that cannot be had now.
    """
    return Problem(kind=Kind.UNAVAILABLE, message=message, retry_after=max(1, math.ceil(seconds)))


@attrs.define(eq=False)
class _Waiter:
    then: Then
    call: IDelayedCall | None = None


class SlotOwner(Protocol):
    """
    Who makes the cells of a slot.
    """

    def admit(self, slot: "Slot") -> bool:
        """
        Whether one more cell may be started now; if not, `slot.admitted` is called when it may.
        """

    def make_cell(self, slot: "Slot") -> Cell:
        """
        A new cell, not started.
        """

    def slot_lost(self, slot: "Slot", cell: Cell, death: Death) -> None:
        """
        One of the slot's cells is gone.
        """


@attrs.define(eq=False, kw_only=True)
class Slot:
    """
    Attributes:
        key: What the isolation level makes of a route.
        account_id: Whose documents its cells may load; None: everybody's.
        reactor: Provides IReactorTime.
        wait: Seconds that a request waits for a cell.
        sole: The only function that runs there; None: several do.
        promoted: The only version that runs there, as a service of its own; None: a router runs
            what it is told.
        exclusive: There is never more than one process: a replacement starts when the old one has
            ended, and requests wait meanwhile.
        current: The cell that takes requests.
        starting: The one that will.
        retired: Those that finish.
        last_used: When a request was last seen, for whoever stops idle cells.
        held: Nothing is started, and what there is stands still.
    """

    key: str
    account_id: str | None
    reactor: Any
    wait: float
    owner: SlotOwner
    sole: str | None = None
    promoted: Promoted | None = None
    exclusive: bool = False
    chance: Callable[[], float] = random.random
    backoff: Backoff = attrs.Factory(Backoff)
    current: Cell | None = None
    starting: Cell | None = None
    retired: set[Cell] = attrs.Factory(set)
    last_used: float = 0.0
    held: bool = False
    served_seen: int = 0
    last_death: Death | None = None
    _waiters: list[_Waiter] = attrs.Factory(list)
    _replacing: "list[Deferred[None]]" = attrs.Factory(list)
    _ending: "list[Deferred[None]]" = attrs.Factory(list)
    _retry: IDelayedCall | None = None
    _stopped: bool = False

    _log = Logger()

    @property
    def cells(self) -> tuple[Cell, ...]:
        """
        All that have or will have a process.
        """
        named = (self.current, self.starting)
        return (*(cell for cell in named if cell is not None), *self.retired)

    @property
    def wanted(self) -> bool:
        """
        Whether anybody waits for a cell.
        """
        return bool(self._waiters) or bool(self._replacing)

    def in_use(self, now: float) -> bool:
        """
        Whether a request is in flight, or came since this was asked last.
        """
        if self.current is None:
            return False
        upstream = self.current.upstream
        if not upstream.in_flight and upstream.served == self.served_seen:
            return False
        self.served_seen = upstream.served
        self.last_used = now
        return True

    def forgettable(self, now: float) -> bool:
        """
        Whether nothing would be lost with this slot.
        """
        past = self.backoff.remaining(now) == 0 and now - self.last_used > CALM
        return not self.cells and not self.wanted and not self.held and past

    def when_ready(self, then: Then) -> Callable[[], None]:
        """
        See `usecases.ports.Cells`. `then` is never called before this returns.
        """
        waiter = _Waiter(then)
        if self.current is not None:
            waiter.call = self.reactor.callLater(0, self._give_current, waiter)
        else:
            self._wait(waiter)
        return lambda: self._take_back(waiter)

    def replace(self) -> "Deferred[None]":
        """
        Start another cell, and switch to it once it is ready. The old one keeps serving until then,
        and also when the new one does not come up: then this fails with `UNAVAILABLE`. Where there
        is only one process, it ends first.
        """
        done: Deferred[None] = Deferred()
        if self.current is None and self.starting is None and not self._waiters:
            done.callback(None)
            return done
        self._replacing.append(done)
        self.backoff.reset()
        if self.exclusive and self.current is not None:
            self.current.retire()
        self._begin()
        return done

    def refuse(self, problem: Problem) -> None:
        """
        Tell all who wait that there will be no cell for them.
        """
        self._fail_all(problem)

    def idle_out(self) -> None:
        """
        Stop the present cell; the next request starts another.
        """
        if self.current is not None:
            self.current.retire()

    def stop(self) -> "Deferred[None]":
        """
        Start nothing more, drain what there is; fires when the last process is gone.
        """
        self._stopped = True
        if self._retry is not None:
            self._retry.cancel()
            self._retry = None
        self._fail_all(unavailable("The platform is stopping.", 1))
        for cell in self.cells:
            cell.retire()
        done: Deferred[None] = Deferred()
        self._ending.append(done)
        self._tell_ended()
        return done

    def hold(self) -> None:
        """
        Start nothing, and let the processes stand still, until `release`. Only seconds: whoever
        watches them would take them for hung.

        Raises:
            OSError: a process cannot be stopped; then all of them go on.
        """
        self.held = True
        try:
            for cell in self.cells:
                cell.freeze()
        except OSError:
            self.release()
            raise

    def release(self) -> None:
        """
        Go on.
        """
        self.held = False
        for cell in self.cells:
            cell.thaw()
        self._begin()

    def admitted(self) -> None:
        """
        There is room now for the cell that `SlotOwner.admit` had no room for.
        """
        self._begin()

    # Starting.

    def _begin(self) -> None:
        if self._stopped or self.held or self.starting is not None or self._retry is not None:
            return
        if not self.wanted or (self.exclusive and self.retired):
            return
        pause = self.backoff.remaining(self.reactor.seconds())
        if pause > self.wait:
            # Whoever waits would wait in vain.
            self._fail_all(unavailable("The process of this function keeps failing to run.", pause))
        elif pause > 0:
            self._retry = self.reactor.callLater(pause, self._retry_now)
        elif self.current is not None or self.owner.admit(self):
            self.starting = self.owner.make_cell(self)
            self.starting.start()

    def _retry_now(self) -> None:
        self._retry = None
        self._begin()

    # `CellOwner`.

    def cell_ready(self, cell: Cell) -> None:
        """
        See `CellOwner`.
        """
        self.starting = None
        if self.current is not None:
            self.current.retire()
        self.current = cell
        cell.upstream.when_retired(lambda: self._retired(cell))
        self.served_seen = 0
        self.last_used = self.reactor.seconds()
        self._log.info("{label} is ready, pid {pid}", label=cell.label, pid=cell.pid)
        # Whoever is told may come with the next wish at once: that one is for a cell to come.
        replacing, self._replacing = self._replacing, []
        for waiter in tuple(self._waiters):
            self._tell(waiter, cell.upstream)
        for done in replacing:
            done.callback(None)

    def cell_died(self, cell: Cell, death: Death) -> None:
        """
        See `CellOwner`.
        """
        was_starting = cell is self.starting
        if was_starting:
            self.starting = None
        self.retired.discard(cell)
        self.last_used = self.reactor.seconds()
        self._log.info(
            "{label} ended: {cause}, {how}, {in_flight} in flight, {resident} bytes",
            label=cell.label,
            resident=death.resident,
            cause=death.cause.value,
            how=str(death.how),
            in_flight=death.in_flight,
        )
        if death.cause is not Cause.ASKED:
            self.last_death = death
            self.backoff.died(self.reactor.seconds(), death.lived, self.chance())
        if was_starting:
            self._fail_replacing(unavailable("The new process did not come up.", 1))
        self.owner.slot_lost(self, cell, death)
        self._begin()
        self._tell_ended()

    def _retired(self, cell: Cell) -> None:
        """
        It takes nothing new: retired by us, hung, killed or dead.
        """
        if cell is self.current:
            self.current = None
            self.retired.add(cell)

    # Waiters: each is told once, and has at most one call pending.

    def _wait(self, waiter: _Waiter) -> None:
        if self._stopped:
            self._tell_later(waiter, unavailable("The platform is stopping.", 1))
            return
        late = unavailable("No process for this function came up in time.", 1)
        waiter.call = self.reactor.callLater(self.wait, self._tell, waiter, late)
        self._waiters.append(waiter)
        self._begin()

    def _give_current(self, waiter: _Waiter) -> None:
        waiter.call = None
        if self.current is None:
            self._wait(waiter)
        else:
            waiter.then(self.current.upstream)

    def _tell(self, waiter: _Waiter, result: Upstream | Problem) -> None:
        self._take_back(waiter)
        waiter.then(result)

    def _tell_later(self, waiter: _Waiter, problem: Problem) -> None:
        self._take_back(waiter)
        waiter.call = self.reactor.callLater(0, self._tell, waiter, problem)

    def _take_back(self, waiter: _Waiter) -> None:
        if waiter in self._waiters:
            self._waiters.remove(waiter)
        call, waiter.call = waiter.call, None
        if call is not None and call.active():
            call.cancel()

    def _fail_all(self, problem: Problem) -> None:
        for waiter in tuple(self._waiters):
            self._tell_later(waiter, problem)
        self._fail_replacing(problem)

    def _fail_replacing(self, problem: Problem) -> None:
        replacing, self._replacing = self._replacing, []
        for done in replacing:
            done.errback(problem)

    def _tell_ended(self) -> None:
        if self._stopped and not self.cells:
            ending, self._ending = self._ending, []
            for done in ending:
                done.callback(None)


_check: type[CellOwner] = Slot
