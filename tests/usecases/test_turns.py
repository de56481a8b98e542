"""Heavy work in turns."""

from twisted.internet.defer import CancelledError, Deferred
from twisted.trial.unittest import SynchronousTestCase

from workerd_faas.domain.errors import Kind, Problem
from workerd_faas.lifecycle import OwnedJobs
from workerd_faas.usecases.turns import Turns


class TurnsTests(SynchronousTestCase):
    """
    Who works and who waits.
    """

    def setUp(self) -> None:
        """
        Two at once, two of an account may wait.
        """
        self.turns = Turns(work=OwnedJobs(), at_once=2, queue=2)
        self.working: dict[str, Deferred[str]] = {}

    def begin(self, name: str) -> "Deferred[str]":
        """
        Work of the account that the name begins with; it works until `end` is called.
        """

        async def work() -> str:
            self.working[name] = Deferred()
            return await self.working[name]

        return Deferred.fromCoroutine(self.turns.run(name[0], work))

    def end(self, name: str) -> None:
        """
        The work is done.
        """
        self.working.pop(name).callback(name)

    def test_few_at_once(self) -> None:
        """
        A third account's work begins when one of the first two has ended.
        """
        first, _, third = (self.begin(name) for name in ("a", "b", "c"))
        self.assertEqual(set(self.working), {"a", "b"})
        self.end("a")
        self.assertEqual(self.successResultOf(first), "a")
        self.assertEqual(set(self.working), {"b", "c"})
        self.end("c")
        self.assertEqual(self.successResultOf(third), "c")

    def test_account_that_sends_many_waits_for_itself(self) -> None:
        """
        One account has one at work, and an account that comes later is not behind those that wait.
        """
        for name in ("a1", "a2", "a3", "b"):
            self.begin(name)
        self.assertEqual(set(self.working), {"a1", "b"})
        self.end("a1")
        self.assertEqual(set(self.working), {"a2", "b"})

    def test_too_many_of_an_account(self) -> None:
        """
        What an account sends beyond its queue is refused at once, and nobody else's is.
        """
        for name in ("a1", "a2", "a3"):
            self.begin(name)
        refused = self.failureResultOf(self.begin("a4"), Problem).value
        self.assertEqual(refused.kind, Kind.TOO_MANY_REQUESTS)
        self.begin("b")
        self.assertEqual(set(self.working), {"a1", "b"})
        self.end("a1")
        self.begin("a4")
        self.end("a2")
        self.end("a3")
        self.assertEqual(set(self.working), {"a4", "b"})

    def test_client_that_goes_while_it_waits(self) -> None:
        """
        Whoever is cancelled before its turn never works, whatever it waits for.
        """
        self.begin("a1")
        waits_for_its_account = self.begin("a2")
        self.begin("b")
        waits_for_all = self.begin("c1")
        behind_that_one = self.begin("c2")
        for cancelled in (waits_for_its_account, waits_for_all):
            cancelled.cancel()
            self.failureResultOf(cancelled, CancelledError)
        self.end("a1")
        self.assertEqual(set(self.working), {"b", "c2"})
        self.end("c2")
        self.assertEqual(self.successResultOf(behind_that_one), "c2")

    def test_client_that_goes_while_it_works(self) -> None:
        """
        The turn of a client that has gone lasts as long as its work.
        """
        gone = self.begin("a1")
        for name in ("a2", "b", "c"):
            self.begin(name)
        gone.cancel()
        self.failureResultOf(gone, CancelledError)
        self.assertEqual(set(self.working), {"a1", "b"})
        self.end("a1")
        self.assertEqual(set(self.working), {"b", "c"})

    def test_nothing_is_left(self) -> None:
        """
        Accounts are forgotten with their last work, also where it fails.
        """
        failing = self.begin("a1")
        self.begin("a2")
        self.working.pop("a1").errback(ValueError("wrong"))
        self.failureResultOf(failing, ValueError)
        self.end("a2")
        self.assertEqual(self.turns._accounts, {})
