"""
All state cells: one an account, started when it is needed, stopped when idle.

Two processes cannot have one account's data open, so a cell is replaced by holding: the old one
finishes what it has and ends, the new one starts, and what comes meanwhile waits.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO, Final

import attrs
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure

from workerd_faas.domain.errors import Kind, Problem
from workerd_faas.domain.routing import Route
from workerd_faas.domain.upstream import Upstream
from workerd_faas.runtime import javascript, leftovers
from workerd_faas.runtime.cell import Cause, Cell, Death, State, Times
from workerd_faas.runtime.process import MIB
from workerd_faas.runtime.slot import Slot, SlotOwner, Then
from workerd_faas.runtime.state import client
from workerd_faas.runtime.state.damage import DamageReports
from workerd_faas.runtime.state.housing import Consumers, StateBuilder, StateHouse
from workerd_faas.runtime.status import CellStatus, resident_bytes
from workerd_faas.runtime.unix_http import NoAnswer, ask
from workerd_faas.runtime.walls import Walls
from workerd_faas.usecases.ports import Cells
from workerd_faas.usecases.storage.ports import (
    Deliveries,
    Holds,
    StateAnswer,
    StateCells,
    StateQuestion,
)
from workerd_faas.wire.headers import ROUTE_AND_CF

_TICK: Final = 1.0
_REST: Final = 60.0
"""Seconds in which a cell that starts or ends has done so."""

_REST_POLL: Final = 0.02
_QUIET_POLL: Final = 0.05


@attrs.frozen(kw_only=True)
class StateOptions:
    """
    Times are in seconds, sizes in bytes.

    Attributes:
        max_cells: How many processes at once.
        idle: A cell that has not been used for so long is stopped, unless a queue still has
            messages for a consumer.
        wait: How long a request waits for a cell: longer than one takes to drain.
        quiet: How long a replacement waits for consumers to finish, before requests are held.
        memory: What one cell's JavaScript and buffers may take. The largest KV value has 25 MiB,
            and is copied a few times on its way.
        times: A cell is asked less often than others, since a query may keep it busy: it has
            `ping` times `misses` seconds.
    """

    max_cells: int = 64
    idle: float = 300.0
    wait: float = 15.0
    quiet: float = 10.0
    memory: int = 512 * MIB
    times: Times = attrs.Factory(lambda: Times(ping=5.0, misses=6, drain=8.0))


@attrs.define(eq=False, kw_only=True)
class StateFleet:
    """
    Attributes:
        reactor: Provides IReactorProcess, IReactorTime and IReactorUNIX.
        binary: workerd.
        directory: A short directory of mode 0700 that is ours alone, for sockets.
        data: Where the accounts' state directories are.
        consumers: See `housing.Consumers`.
        deliveries: Where batches of queues go.
        walls: What stands around each cell.
    """

    reactor: Any
    binary: Path
    directory: Path
    data: Path
    consumers: Consumers
    deliveries: Deliveries
    options: StateOptions = attrs.Factory(StateOptions)
    walls: Walls = attrs.Factory(Walls)
    _slots: dict[str, Slot] = attrs.Factory(dict)
    _houses: dict[Cell, StateHouse] = attrs.Factory(dict)
    _queued: dict[Slot, None] = attrs.Factory(dict)
    _asking: set[Slot] = attrs.Factory(set)
    _held: dict[str, Slot] = attrs.Factory(dict)
    _owed: set[str] = attrs.Factory(set)
    _made: int = 0
    _crashed: int = 0
    _builder: StateBuilder = attrs.field(init=False)
    _ticker: IDelayedCall | None = None
    _work: "set[Deferred[Any]]" = attrs.Factory(set)

    _log = Logger()

    async def start(self) -> None:
        """
        Clear away what an earlier run may have left, and watch over the cells from now on.
        """
        leftovers.clear(self.directory)
        self._builder = StateBuilder(
            reactor=self.reactor,
            binary=self.binary,
            directory=self.directory,
            data=self.data,
            modules=javascript.sources(javascript.STATE),
            memory=self.options.memory,
            times=self.options.times,
            consumers=self.consumers,
            deliveries=self.deliveries,
            damage=DamageReports(reactor=self.reactor, data=self.data),
            walls=self.walls,
        )
        self._tick()

    async def stop(self, within: float | None = None) -> None:
        """
        Start no more cells; drain and end those that are there. `start` may follow.

        Args:
            within: Seconds after which cells are killed with what is under way in them.
        """
        if self._ticker is not None:
            self._ticker.cancel()
            self._ticker = None
        late = None if within is None else self.reactor.callLater(within, self._kill_all)
        await gatherResults([slot.stop() for slot in self._slots.values()], consumeErrors=True)
        if late is not None and late.active():
            late.cancel()
        await gatherResults(tuple(self._work))
        self._slots.clear()
        self._queued.clear()

    def _kill_all(self) -> None:
        for cell in tuple(self._houses):
            cell.kill(Cause.ASKED)

    # `usecases.ports.Cells`, for the relay: the account is all that counts of a route.

    def upstream(self, route: Route) -> Upstream | None:
        """
        See `Cells`.
        """
        slot = self._slots.get(route.account_id)
        return None if slot is None or slot.current is None else slot.current.upstream

    def when_ready(self, route: Route, then: Then) -> Callable[[], None]:
        """
        See `Cells`. `then` is never called before this returns.
        """
        return self._slot(route.account_id).when_ready(then)

    def version_removed(self, account_id: str, version_id: str) -> None:
        """
        See `Cells`: nothing here knows versions.
        """

    # `usecases.storage.ports.StateCells`.

    async def ask(
        self, account_id: str, question: StateQuestion, sink: BinaryIO | None = None
    ) -> StateAnswer:
        """
        See `StateCells`.
        """
        upstream = await self._ready(account_id)
        upstream.begin()
        try:
            return await client.ask(self.reactor, upstream.address, question, sink)
        finally:
            upstream.end()

    async def renew(self, account_id: str) -> None:
        """
        See `StateCells`.
        """
        slot = self._slots.get(account_id)
        if slot is None:
            return
        while slot.starting is not None:
            # It has read what was true when it was started.
            await self._ready(account_id)
        await self._quiet(slot.current)
        await slot.replace()

    def wake(self, account_id: str) -> None:
        """
        See `StateCells`.
        """
        self._owed.add(account_id)
        self._slot(account_id).when_ready(lambda _: None)

    async def hold(self, account_id: str) -> None:
        """
        See `Holds`.
        """
        bound = self.reactor.seconds() + _REST
        while self._ticker is not None and self.reactor.seconds() < bound:
            slot = self._slot(account_id)
            if slot.starting is None and not slot.retired and not slot.held:
                slot.hold()
                self._held[account_id] = slot
                return
            await deferLater(self.reactor, _REST_POLL)
        raise Problem(
            kind=Kind.UNAVAILABLE,
            message="The account's storage process neither starts nor ends, or the daemon does.",
        )

    def release(self, account_id: str) -> bool:
        """
        See `Holds`.
        """
        slot = self._held.pop(account_id)
        slot.release()
        return self._slots.get(account_id) is slot and self._ticker is not None

    def places(self, account_id: str | None = None) -> list[Slot]:
        """
        Where cells are or may be: all, or the one of an account.
        """
        return [s for s in self._slots.values() if account_id in (None, s.account_id)]

    def rebuild(self, binary: Path, max_cells: int, idle: float) -> None:
        """
        Make cells in this way from now on.
        """
        self.binary = binary
        self.options = attrs.evolve(self.options, max_cells=max_cells, idle=idle)
        self._builder = attrs.evolve(self._builder, binary=binary)

    def cells(self) -> tuple[CellStatus, ...]:
        """
        What there is now.
        """
        return tuple(
            CellStatus(
                label=cell.label,
                key=slot.key,
                state=cell.state.value,
                pid=cell.pid,
                in_flight=cell.upstream.in_flight,
                served=cell.upstream.served,
                loaded=0,
                resident=resident_bytes(cell.pid),
            )
            for slot in self._slots.values()
            for cell in slot.cells
        )

    async def _quiet(self, cell: Cell | None) -> None:
        """
        Wait for a moment in which no batch is with a consumer, while the cell goes on to serve.
        Batches that are cut off are delivered again, and have one attempt less.
        """
        end = self.reactor.seconds() + self.options.quiet
        while cell is not None and cell.state is State.READY and self.reactor.seconds() < end:
            try:
                if not (await cell.prober.probe()).pending:
                    return
            except NoAnswer:
                return
            await deferLater(self.reactor, _QUIET_POLL)

    async def _ready(self, account_id: str) -> Upstream:
        slot = self._slot(account_id)
        if slot.current is not None:
            return slot.current.upstream
        take_back: list[Callable[[], None]] = []
        told: Deferred[Upstream | Problem] = Deferred(lambda _: take_back[0]())
        take_back.append(slot.when_ready(told.callback))
        result = await told
        if isinstance(result, Problem):
            raise result
        return result

    def _slot(self, account_id: str) -> Slot:
        slot = self._slots.get(account_id)
        if slot is None:
            slot = Slot(
                key=account_id,
                account_id=account_id,
                reactor=self.reactor,
                wait=self.options.wait,
                owner=self,
                exclusive=True,
            )
            if self._ticker is None:
                slot.stop()  # As we are: whoever asks is told so.
            else:
                self._slots[account_id] = slot
        return slot

    # `SlotOwner`.

    def admit(self, slot: Slot) -> bool:
        """
        See `SlotOwner`.
        """
        if len(self._houses) < self.options.max_cells:
            self._queued.pop(slot, None)
            return True
        self._queued[slot] = None
        self._make_room()
        return False

    def make_cell(self, slot: Slot) -> Cell:
        """
        See `SlotOwner`.
        """
        self._made += 1
        label = f"state cell {self._made} of {slot.key}"
        cell, house = self._builder.build(f"s{self._made}", label, slot.key, slot)
        self._houses[cell] = house
        return cell

    def slot_lost(self, slot: Slot, cell: Cell, death: Death) -> None:
        """
        See `SlotOwner`.
        """
        self._own(Deferred.fromCoroutine(self._houses.pop(cell).clear()))
        if death.cause is not Cause.ASKED:
            self._crashed += 1
            if self.consumers(slot.key):
                # Nobody may ask for it, but its queues have to go on.
                self.reactor.callLater(0, self._wake_unless_stopped, slot.key)
        for queued in tuple(self._queued):
            if len(self._houses) < self.options.max_cells:
                del self._queued[queued]
                queued.admitted()

    def _wake_unless_stopped(self, account_id: str) -> None:
        if self._ticker is not None:
            self.wake(account_id)

    # Once a second.

    def _tick(self) -> None:
        self._ticker = self.reactor.callLater(_TICK, self._tick)
        now = self.reactor.seconds()
        for slot in tuple(self._slots.values()):
            self._look_at(slot, now)
        for account_id in tuple(self._owed):
            self._wake_again(account_id)
        self._queued = {slot: None for slot in self._queued if slot.wanted}
        if self._queued:
            self._make_room()

    def _wake_again(self, account_id: str) -> None:
        """
        A cell that keeps dying, or for which there is no room, is not given up.
        """
        slot = self._slot(account_id)
        if slot.current is not None:
            self._owed.discard(account_id)
        elif not slot.wanted and slot.starting is None:
            slot.when_ready(lambda _: None)

    def _look_at(self, slot: Slot, now: float) -> None:
        if slot.current is None:
            if slot.forgettable(now):
                del self._slots[slot.key]
        elif not slot.in_use(now) and now - slot.last_used >= self.options.idle:
            self._idle_out(slot)

    def _idle_out(self, slot: Slot) -> None:
        if not self.consumers(slot.key):
            slot.idle_out()
        elif slot not in self._asking and slot.current is not None:
            self._asking.add(slot)
            self._own(Deferred.fromCoroutine(self._idle_out_without_backlog(slot, slot.current)))

    async def _idle_out_without_backlog(self, slot: Slot, cell: Cell) -> None:
        """
        Nothing would wake the cell for messages that become due later.
        """
        try:
            headers = {ROUTE_AND_CF: json.dumps({"backlog": True})}
            socket = Path(cell.upstream.address)
            answer = await ask(self.reactor, socket, headers, None, self.options.times.ping)
            if answer.status == 200 and json.loads(answer.body)["backlog"] == 0:
                if cell is slot.current and not cell.upstream.in_flight:
                    slot.idle_out()
            else:
                slot.last_used = self.reactor.seconds()
        finally:
            self._asking.discard(slot)

    def _make_room(self) -> None:
        """
        Stop the cell that has been idle for longest, unless one is ending already.
        """
        if any(slot.retired for slot in self._slots.values()):
            return
        now = self.reactor.seconds()
        idle = [
            slot
            for slot in self._slots.values()
            if slot.current is not None and not slot.in_use(now) and slot not in self._asking
        ]
        if idle:
            # Those with queues last: only an empty queue lets its cell go.
            self._idle_out(
                min(idle, key=lambda slot: (bool(self.consumers(slot.key)), slot.last_used))
            )

    def _own(self, work: "Deferred[Any]") -> None:
        over: Deferred[None] = Deferred()
        self._work.add(over)
        over.addCallback(lambda _: self._work.discard(over))
        work.addErrback(lambda failure: failure.trap(NoAnswer, Problem))
        work.addErrback(self._unexpected)
        work.addBoth(lambda _: over.callback(None))

    def _unexpected(self, failure: Failure) -> None:
        self._log.failure("work for a state cell", failure=failure)


_check_cells: type[Cells] = StateFleet
_check_state: type[StateCells] = StateFleet
_check_holds: type[Holds] = StateFleet
_check_owner: type[SlotOwner] = StateFleet
