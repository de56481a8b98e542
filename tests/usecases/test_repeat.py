"""Work that is done again and again."""

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from workerd_faas.usecases.repeat import Repeat


class RepeatTests(SynchronousTestCase):
    """
    Turns of ten seconds.
    """

    def setUp(self) -> None:
        """
        Work that takes until the test ends it.
        """
        self.clock = Clock()
        self.turns: list[Deferred[None]] = []
        self.cancelled = 0
        self.repeat = Repeat(reactor=self.clock, seconds=10, work=self.work, what="working")

    async def work(self) -> None:
        """
        One turn.
        """
        self.turns.append(Deferred())
        try:
            await self.turns[-1]
        except CancelledError:
            self.cancelled += 1
            raise

    def test_a_pause_begins_when_a_turn_has_ended(self) -> None:
        """
        However long a turn takes, there are never two, and the next comes after a whole pause.
        """
        self.repeat.start()
        self.clock.advance(9)
        self.assertEqual(len(self.turns), 0)
        self.clock.advance(1)
        self.clock.pump([10] * 5)
        self.assertEqual(len(self.turns), 1)
        self.turns[0].callback(None)
        self.clock.advance(9)
        self.assertEqual(len(self.turns), 1)
        self.clock.advance(1)
        self.assertEqual(len(self.turns), 2)

    def test_at_once(self) -> None:
        """
        The first turn may come without a pause.
        """
        self.repeat.start(now=True)
        self.clock.advance(0)
        self.assertEqual(len(self.turns), 1)

    def test_a_failure_is_logged_and_not_the_end(self) -> None:
        """
        After a turn that failed comes the next.
        """
        self.repeat.start(now=True)
        self.clock.advance(0)
        self.turns[0].errback(ZeroDivisionError("oh"))
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.clock.advance(10)
        self.assertEqual(len(self.turns), 2)

    def test_stopped_in_a_pause(self) -> None:
        """
        Nothing is done any more, and nothing waits in the reactor.
        """
        self.repeat.start()
        self.repeat.stop()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_stopped_in_a_turn(self) -> None:
        """
        The turn is cancelled without a word, and none follows.
        """
        self.repeat.start(now=True)
        self.clock.advance(0)
        self.repeat.stop()
        self.assertEqual(self.cancelled, 1)
        self.assertEqual(self.clock.getDelayedCalls(), [])
