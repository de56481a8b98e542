"""Where reports go."""

from collections.abc import Sequence
from typing import Any

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.logger import ILogObserver, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import provider

from tests.logs.reports import ACCOUNT, NOW, ROUTE, trace
from workerd_faas.domain.errors import Kind, Problem
from workerd_faas.domain.invocation import Invocation
from workerd_faas.domain.log_query import LogPage, LogQuery
from workerd_faas.testing.fakes import SteppingClock
from workerd_faas.usecases.logs.filters import TailFilters
from workerd_faas.usecases.logs.journal import GATHER_SECONDS, FunctionLog
from workerd_faas.usecases.logs.tails import Tails


@attrs.define
class Kept:
    """
    A store in memory.
    """

    kept: list[Invocation] = attrs.Factory(list)
    forgotten: list[tuple[str, str]] = attrs.Factory(list)
    broken: bool = False

    def keep(self, invocation: Invocation) -> None:
        """
        See `LogStore.keep`.
        """
        self.kept.append(invocation)

    async def query(self, query: LogQuery) -> LogPage:
        """
        See `LogStore.query`.
        """
        return LogPage((), None)

    async def forget(self, account_id: str, function: str) -> None:
        """
        See `LogStore.forget`.
        """
        if self.broken:
            raise Problem(kind=Kind.UNAVAILABLE, message="not now")
        self.forgotten.append((account_id, function))


@attrs.define(eq=False)
class Sink:
    """
    Keeps what it is sent.
    """

    is_full: bool = False
    sent: list[str] = attrs.Factory(list)

    def send(self, message: str) -> None:
        """
        See `TailSink.send`.
        """
        self.sent.append(message)

    def close(self, code: int, reason: str) -> None:
        """
        See `TailSink.close`.
        """


class JournalTests(SynchronousTestCase):
    """
    To those who watch, to the store, to the daemon's own log.
    """

    def setUp(self) -> None:
        """
        One watcher.
        """
        self.clock = Clock()
        self.store = Kept()

        async def shown(invocation: Invocation) -> str:
            return invocation.document

        self.tails = Tails(reactor=self.clock, clock=SteppingClock(), shown=shown)
        tail = self.tails.create(ACCOUNT, "talker", TailFilters())
        self.sink = Sink()
        self.tails.connect(tail.id, tail.token, self.sink)
        self.printed: list[str] = []

        @provider(ILogObserver)
        def observe(event: dict[str, Any]) -> None:
            self.printed.append(str(event))

        globalLogPublisher.addObserver(observe)
        self.addCleanup(globalLogPublisher.removeObserver, observe)
        self.log = self.journal()

    def journal(self, *, echo: bool = False) -> FunctionLog:
        """
        What is tested.
        """
        return FunctionLog(
            reactor=self.clock,
            clock=SteppingClock(),
            tails=self.tails,
            store=self.store,
            echo=echo,
        )

    def test_only_what_says_something_is_kept(self) -> None:
        """
        A silent invocation is shown to those who watch and kept by nobody; one that did not end
        well is kept even when it said nothing.
        """
        self.log.invocation(ROUTE, trace(), NOW)
        self.assertEqual(len(self.sink.sent), 1)
        self.assertEqual(self.store.kept, [])
        self.log.invocation(ROUTE, trace("x"), NOW)
        self.log.invocation(ROUTE, trace(outcome="canceled"), NOW)
        self.assertEqual([each.outcome for each in self.store.kept], ["ok", "canceled"])
        self.assertEqual(len(self.sink.sent), 3)

    def test_losses_are_added_up_and_said(self) -> None:
        """
        However often something is lost, it is said once a second: shown, kept, and logged.
        """
        for _ in range(1000):
            self.log.lost(ROUTE, 2, 30)
        self.log.invocation(ROUTE, trace(float("nan")), NOW)
        self.assertEqual(self.store.kept, [])
        self.clock.advance(GATHER_SECONDS)
        (event,) = self.store.kept
        self.assertIn("2001 invocations and 30000 lines", event.text)
        self.assertEqual(len(self.sink.sent), 1)
        self.assertIn('"type":"overload"', self.sink.sent[0])
        self.log.lost(ROUTE, 1, 0)
        self.successResultOf(Deferred.fromCoroutine(self.log.stop()))
        self.assertEqual(len(self.store.kept), 2)

    def test_the_daemons_own_log_tells_nothing(self) -> None:
        """
        What functions print is nowhere in the daemon's log, unless a developer wants it there; then
        it cannot forge lines.
        """
        said = trace("s3cret\x1b[2J\n2026-11-24 forged")
        self.log.invocation(ROUTE, said, NOW)
        self.assertFalse([line for line in self.printed if "s3cret" in line])
        self.journal(echo=True).invocation(ROUTE, said, NOW)
        (line,) = (line for line in self.printed if "s3cret" in line)
        self.assertIn(r"s3cret\\x1b[2J\\n2026-11-24 forged", line)

    def test_a_deleted_function_is_forgotten(self) -> None:
        """
        Its tails end and its log goes; a store that fails at that fails nothing else.
        """
        self.successResultOf(Deferred.fromCoroutine(self.log.forget(ACCOUNT, "talker")))
        self.assertEqual(self.store.forgotten, [(ACCOUNT, "talker")])
        self.assertEqual(self.watched(), [])
        self.store.broken = True
        self.successResultOf(Deferred.fromCoroutine(self.log.forget(ACCOUNT, "talker")))

    def watched(self) -> Sequence[str]:
        """
        What cells are told to report in full.
        """
        return self.log.tailed(ACCOUNT)
