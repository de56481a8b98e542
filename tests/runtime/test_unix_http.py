"""Requests of the daemon's own to a cell that does not even let it connect."""

from pathlib import Path

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase

from workerd_faas.runtime.unix_http import Answer, NoAnswer, ask


class ConnectingTests(SynchronousTestCase):
    """
    While the connection is being made.
    """

    def setUp(self) -> None:
        """
        A question on its way.
        """
        self.reactor = MemoryReactorClock()
        asking = ask(self.reactor, Path("/cell/h"), {}, None, 1.0)
        self.asked: Deferred[Answer] = Deferred.fromCoroutine(asking)

    def test_time_out(self) -> None:
        """
        A connection that does not come about in time is no answer.
        """
        self.reactor.advance(1.0)
        self.failureResultOf(self.asked, NoAnswer)

    def test_cancelled(self) -> None:
        """
        Who takes the question back is told what everybody is told who does so.
        """
        self.asked.cancel()
        self.failureResultOf(self.asked, CancelledError)
