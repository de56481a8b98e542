"""Live tails, without a network."""

from typing import Any

import attrs
import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests.logs.reports import ACCOUNT, NOW, OTHER, ROUTE, exception, invocation
from workerd_faas.domain.errors import Kind, Problem
from workerd_faas.domain.invocation import Invocation, loss
from workerd_faas.domain.routing import Route
from workerd_faas.testing.fakes import SteppingClock
from workerd_faas.usecases.logs.filters import TailFilters, read_filters
from workerd_faas.usecases.logs.tails import (
    CONNECT_SECONDS,
    ENDED,
    GOING_AWAY,
    LIFE_SECONDS,
    MAX_PER_ACCOUNT,
    MAX_PER_FUNCTION,
    MAX_WAITING,
    RESTARTING,
    Tails,
)

ALL = TailFilters()


@attrs.define(eq=False)
class Sink:
    """
    Keeps what it is sent.
    """

    is_full: bool = False
    sent: list[str] = attrs.Factory(list)
    closed: list[int] = attrs.Factory(list)

    def send(self, message: str) -> None:
        """
        See `TailSink.send`.
        """
        self.sent.append(message)

    def close(self, code: int, reason: str) -> None:
        """
        See `TailSink.close`.
        """
        self.closed.append(code)


class TailsTests(SynchronousTestCase):
    """
    Making, watching, ending.
    """

    def setUp(self) -> None:
        """
        No tails yet.
        """
        self.clock = Clock()
        self.changes: list[str] = []
        self.mapping: list[Deferred[str]] = []
        self.tails = Tails(
            reactor=self.clock,
            clock=SteppingClock(),
            shown=self.shown,
            changed=self.changes.append,
        )

    async def shown(self, found: Invocation) -> str:
        """
        Stack traces take a while.
        """
        waiting: Deferred[str] = Deferred()
        self.mapping.append(waiting)
        return await waiting

    def connected(self, function: str = "talker", **filters: Any) -> tuple[Any, Sink]:
        """
        A connected tail.
        """
        read = read_filters({"filters": [filters]} if filters else {}, client_ip=None)
        tail = self.tails.create(ACCOUNT, function, read)
        sink = Sink()
        connection = self.tails.connect(tail.id, tail.token, sink)
        assert connection is not None
        return connection, sink

    def test_only_the_watched_function_is_shown(self) -> None:
        """
        A tail shows its own function of its own account, and what its filters let through.
        """
        _, everything = self.connected()
        _, filtered = self.connected(query="second")
        self.assertEqual(list(self.tails.tailed(ACCOUNT)), ["talker"])
        self.assertEqual(list(self.tails.tailed(OTHER)), [])
        self.assertEqual(list(self.tails.tailed(None)), ["talker"])
        first, second = invocation("first"), invocation("second")
        self.tails.publish(first)
        self.tails.publish(second)
        self.tails.publish(invocation("third", route=Route(ACCOUNT, "other", "v")))
        self.tails.publish(invocation("fourth", route=Route(OTHER, "talker", "v")))
        self.assertEqual(everything.sent, [first.document, second.document])
        self.assertEqual(filtered.sent, [second.document])

    def test_losses_pass_all_filters(self) -> None:
        """
        That something was dropped is told to everybody who watches.
        """
        _, sink = self.connected(query="never")
        lost = loss(ROUTE, invocations=1, dropped_lines=0, now=NOW)
        self.tails.publish(lost, always=True)
        self.assertEqual(sink.sent, [lost.document])

    def test_a_token_is_good_once_and_for_its_tail(self) -> None:
        """
        A wrong token, a used one and one for another tail connect nobody.
        """
        first = self.tails.create(ACCOUNT, "talker", ALL)
        second = self.tails.create(ACCOUNT, "talker", ALL)
        self.assertNotEqual(first.token, second.token)
        self.assertNotIn(first.token, repr(first))
        self.assertIsNone(self.tails.connect(first.id, "wrong", Sink()))
        self.assertIsNone(self.tails.connect(first.id, second.token, Sink()))
        self.assertIsNotNone(self.tails.connect(first.id, first.token, Sink()))
        self.assertIsNone(self.tails.connect(first.id, first.token, Sink()))

    def test_times_end(self) -> None:
        """
        A tail that nobody connects to ends soon, a connected one when its time is over.
        """
        _, sink = self.connected()
        unused = self.tails.create(ACCOUNT, "talker", ALL)
        self.clock.advance(CONNECT_SECONDS)
        self.assertEqual(len(self.tails.tails(ACCOUNT)), 1)
        self.assertIsNone(self.tails.connect(unused.id, unused.token, Sink()))
        self.clock.advance(LIFE_SECONDS)
        self.assertEqual(sink.closed, [GOING_AWAY])
        self.assertEqual(self.tails.tails(ACCOUNT), [])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_ends(self) -> None:
        """
        Deleted by its account, with its function, with the daemon, by its client: over each time,
        and never by another account.
        """
        gone, sink = self.connected()
        self.tails.delete(OTHER, "talker", gone.tail.id)
        self.tails.delete(ACCOUNT, "other", gone.tail.id)
        self.assertEqual(sink.closed, [])
        self.tails.delete(ACCOUNT, "talker", gone.tail.id)
        self.tails.delete(ACCOUNT, "talker", gone.tail.id)
        self.assertEqual(sink.closed, [ENDED])
        _, sink = self.connected()
        self.tails.function_removed(OTHER, "talker")
        self.assertEqual(sink.closed, [])
        self.tails.function_removed(ACCOUNT, "talker")
        self.assertEqual(sink.closed, [ENDED])
        _, sink = self.connected()
        self.successResultOf(Deferred.fromCoroutine(self.tails.stop()))
        self.assertEqual(sink.closed, [RESTARTING])
        connection, sink = self.connected()
        connection.lost()
        self.assertEqual(sink.closed, [])
        self.assertEqual(list(self.tails.tailed(None)), [])
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertEqual(self.changes, [ACCOUNT] * 8)

    def test_the_number_is_bounded(self) -> None:
        """
        A function and an account can have only so many tails; other accounts can have theirs.
        """
        for _ in range(MAX_PER_FUNCTION):
            self.tails.create(ACCOUNT, "talker", ALL)
        with pytest.raises(Problem) as caught:
            self.tails.create(ACCOUNT, "talker", ALL)
        self.assertIs(caught.value.kind, Kind.TOO_MANY_REQUESTS)
        for number in range(MAX_PER_ACCOUNT - MAX_PER_FUNCTION):
            self.tails.create(ACCOUNT, f"f{number}", ALL)
        with pytest.raises(Problem):
            self.tails.create(ACCOUNT, "one-more", ALL)
        self.tails.create(OTHER, "talker", ALL)

    def test_a_slow_reader_is_told_what_it_missed(self) -> None:
        """
        What a full sink does not take waits, up to a bound; the rest is counted, and said when it
        reads on.
        """
        connection, sink = self.connected()
        sink.is_full = True
        for number in range(MAX_WAITING + 7):
            self.tails.publish(invocation(number))
        self.assertEqual(sink.sent, [])
        sink.is_full = False
        connection.resume()
        self.assertEqual(len(sink.sent), MAX_WAITING + 1)
        self.assertIn('"droppedInvocations":7', sink.sent[-1])
        self.tails.publish(invocation("after"))
        self.assertIn("after", sink.sent[-1])

    def test_large_events_of_a_slow_reader_are_bounded_too(self) -> None:
        """
        Not only their number counts.
        """
        connection, sink = self.connected()
        sink.is_full = True
        for _ in range(40):
            self.tails.publish(invocation("x" * 300_000))
        waiting = sum(len(each.document) for each in connection.waiting)
        self.assertLess(waiting, 5 << 20)
        self.assertGreater(connection.missed, 20)

    def test_order_is_kept_while_a_stack_is_read(self) -> None:
        """
        Events after one whose stack trace takes a while wait for it.
        """
        _, sink = self.connected()
        self.tails.publish(invocation("broken", exceptions=[exception()]))
        self.tails.publish(invocation("later"))
        self.assertEqual(sink.sent, [])
        self.mapping.pop().callback("mapped")
        self.assertEqual(sink.sent[0], "mapped")
        self.assertIn("later", sink.sent[1])

    def test_a_tail_may_end_while_a_stack_is_read(self) -> None:
        """
        Then nothing is sent any more.
        """
        connection, sink = self.connected()
        self.tails.publish(invocation("broken", exceptions=[exception()]))
        connection.lost()
        self.mapping.pop().callback("mapped")
        self.assertEqual(sink.sent, [])
