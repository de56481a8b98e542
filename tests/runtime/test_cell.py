"""One cell's life with a clock in hand: no processes."""

from typing import Any

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.error import ProcessExitedAlready
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from workerd_faas.domain.upstream import Upstream
from workerd_faas.runtime.cell import Cause, Cell, Death, State, Times
from workerd_faas.runtime.cpu import CpuLimit, CpuMeter
from workerd_faas.runtime.probe import Health
from workerd_faas.runtime.process import Exit, ProcessOwner
from workerd_faas.runtime.status import Usage
from workerd_faas.runtime.unix_http import NoAnswer

TIMES = Times(start=10, ping=1, misses=2, drain=30, stop=5)


@attrs.define
class FakeTransport:
    """
    Remembers signals; `gone`: the process has ended but nobody has been told.
    """

    pid: int = 42
    signals: list[str] = attrs.Factory(list)
    gone: bool = False

    def signalProcess(self, name: str) -> None:
        """
        See `IProcessTransport`.
        """
        if self.gone:
            raise ProcessExitedAlready
        self.signals.append(name)


@attrs.define
class FakeProber:
    """
    Questions wait until the test answers them.
    """

    asked: "list[Deferred[Health]]" = attrs.Factory(list)
    cancelled: int = 0

    def probe(self) -> "Deferred[Health]":
        """
        See `Prober`.
        """
        question: Deferred[Health] = Deferred(self._cancel)
        self.asked.append(question)
        return question

    def forget(self, version_id: str) -> "Deferred[None]":
        """
        Never asked here.
        """
        raise NotImplementedError

    def changed(self, function: str, reload: bool) -> "Deferred[None]":
        """
        Never asked here.
        """
        raise NotImplementedError

    def warm(self, version_id: str, function: str) -> "Deferred[None]":
        """
        Never asked here.
        """
        raise NotImplementedError

    def _cancel(self, question: "Deferred[Health]") -> None:
        self.cancelled += 1

    def answer(self, pending: int = 0) -> None:
        """
        The router answers the last question.
        """
        self.asked.pop().callback(Health(pending=pending))

    def fail(self) -> None:
        """
        The last question gets no answer in time.
        """
        self.asked.pop().errback(NoAnswer("late"))


@attrs.define(eq=False)
class Setting:
    """
    A cell and everything around it, faked.
    """

    times: Times = TIMES
    spawn_error: OSError | None = None
    clock: Clock = attrs.Factory(Clock)
    transport: FakeTransport = attrs.Factory(FakeTransport)
    prober: FakeProber = attrs.Factory(FakeProber)
    usage: Usage = attrs.Factory(lambda: Usage("S", 1.0, 4096))
    upstream: Upstream = attrs.Factory(lambda: Upstream("/run/h", "cell"))
    ready: int = 0
    deaths: list[Death] = attrs.Factory(list)
    cell: Cell = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        """
        Make and start the cell.
        """
        self.cell = Cell(
            reactor=self.clock,
            label="cell",
            upstream=self.upstream,
            times=self.times,
            prober=self.prober,
            spawn=self._spawn,
            owner=self,
            look=lambda pid: self.usage,
        )
        self.cell.start()

    def _spawn(self, process: ProcessOwner) -> Any:
        if self.spawn_error is not None:
            raise self.spawn_error
        return self.transport

    def cell_ready(self, cell: Cell) -> None:
        """
        See `CellOwner`.
        """
        self.ready += 1

    def cell_died(self, cell: Cell, death: Death) -> None:
        """
        See `CellOwner`.
        """
        self.deaths.append(death)

    def get_ready(self) -> None:
        """
        Announced and answered.
        """
        self.cell.process_listening("http")
        self.prober.answer()

    def end(self, code: int | None = 0, signal: int | None = None) -> None:
        """
        The process is gone.
        """
        self.cell.process_ended(Exit(code, signal))


class StartingTests(SynchronousTestCase):
    """
    Until it is ready.
    """

    def test_ready_takes_both(self) -> None:
        """
        Neither the announcement of the socket nor its own idea makes a cell ready: the router's
        answer does.
        """
        s = Setting()
        self.assertEqual((s.ready, len(s.prober.asked)), (0, 0))
        s.cell.process_listening("other")
        self.assertEqual(len(s.prober.asked), 0)
        s.cell.process_listening("http")
        s.cell.process_listening("http")
        self.assertEqual((s.ready, len(s.prober.asked)), (0, 1))
        s.prober.fail()
        self.assertEqual((s.ready, s.cell.state), (0, State.STARTING))
        s.clock.advance(0.02)
        s.prober.answer()
        self.assertEqual((s.ready, s.cell.state), (1, State.READY))
        self.assertFalse(s.upstream.retired)

    def test_not_ready_in_time(self) -> None:
        """
        A process that is not ready at the deadline is killed, and its death says so.
        """
        s = Setting()
        s.clock.advance(9.9)
        self.assertEqual(s.transport.signals, [])
        s.clock.advance(0.2)
        self.assertEqual(s.transport.signals, ["KILL"])
        self.assertTrue(s.upstream.retired)
        s.end(None, 9)
        [death] = s.deaths
        self.assertEqual((death.cause, death.lived), (Cause.NOT_STARTED, None))

    def test_ready_ends_the_deadline(self) -> None:
        """
        The start's deadline does not touch a cell that is ready.
        """
        s = Setting(times=attrs.evolve(TIMES, misses=0))
        s.get_ready()
        s.clock.advance(100)
        self.assertEqual(s.transport.signals, [])

    def test_spawn_failure_is_a_death(self) -> None:
        """
        When no process can be made the owner is told later, never inside `start`, and once.
        """
        s = Setting(spawn_error=OSError(24, "Too many open files"))
        self.assertEqual(s.deaths, [])
        s.clock.advance(0)
        [death] = s.deaths
        self.assertEqual((death.cause, death.how), (Cause.SPAWN_FAILED, None))
        self.assertIn("Too many open files", death.last_words[0])
        s.cell.kill(Cause.ASKED)
        s.clock.advance(100)
        self.assertEqual(len(s.deaths), 1)
        self.assertEqual(s.clock.getDelayedCalls(), [])

    def test_death_while_starting(self) -> None:
        """
        A process that ends before it was ready has crashed; its last words are kept.
        """
        s = Setting()
        s.cell.process_listening("http")
        for n in range(50):
            s.cell.process_said(f"line {n}")
        s.end(1)
        [death] = s.deaths
        self.assertEqual((death.cause, death.lived), (Cause.CRASHED, None))
        self.assertEqual((len(death.last_words), death.last_words[-1]), (20, "line 49"))
        self.assertEqual(s.prober.cancelled, 1)
        self.assertEqual(s.clock.getDelayedCalls(), [])

    def test_retired_while_starting(self) -> None:
        """
        A cell that is not wanted any more is ended at once.
        """
        s = Setting()
        s.cell.retire()
        self.assertEqual((s.cell.state, s.transport.signals), (State.STOPPING, ["TERM"]))
        s.end()
        self.assertEqual(s.deaths[0].cause, Cause.ASKED)


class WatchTests(SynchronousTestCase):
    """
    While it serves.
    """

    def setUp(self) -> None:
        """
        A ready cell.
        """
        self.s = Setting()
        self.s.get_ready()

    def test_it_is_asked_again_and_again(self) -> None:
        """
        Every second there is one question, and never two at once.
        """
        for _ in range(5):
            self.s.clock.advance(1)
            self.assertEqual(len(self.s.prober.asked), 1)
            self.s.clock.advance(5)
            self.assertEqual(len(self.s.prober.asked), 1)
            self.s.prober.answer(pending=3)
        self.assertEqual(self.s.cell.health.pending, 3)

    def test_one_miss_is_forgiven(self) -> None:
        """
        Only misses running count.
        """
        for _ in range(4):
            self.s.clock.advance(1)
            self.s.prober.fail()
            self.s.clock.advance(1)
            self.s.prober.answer()
        self.assertEqual(self.s.cell.state, State.READY)

    def test_two_misses_kill(self) -> None:
        """
        Two misses running are a hang: SIGKILL, nothing else, and the requests lost are counted.
        """
        self.s.upstream.begin()
        for _ in range(2):
            self.s.clock.advance(1)
            self.s.prober.fail()
        self.assertEqual(self.s.transport.signals, ["KILL"])
        self.assertTrue(self.s.upstream.retired)
        self.s.end(None, 9)
        [death] = self.s.deaths
        self.assertEqual((death.cause, death.in_flight), (Cause.HUNG, 1))
        self.assertEqual(death.resident, 4096)
        self.assertEqual(str(death.how), "signal SIGKILL")

    def test_what_nobody_expected_is_a_miss(self) -> None:
        """
        A question that fails in another way is logged and counts as one without an answer: the
        watch goes on.
        """
        for _ in range(2):
            self.s.clock.advance(1)
            self.s.prober.asked.pop().errback(ZeroDivisionError())
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 2)
        self.assertEqual(self.s.transport.signals, ["KILL"])

    def test_when_it_is_asked(self) -> None:
        """
        One in use is asked more often, one that has not answered at once, but never before the time
        for an answer is over, even if it was refused at once.
        """
        self.s.clock.advance(0.74)
        self.assertEqual(len(self.s.prober.asked), 0)
        self.s.clock.advance(0.01)
        self.s.upstream.begin("f")
        self.s.upstream.end()
        self.s.prober.answer()
        self.s.clock.advance(0.5)
        self.s.prober.fail()
        self.s.clock.advance(0.99)
        self.assertEqual(len(self.s.prober.asked), 0)
        self.s.clock.advance(0.01)
        self.assertEqual(len(self.s.prober.asked), 1)
        self.s.clock.advance(1)
        self.s.prober.fail()
        self.assertEqual(self.s.transport.signals, ["KILL"])

    def test_suspects(self) -> None:
        """
        Whoever has run since the last sign of life is a likely suspect, as is whoever has requests
        in flight or had something pending then; who has run in the last minute is one too.
        """
        upstream, clock = self.s.upstream, self.s.clock

        def alive(*busy: str) -> None:
            clock.advance(1)
            self.s.prober.asked.pop().callback(Health(busy=busy))

        alive()
        upstream.begin("over")
        upstream.end()
        upstream.begin()
        self.assertEqual(self.s.cell.suspects, {"over": True})
        alive("later")
        self.assertEqual(self.s.cell.suspects, {"over": False, "later": True})
        upstream.witnesses[self] = lambda asked: ["long"] if asked is upstream else []
        upstream.begin("new")
        self.assertEqual(
            self.s.cell.suspects, {"over": False, "later": True, "long": True, "new": True}
        )
        for _ in range(29):
            alive()
        self.assertEqual(self.s.cell.suspects, {"over": False, "new": False, "long": True})
        for _ in range(32):
            alive()
        self.assertEqual(self.s.cell.suspects, {"long": True})

    def test_too_much_cpu_time(self) -> None:
        """
        A process that has more CPU time in a window than its share and its requests' is killed,
        however well it answers.
        """
        self.s.cell.cpu = CpuMeter(CpuLimit(seconds=5, window=10, request=1))
        for second in range(20):
            # As much as it may, in each window, for two requests.
            self.s.upstream.served += 2 if second % 10 == 5 else 0
            self.s.usage = Usage("R", second * 0.7, 4096)
            self.s.clock.advance(1)
            self.s.prober.answer()
        self.assertEqual(self.s.transport.signals, [])
        for second in range(10):
            self.s.usage = Usage("R", 14 + second * 0.7, 4096)
            self.s.clock.advance(1)
            if self.s.prober.asked:
                self.s.prober.answer()
        self.assertEqual(self.s.transport.signals, ["KILL"])
        self.s.end(None, 9)
        self.assertEqual(self.s.deaths[0].cause, Cause.OVER_CPU)

    def miss(self, times: int) -> None:
        """
        So many questions without an answer.
        """
        for _ in range(times):
            self.s.clock.advance(1)
            self.s.prober.fail()

    def test_a_starved_process_is_given_time(self) -> None:
        """
        A process that wants to run and is not let is not killed for it, up to a bound.
        """
        self.s.usage = Usage("R", 1.1, 4096)
        self.miss(9)
        self.assertEqual(self.s.transport.signals, [])
        self.miss(1)
        self.assertEqual(self.s.transport.signals, ["KILL"])

    def test_a_spinning_process_is_not_starved(self) -> None:
        """
        A process that has run for half a second without answering hangs.
        """
        self.s.usage = Usage("R", 1.5, 4096)
        self.miss(2)
        self.assertEqual(self.s.transport.signals, ["KILL"])

    def test_a_stopped_process_is_not_starved(self) -> None:
        """
        A process that does not want to run and does not answer hangs.
        """
        self.s.usage = Usage("T", 1.0, 4096)
        self.miss(2)
        self.assertEqual(self.s.transport.signals, ["KILL"])

    def test_a_crash(self) -> None:
        """
        A process that ends by itself retires its upstream and says how long it lived.
        """
        self.s.clock.advance(3)
        self.s.end(None, 5)
        [death] = self.s.deaths
        self.assertEqual((death.cause, death.lived), (Cause.CRASHED, 3))
        self.assertTrue(self.s.upstream.retired)
        self.assertEqual(self.s.clock.getDelayedCalls(), [])

    def test_kill_of_the_dead(self) -> None:
        """
        A process that has ended without our knowing it yet can be signalled in peace.
        """
        self.s.transport.gone = True
        self.s.cell.kill(Cause.OVER_LIMIT)
        self.s.end(1)
        self.assertEqual(self.s.deaths[0].cause, Cause.OVER_LIMIT)
        self.s.cell.kill(Cause.ASKED)
        self.assertEqual(self.s.cell.state, State.DEAD)


class DrainingTests(SynchronousTestCase):
    """
    After retirement.
    """

    def setUp(self) -> None:
        """
        A ready cell with a request in flight.
        """
        self.s = Setting()
        self.s.get_ready()
        self.s.upstream.begin()
        self.s.cell.retire()

    def test_waits_for_requests_and_then_for_work(self) -> None:
        """
        SIGTERM comes only when nothing is in flight and the router has nothing pending.
        """
        self.s.clock.advance(1)
        self.s.prober.answer(pending=1)
        self.s.upstream.end()
        self.assertEqual(self.s.transport.signals, [])
        self.s.clock.advance(0.1)
        self.s.prober.answer(pending=1)
        self.s.clock.advance(0.1)
        self.assertEqual(self.s.transport.signals, [])
        self.s.prober.answer(pending=0)
        self.assertEqual(self.s.transport.signals, ["TERM"])
        self.s.end()
        self.assertEqual(self.s.deaths[0].cause, Cause.ASKED)

    def test_an_answer_to_an_old_question_does_not_count(self) -> None:
        """
        What the router said while a request was on its way to it says nothing of that request.
        """
        self.s.clock.advance(1)
        self.s.upstream.end()
        self.s.prober.answer(pending=0)
        self.assertEqual(self.s.transport.signals, [])
        self.s.clock.advance(0.1)
        self.s.prober.answer(pending=0)
        self.assertEqual(self.s.transport.signals, ["TERM"])

    def test_the_bound(self) -> None:
        """
        After 30 seconds conversations are told to end, after 3 more SIGTERM comes all the same, and
        after another 5 SIGKILL.
        """
        told: list[bool] = []
        self.s.upstream.when_last_called(lambda: told.append(True))
        for _ in range(29):
            self.s.clock.advance(1)
            self.s.prober.answer(pending=1)
        self.assertEqual((told, self.s.transport.signals), ([], []))
        self.s.clock.advance(1)
        self.s.prober.answer(pending=1)
        self.assertEqual((told, self.s.transport.signals), ([True], []))
        self.s.clock.advance(3)
        self.assertEqual(self.s.transport.signals, ["TERM"])
        self.s.clock.advance(5)
        self.assertEqual(self.s.transport.signals, ["TERM", "KILL"])
        self.s.end(None, 9)
        self.assertEqual(self.s.deaths[0].cause, Cause.ASKED)
        self.assertEqual(self.s.clock.getDelayedCalls(), [])

    def test_a_hang_while_draining(self) -> None:
        """
        A cell that hangs is killed without waiting for the bound.
        """
        for _ in range(2):
            self.s.clock.advance(1)
            self.s.prober.fail()
        self.assertEqual(self.s.transport.signals, ["KILL"])

    def test_retire_again(self) -> None:
        """
        A second retirement changes nothing.
        """
        self.s.clock.advance(20)
        self.s.cell.retire()
        self.s.clock.advance(10)
        self.s.clock.advance(3)
        self.assertEqual(self.s.transport.signals, ["TERM"])
