"""
All function cells: one slot per tenant, started at its first request, stopped when idle.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Final

import attrs
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from workerd_faas.domain.blame import Blame, Change, Standing
from workerd_faas.domain.errors import Problem
from workerd_faas.domain.policies import AccountPolicy, ForAll, Isolation, Reach
from workerd_faas.domain.routing import Route
from workerd_faas.domain.termination import Verdict
from workerd_faas.domain.upstream import Upstream
from workerd_faas.runtime import egress, javascript, leftovers
from workerd_faas.runtime.cell import Cause, Cell, Death, State
from workerd_faas.runtime.cpu import CpuMeter
from workerd_faas.runtime.crowd import MARK, Crowds
from workerd_faas.runtime.housing import Builder, House
from workerd_faas.runtime.options import FleetOptions
from workerd_faas.runtime.process import RESERVED_DATA
from workerd_faas.runtime.promoted import Promoted
from workerd_faas.runtime.promotions import Promotions, hot
from workerd_faas.runtime.quarantine import GuardedTargets, Quarantine, Wish
from workerd_faas.runtime.reaches import Reaches
from workerd_faas.runtime.room import Room
from workerd_faas.runtime.rules import Rules, own_key, version_key
from workerd_faas.runtime.site_files import SiteFiles
from workerd_faas.runtime.slot import Slot, SlotOwner, Then
from workerd_faas.runtime.starts import Starts
from workerd_faas.runtime.status import (
    BreakerStatus,
    CellStatus,
    FleetStatus,
    data_bytes,
    resident_bytes,
)
from workerd_faas.runtime.unix_http import NoAnswer
from workerd_faas.runtime.walls import Walls
from workerd_faas.usecases.hyperdrive.ports import Gates
from workerd_faas.usecases.policies.ports import Keeper
from workerd_faas.usecases.ports import (
    CallTargets,
    CellNotices,
    Cells,
    Doors,
    FunctionEvents,
    PointSink,
    VersionLoader,
)

_TICK: Final = 1.0
_ADDRESSES_EVERY: Final = 5
"""Ticks between two looks at the addresses of this host."""


@attrs.define(eq=False, kw_only=True)
class Fleet:
    """
    Attributes:
        reactor: Provides IReactorProcess, IReactorTime and IReactorUNIX.
        binary: workerd.
        directory: A short directory of mode 0700 that is ours alone.
        doors: Makes the cells' ways to the state cells; None: they have none.
        calls: Makes the cells' ways to functions of other accounts, which are ours too; None: they
            have none. Set before the start.
        points: Takes the data points of functions; None: they are dropped.
        sites: What cells serve sites with; None: they serve none.
        walls: What stands around each cell.
        large: The functions with large code: each version runs in a cell of its own.
    """

    reactor: Any
    binary: Path
    directory: Path
    loader: VersionLoader
    events: FunctionEvents
    targets: CallTargets
    doors: Doors | None = None
    calls: Doors | None = None
    points: PointSink | None = None
    sites: SiteFiles | None = None
    walls: Walls = attrs.Factory(Walls)
    large: Collection[str] = frozenset()
    options: FleetOptions = attrs.Factory(FleetOptions)
    rules: Rules = attrs.field(init=False)
    quarantine: Quarantine = attrs.field(init=False)
    _apart: set[str] = attrs.field(init=False)
    _ticks: int = 0
    _slots: dict[str, Slot] = attrs.Factory(dict)
    _crowds: Crowds[Slot] = attrs.field(init=False)
    _reaches: Reaches = attrs.field(init=False)
    _houses: dict[Cell, House] = attrs.Factory(dict)
    _room: Room = attrs.field(init=False)
    _promotions: Promotions = attrs.field(init=False)
    _starts: Starts = attrs.Factory(Starts)
    _builder: Builder = attrs.field(init=False)
    _ticker: IDelayedCall | None = None
    _work: "set[Deferred[Any]]" = attrs.Factory(set)

    _log = Logger()

    @rules.default
    def _settings_alone(self) -> Rules:
        reach = Reach(networks=self.options.egress_allow)
        return Rules(ForAll(isolation=self.options.isolation, egress=reach))

    @_reaches.default
    def _as_told(self) -> Reaches:
        return Reaches(
            rules=self.rules,
            databases=self.options.database_allow,
            deny=self.options.deny,
        )

    @quarantine.default
    def _nobody_is_suspected(self) -> Quarantine:
        return Quarantine(
            reactor=self.reactor,
            blame=Blame(self.options.blame),
            full=self.options.recycle,
            changed=self._standing_changed,
        )

    @_crowds.default
    def _everybody_alone(self) -> Crowds[Slot]:
        return Crowds(self.options.cells_per_place)

    @_promotions.default
    def _nobody_is_promoted(self) -> Promotions:
        return Promotions(
            reactor=self.reactor,
            loader=self.loader,
            most=self.options.promoted,
            room=self._room.has_some,
            place=self._place_of,
            leave=self._leave,
        )

    @_room.default
    def _as_many_as_there_may_be(self) -> Room:
        return Room(
            options=self.options,
            cells=self._houses.keys,
            slots=self._slots.values,
            seconds=self.reactor.seconds,
            give_up=self._give_one_up,
        )

    @_apart.default
    def _those_apart(self) -> set[str]:
        return self.quarantine.blame.apart

    async def start(self) -> None:
        """
        Clear away what an earlier run may have left, and watch over the cells from now on.
        """
        leftovers.clear(self.directory)
        self._builder = Builder(
            reactor=self.reactor,
            binary=self.binary,
            directory=self.directory,
            modules=(
                *javascript.sources(javascript.ROUTER),
                *(() if self.sites is None else (self.sites.module,)),
            ),
            egress=self._reaches.of,
            loaded_versions=self.options.loaded_versions,
            memory=self.options.memory,
            times=self.options.times,
            loader=self.loader,
            events=self.events,
            targets=GuardedTargets(self.targets, self.quarantine),
            shares=self.rules.shares,
            doors=self.doors,
            calls=self.calls,
            points=self.points,
            sites=self.sites,
            walls=self.walls,
        )
        self._reaches.new_addresses()
        self._tick()

    # `usecases.hyperdrive.ports.Gates`.

    def may_open(self, address: egress.Address) -> bool:
        """
        See `Gates`.
        """
        return self._reaches.may_open(address)

    async def open_for(self, account_id: str, addresses: frozenset[egress.Address]) -> None:
        """
        See `Gates`.
        """
        slots = list(self._of_account(account_id))
        before = [self._reaches.opened(slot.account_id) for slot in slots]
        self._reaches.openings = {**self._reaches.openings, account_id: addresses}
        await self._replaced(
            slot
            for slot, opened in zip(slots, before, strict=True)
            if self._reaches.opened(slot.account_id) != opened
        )

    async def renew(self, account_id: str) -> None:
        """
        See `Gates`.
        """
        await self._replaced(self._of_account(account_id))

    def _of_account(self, account_id: str) -> Iterator[Slot]:
        return (slot for slot in self._slots.values() if slot.account_id in (None, account_id))

    # `usecases.policies.ports.Keeper`.

    async def follow_policies(self, policies: Mapping[str, AccountPolicy]) -> None:
        """
        See `Keeper`. Cells in a place that is no account's any more finish what they have.
        """
        concerned: dict[Slot, None] = {}
        for account_id, (left, reach) in self.rules.follow(policies).items():
            self._promotions.demote(
                partial(_of_this_account, account_id), "its account has another policy", soon=True
            )
            for slot in self._of_account(account_id):
                if slot.account_id is None and left:
                    concerned[slot] = None  # It has loaded what is not its own any more.
                elif slot.account_id is not None and self._misplaced(slot):
                    slot.idle_out()
                elif slot.account_id is not None and reach:
                    concerned[slot] = None
        await self._replaced(concerned)
        for slot in concerned:
            cell = slot.current
            if cell is not None and self._houses[cell].egress != self._reaches.of(slot.account_id):
                slot.idle_out()  # The new one did not come up; this one may not go on.

    def _misplaced(self, slot: Slot) -> bool:
        """
        Whether no function runs there any more.
        """
        if slot.promoted is not None:
            return slot.promoted.version_id not in self._promotions
        if slot.account_id is None:
            return False
        level = self.rules.of(slot.account_id).isolation
        if slot.sole is None:
            return level is not Isolation.ACCOUNT
        alone = slot.sole in self._apart or slot.sole in self.large
        return level is not Isolation.FUNCTION and not alone

    def _follow_addresses(self) -> None:
        """
        Cells that were made before this host got an address must not reach it.
        """
        new = self._reaches.new_addresses()
        if not new:
            return
        self._log.info("this host has new addresses: {new}", new=[str(block) for block in new])
        reaching = [s for s in self._slots.values() if self._reaches.reaches(s.account_id, new)]
        self._own(Deferred.fromCoroutine(self._replaced(reaching)))

    async def _replaced(self, slots: Iterable[Slot]) -> None:
        await gatherResults([Deferred.fromCoroutine(self._replacement(slot)) for slot in slots])

    async def _replacement(self, slot: Slot) -> None:
        """
        Replace a cell, and also one that is starting now: it is as things were before.
        """
        try:
            if slot.starting is not None:
                await slot.replace()
            await slot.replace()
        except Problem as problem:
            self._log.error(
                "the cell of {key} goes on as it was: {problem}", key=slot.key, problem=str(problem)
            )

    async def stop(self) -> None:
        """
        Start no more cells; drain and end those that are there.
        """
        if self._ticker is not None:
            self._ticker.cancel()
            self._ticker = None
        await gatherResults([slot.stop() for slot in self._slots.values()], consumeErrors=True)
        # What is left is bounded: questions to cells that are gone, directories to remove.
        await gatherResults(tuple(self._work))

    # `usecases.ports.Cells`.

    def upstream(self, route: Route) -> Upstream | None:
        """
        See `Cells`.
        """
        if route.function in self._apart:
            return self._upstream_apart(route)
        key = self._promotions.keys.get(route.version_id) or self._usual_key(route)
        if key in self._crowds.members:
            return self._crowds.upstream(key)
        slot = self._slots.get(key)
        return None if slot is None or slot.current is None else slot.current.upstream

    def _upstream_apart(self, route: Route) -> Upstream | None:
        slot = self._slots.get(own_key(route))
        if slot is None or slot.current is None or self.quarantine.refusal(route.function):
            return None
        return slot.current.upstream

    def when_ready(self, route: Route, then: Then) -> Callable[[], None]:
        """
        See `Cells`. `then` is never called before this returns.
        """

        def ask(told: Callable[[Upstream | Problem | None], None]) -> Callable[[], None]:
            problem = self.quarantine.refusal(route.function)
            if problem is not None:
                call = self.reactor.callLater(0, told, problem)
                return lambda: call.cancel() if call.active() else None
            slot = self._slot_of(route)

            def granted(result: Upstream | Problem) -> None:
                there = isinstance(result, Problem) or slot.key == self._key(route)
                told(result if there else None)

            return slot.when_ready(granted)

        return Wish(ask, then).take_back

    def _key(self, route: Route) -> str:
        return own_key(route) if route.function in self._apart else self._usual_key(route)

    def _usual_key(self, route: Route) -> str:
        return version_key(route) if route.function in self.large else self.rules.key(route)

    def _slot_of(self, route: Route) -> Slot:
        key = self._key(route)
        slot = self._slots.get(key)
        if slot is None:
            sole = key in (own_key(route), version_key(route))
            shared = not sole and self.rules.shares(route.account_id)
            account_id = None if shared else route.account_id
            slot = self._new_slot(key, account_id, route.function if sole else None)
        return slot

    def _place_of(self, version: Promoted) -> Slot:
        found = self._slots.get(version.key)
        if found is None:
            found = self._new_slot(version.key, version.account_id, version.function)
        found.promoted = version
        return found

    def _give_one_up(self) -> bool:
        return self._promotions.give_one_up()

    def _leave(self, slot: Slot, soon: bool) -> None:
        for place in self._crowds.members.get(slot.key, [slot]):
            if soon or not _has_conversations(place):
                place.idle_out()

    def _new_slot(
        self, key: str, account_id: str | None, sole: str | None, promoted: Promoted | None = None
    ) -> Slot:
        slot = self._slots[key] = Slot(
            key=key,
            account_id=account_id,
            reactor=self.reactor,
            wait=self.options.wait,
            owner=self,
            sole=sole,
            promoted=promoted,
        )
        return slot

    def version_removed(self, account_id: str, version_id: str) -> None:
        """
        See `Cells`.
        """
        self._promotions.demote(lambda each: each.version_id == version_id, "it was removed")
        for slot in self._slots.values():
            if slot.account_id in (None, account_id) and slot.current is not None:
                self._own(slot.current.prober.forget(version_id))

    def warm(self, route: Route) -> None:
        """
        A version is deployed: where its function runs, it is loaded before anybody asks for it.
        """
        for slot in self._crowds.members.get(self._key(route)) or self._at(route):
            cell = slot.current
            # Who never ran there gets nothing loaded either (js/versions.js).
            if cell is not None and route.function in self._houses[cell].loaded:
                # Nobody has asked for it: if its code hangs, nothing else would say whose it is.
                cell.upstream.recent.add(route.function)
                self._own(cell.prober.warm(route.version_id, route.function))

    def _at(self, route: Route) -> tuple[Slot, ...]:
        slot = self._slots.get(self._key(route))
        return () if slot is None else (slot,)

    def tails_changed(self, account_id: str) -> None:
        """
        Others of the account's functions are watched now: its cells are told at once.
        """
        tailed = self.events.tailed(account_id)
        self._promotions.demote(lambda each: each.function in tailed, "it is watched")
        for slot in self._slots.values():
            if slot.account_id in (None, account_id) and slot.current is not None:
                self._own(slot.current.prober.probe())

    async def function_changed(self, account_id: str, function: str, *, reload: bool) -> None:
        """
        See `CellNotices`.
        """
        if reload:
            self._promotions.demote(lambda each: each.function == function, "it has changed")
        concerned = [
            cell
            for cell, house in self._houses.items()
            if house.account_id in (None, account_id)
            and cell.state in (State.READY, State.DRAINING)
            and (reload or function in house.called)
        ]
        telling = [Deferred.fromCoroutine(self._tell(c, function, reload)) for c in concerned]
        await gatherResults(telling)

    async def _tell(self, cell: Cell, function: str, reload: bool) -> None:
        try:
            await cell.prober.changed(function, reload)
        except NoAnswer:
            self._log.warn(
                "{label} was not told of {function}", label=cell.label, function=function
            )
            cell.retire()

    # For operators.

    async def replace(self, key: str) -> None:
        """
        Hot restart of one tenant's cell; returns when requests go to the new one. Nothing happens
        when there is none.

        Raises:
            Problem: `UNAVAILABLE` when the new one did not come up; the old one still serves.
        """
        slot = self._slots.get(key)
        if slot is not None:
            await slot.replace()

    def places(self, account_id: str | None = None, function: str | None = None) -> list[Slot]:
        """
        Where cells are or may be: all, those of an account, or those of one of its functions.
        """
        if account_id is None:
            return list(self._slots.values())
        found = self._of_account(account_id)
        return [slot for slot in found if function is None or slot.sole in (None, function)]

    def rebuild(self, binary: Path, options: FleetOptions) -> None:
        """
        Make cells in this way from now on. Where functions run and what they reach stays as it is.
        """
        now = self.options
        self.binary = binary
        self.options = attrs.evolve(
            options,
            isolation=now.isolation,
            egress_allow=now.egress_allow,
            database_allow=now.database_allow,
            deny=now.deny,
            blame=now.blame,
        )
        self._room.options = self.options
        self.quarantine.full = self.options.recycle
        self._promotions.most = self.options.promoted
        self._builder = attrs.evolve(
            self._builder,
            binary=binary,
            memory=self.options.memory,
            loaded_versions=self.options.loaded_versions,
        )

    def status(self) -> FleetStatus:
        """
        What there is now.
        """
        now = self.reactor.seconds()
        return FleetStatus(
            cells=tuple(
                _status(slot, cell) for slot in self._slots.values() for cell in slot.cells
            ),
            breakers=tuple(
                BreakerStatus(
                    key=slot.key,
                    failures=slot.backoff.failures,
                    retry_in=slot.backoff.remaining(now),
                    cause=slot.last_death.cause.value if slot.last_death else None,
                    last_words=slot.last_death.last_words if slot.last_death else (),
                )
                for slot in self._slots.values()
                if slot.backoff.remaining(now) > 0
            ),
            max_cells=self.options.max_cells,
            waiting=self._room.waiting,
            started=self._starts.made,
            crashed=self._starts.crashed,
            startable=self._starts.possible(self._houses, now),
        )

    # `SlotOwner`.

    def admit(self, slot: Slot) -> bool:
        """
        See `SlotOwner`.
        """
        return self._room.admit(slot)

    def make_cell(self, slot: Slot) -> Cell:
        """
        See `SlotOwner`.
        """
        self._starts.made = number = self._starts.made + 1
        label = f"cell {number} of {slot.key}"
        cell, house = self._builder.build(f"c{number}", label, slot.account_id, slot, slot.promoted)
        cell.cpu = None if self.options.cpu is None else CpuMeter(self.options.cpu)
        self._houses[cell] = house
        return cell

    def slot_lost(self, slot: Slot, cell: Cell, death: Death) -> None:
        """
        See `SlotOwner`.
        """
        self._own(Deferred.fromCoroutine(self._houses.pop(cell).clear()))
        self._promotions.lost(slot, asked=death.cause is Cause.ASKED)
        if slot.promoted is not None and death.lived is None:
            # It runs as others do, and nobody waits for this process.
            self._room.freed()
            cell.upstream.ended(Verdict(termination=None, again=True))
            return
        self._starts.died(death, self.reactor.seconds())
        likely = {function for function, is_likely in cell.suspects.items() if is_likely}
        verdict = self.quarantine.cell_died(slot.key, slot.sole, cell, death)
        if slot.sole is None and likely and likely <= self._apart:
            slot.backoff.reset()  # Whoever did it does not run there any more.
        self._room.freed()
        cell.upstream.ended(verdict)

    # Functions that run apart.

    def _standing_changed(self, change: Change) -> None:
        """
        A function runs elsewhere from now on, or not at all for a while.
        """
        problem = self.quarantine.refusal(change.function)
        if change.standing is not Standing.FREE:
            self._promotions.demote(
                lambda each: each.function == change.function, "it is suspected", soon=True
            )
        for slot in self._slots.values():
            if slot.sole != change.function:
                continue
            if problem is not None:
                slot.refuse(problem)
            elif change.standing is Standing.FREE and self._misplaced(slot):
                slot.idle_out()
        if problem is not None:
            # Others that call it by a binding shall ask again whether they may.
            for cell, house in self._houses.items():
                if change.function in house.called and cell.state is State.READY:
                    self._own(Deferred.fromCoroutine(self._tell(cell, change.function, False)))

    # Once a second.

    def _tick(self) -> None:
        self._ticker = self.reactor.callLater(_TICK, self._tick)
        now = self.reactor.seconds()
        self.quarantine.tick()
        self._ticks += 1
        if self._ticks % _ADDRESSES_EVERY == 0:
            self._follow_addresses()
        for slot in tuple(self._slots.values()):
            self._look_at(slot, now)
        self._promotions.tick()
        for account_id, version_id in hot(self._slots.values()):
            self._own(Deferred.fromCoroutine(self._promotions.promote(account_id, version_id)))
        if self._crowds.most > 1:
            self._spread(now)
        self._room.tick()

    def _look_at(self, slot: Slot, now: float) -> None:
        cell = slot.current
        if cell is None:
            if slot.forgettable(now) and slot.key not in self._crowds.members:
                del self._slots[slot.key]
                self._crowds.leave(slot)
            return
        if self._misplaced(slot):
            if slot.promoted is None or not _has_conversations(slot):
                slot.idle_out()
        elif slot.in_use(now):
            self._recycle(slot, cell)
        elif now - slot.last_used >= self.options.idle:
            slot.idle_out()

    def _spread(self, now: float) -> None:
        """
        Start one more cell where all are busy. Whoever is suspected of something has one alone.
        """
        firsts = [
            slot
            for slot in self._slots.values()
            if MARK not in slot.key and slot.sole not in self._apart
        ]
        for first in self._crowds.overloaded(firsts, now):
            self._log.info("{key} has too much to do: one more cell", key=first.key)
            make = partial(
                self._new_slot,
                account_id=first.account_id,
                sole=first.sole,
                promoted=first.promoted,
            )
            slot = self._crowds.sleeping(first) or self._crowds.join(first, make)
            slot.when_ready(lambda _: None)

    def _recycle(self, slot: Slot, cell: Cell) -> None:
        if slot.starting is not None or cell.age < self.options.recycle_age:
            return
        data = data_bytes(cell.pid)
        if data > self.options.recycle:
            self._log.info("{label} has {bytes} bytes: replaced", label=cell.label, bytes=data)
            if slot.sole is None:
                self.quarantine.cell_grew(slot.key, cell)
            self._own(slot.replace())

    def _own(self, work: "Deferred[Any]") -> None:
        over: Deferred[None] = Deferred()
        self._work.add(over)
        over.addCallback(lambda _: self._work.discard(over))
        work.addErrback(lambda failure: failure.trap(NoAnswer, Problem))
        work.addErrback(self._unexpected)
        work.addBoth(lambda _: over.callback(None))

    def _unexpected(self, failure: Failure) -> None:
        self._log.failure("work for a cell", failure=failure)


def _has_conversations(slot: Slot) -> bool:
    """
    Whether requests are in flight, which may be WebSockets that last for hours.
    """
    return slot.current is not None and slot.current.upstream.in_flight > 0


def _of_this_account(account_id: str, version: Promoted) -> bool:
    return version.account_id == account_id


def _status(slot: Slot, cell: Cell) -> CellStatus:
    return CellStatus(
        label=cell.label,
        key=slot.key,
        account_id=slot.account_id,
        function=slot.sole,
        state=cell.state.value,
        pid=cell.pid,
        in_flight=cell.upstream.in_flight,
        served=cell.upstream.served,
        loaded=cell.health.loaded,
        resident=resident_bytes(cell.pid),
        data=max(0, data_bytes(cell.pid) - RESERVED_DATA),
        age=cell.age,
    )


_check_cells: type[Cells] = Fleet
_check_gates: type[Gates] = Fleet
_check_keeper: type[Keeper] = Fleet
_check_notices: type[CellNotices] = Fleet
_check_owner: type[SlotOwner] = Fleet
