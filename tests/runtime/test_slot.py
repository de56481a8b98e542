"""One tenant's slot with a clock in hand: who waits, who is told what, and when."""

from typing import Any

import attrs
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests.runtime.test_cell import FakeProber, FakeTransport
from workerd_faas.domain.errors import Kind, Problem
from workerd_faas.domain.upstream import Upstream
from workerd_faas.runtime.cell import Cell, Death, State, Times
from workerd_faas.runtime.process import Exit
from workerd_faas.runtime.slot import Slot
from workerd_faas.runtime.status import Usage


@attrs.define(eq=False)
class Maker:
    """
    Makes cells of fakes, if there is room.
    """

    clock: Clock
    room: bool = True
    cells: list[Cell] = attrs.Factory(list)
    deaths: list[Death] = attrs.Factory(list)

    def admit(self, slot: Slot) -> bool:
        """
        See `SlotOwner`.
        """
        return self.room

    def make_cell(self, slot: Slot) -> Cell:
        """
        See `SlotOwner`.
        """
        transport: Any = FakeTransport()
        name = f"cell {len(self.cells)}"
        cell = Cell(
            reactor=self.clock,
            label=name,
            upstream=Upstream(f"/run/{name}", name),
            times=Times(start=4, misses=0),
            prober=FakeProber(),
            spawn=lambda process: transport,
            owner=slot,
            look=lambda pid: Usage(),
        )
        self.cells.append(cell)
        return cell

    def slot_lost(self, slot: Slot, cell: Cell, death: Death) -> None:
        """
        See `SlotOwner`.
        """
        self.deaths.append(death)


class SlotCase(SynchronousTestCase):
    """
    A slot whose chance is always the middle.
    """

    def setUp(self) -> None:
        """
        Nobody waits yet.
        """
        self.clock = Clock()
        self.maker = Maker(self.clock)
        self.slot = Slot(
            key="k",
            account_id="k",
            reactor=self.clock,
            wait=10,
            owner=self.maker,
            chance=lambda: 0.5,
        )
        self.told: list[Upstream | Problem] = []

    def ask(self) -> Any:
        """
        One more waiter.
        """
        return self.slot.when_ready(self.told.append)

    def come_up(self) -> Cell:
        """
        The newest cell gets ready.
        """
        cell = self.maker.cells[-1]
        cell.process_listening("http")
        prober = cell.prober
        assert isinstance(prober, FakeProber)
        prober.answer()
        return cell

    def die(self, cell: Cell) -> None:
        """
        It is killed by somebody else.
        """
        cell.process_ended(Exit(None, 9))

    def problem(self) -> Problem:
        """
        What the last waiter was told.
        """
        told = self.told[-1]
        assert isinstance(told, Problem)
        self.assertIs(told.kind, Kind.UNAVAILABLE)
        return told


class WaitingTests(SlotCase):
    """
    Until there is a cell.
    """

    def test_all_who_wait_get_the_one_cell(self) -> None:
        """
        Waiters are told when the cell is ready, and those who left are not.
        """
        self.ask()
        leave = self.ask()
        self.ask()
        self.assertEqual(len(self.maker.cells), 1)
        leave()
        cell = self.come_up()
        self.assertEqual(self.told, [cell.upstream] * 2)
        leave()
        self.assertEqual(len(self.clock.getDelayedCalls()), 0)

    def test_waiting_has_a_bound(self) -> None:
        """
        Who has waited for ten seconds is told to come back, whatever goes on meanwhile.
        """
        self.maker.room = False
        self.ask()
        self.clock.advance(9.9)
        self.assertEqual(self.told, [])
        self.clock.advance(0.1)
        self.assertEqual(self.problem().retry_after, 1)

    def test_room_comes_free(self) -> None:
        """
        A cell that there was no room for is started when there is, if somebody still wants it.
        """
        self.maker.room = False
        leave = self.ask()
        self.maker.room = True
        leave()
        self.slot.admitted()
        self.assertEqual(self.maker.cells, [])
        self.ask()
        self.assertEqual(len(self.maker.cells), 1)

    def test_a_cell_that_dies_before_it_is_given(self) -> None:
        """
        A waiter who comes while a cell is there, and whose cell is gone a moment later, waits for
        the next one.
        """
        self.ask()
        first = self.come_up()
        self.ask()
        self.die(first)
        self.clock.advance(0)
        self.assertEqual(self.told, [first.upstream])
        second = self.come_up()
        self.assertEqual(self.told, [first.upstream, second.upstream])

    def test_a_wish_for_more_from_within(self) -> None:
        """
        Whoever is told and comes back at once with the next wish does not confuse the slot.
        """
        done: list[Any] = []

        def then(result: Upstream | Problem) -> None:
            self.slot.replace().addCallback(done.append)

        self.slot.when_ready(then)
        first = self.come_up()
        self.assertEqual((done, len(self.maker.cells)), ([], 2))
        second = self.come_up()
        self.assertEqual(done, [None])
        self.assertIs(self.slot.current, second)
        self.assertIs(first.state, State.DRAINING)


class FailingTests(SlotCase):
    """
    Cells that die.
    """

    def test_growing_delays_and_then_a_breaker(self) -> None:
        """
        Starts are spaced ever further apart; once the pause is longer than anybody waits, the
        answer is immediate and names the pause.
        """
        pauses = []
        for _ in range(10):
            before, pause = len(self.maker.cells), 0.0
            self.ask()
            while len(self.maker.cells) == before and pause < 10:
                self.clock.advance(0.1)
                pause += 0.1
            pauses.append(pause)
            if pause < 10:
                self.die(self.come_up())
        self.assertEqual(pauses, sorted(pauses))
        self.assertLess(sum(pauses[:4]), 1)
        self.assertGreaterEqual(pauses[-1], 10)
        self.assertIn("keeps failing", self.problem().message)
        self.assertGreaterEqual(self.problem().retry_after or 0, 10)
        cells = len(self.maker.cells)
        self.clock.advance(30)
        self.assertEqual(len(self.maker.cells), cells, "nobody wants one")
        self.ask()
        self.assertEqual(len(self.maker.cells), cells + 1)

    def test_idle_slots_do_not_restart(self) -> None:
        """
        A cell that dies while nobody wants it is not started again.
        """
        self.ask()
        self.die(self.come_up())
        self.clock.advance(100)
        self.assertEqual(len(self.maker.cells), 1)

    def test_a_retired_upstream_is_not_given(self) -> None:
        """
        From the moment its cell is being ended, an upstream is not given to anybody.
        """
        self.ask()
        cell = self.come_up()
        cell.upstream.begin()
        cell.retire()
        self.assertIsNone(self.slot.current)
        self.ask()
        self.assertEqual(len(self.maker.cells), 2)


class ReplacingTests(SlotCase):
    """
    Hot restart and the end.
    """

    def test_the_old_one_serves_when_the_new_one_fails(self) -> None:
        """
        A replacement that dies on its way is an error for who wanted it, and nothing else.
        """
        self.ask()
        old = self.come_up()
        replacing = self.slot.replace()
        self.die(self.maker.cells[-1])
        failure = self.failureResultOf(replacing)
        self.assertTrue(failure.check(Problem))
        self.assertIs(self.slot.current, old)
        self.assertFalse(old.upstream.retired)

    def test_stopping(self) -> None:
        """
        A slot that stops turns waiters away, drains its cells and is done when the last is gone.
        """
        self.ask()
        old = self.come_up()
        old.upstream.begin()
        replacing = self.slot.replace()
        self.ask()
        stopping = self.slot.stop()
        self.failureResultOf(replacing, Problem)
        self.clock.advance(0)
        self.assertIn("stopping", self.problem().message)
        self.assertEqual(self.told[0], old.upstream)
        self.die(self.maker.cells[-1])
        self.assertNoResult(stopping)
        self.die(old)
        self.successResultOf(stopping)
        self.ask()
        self.clock.advance(0)
        self.assertIn("stopping", self.problem().message)
        self.assertEqual(self.clock.getDelayedCalls(), [])
