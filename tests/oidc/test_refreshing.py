"""Documents that are fetched when needed and kept for a while."""

from typing import Any

import attrs
import pytest
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from workerd_faas.oidc.refreshing import Refreshing


@attrs.define
class Source:
    """
    Something to fetch, whose every fetch ends when the test says so.
    """

    fetches: list[Deferred[str]] = attrs.Factory(list)

    async def fetch(self) -> str:
        """
        A fetch that is under way.
        """
        self.fetches.append(Deferred())
        return await self.fetches[-1]


class RefreshingTests(SynchronousTestCase):
    """
    One fetch for many askers.
    """

    def setUp(self) -> None:
        """
        A value that is good for 100 seconds and renewed at most every 30.
        """
        self.clock, self.source = Clock(), Source()
        self.kept: Refreshing[str] = Refreshing(
            self.clock, self.source.fetch, max_age=100, renew_spacing=30
        )

    def ask(self) -> Deferred[str]:
        """
        Ask for the value.
        """
        return Deferred.fromCoroutine(self.kept.get())

    def renew(self) -> Deferred[str | None]:
        """
        Ask for a new value.
        """
        return Deferred.fromCoroutine(self.kept.renewed())

    def test_everybody_gets_the_outcome_of_one_fetch(self) -> None:
        """
        Three askers, one fetch, the same value for all, and none for a fourth.
        """
        asking = [self.ask() for _ in range(3)]
        self.source.fetches[0].callback("a")
        self.assertEqual([self.successResultOf(each) for each in asking], ["a"] * 3)
        self.assertEqual(self.successResultOf(self.ask()), "a")
        self.assertEqual(len(self.source.fetches), 1)

    def test_an_asker_that_goes_away_takes_nothing_from_the_others(self) -> None:
        """
        Cancelling one waiter leaves the fetch and the other waiter alone.
        """
        first, second = self.ask(), self.ask()
        first.cancel()
        self.failureResultOf(first, CancelledError)
        self.source.fetches[0].callback("a")
        self.assertEqual(self.successResultOf(second), "a")

    def test_a_fetch_goes_on_without_askers(self) -> None:
        """
        What was fetched for somebody who left is there for the next one.
        """
        asking = self.ask()
        asking.cancel()
        self.failureResultOf(asking, CancelledError)
        self.source.fetches[0].callback("a")
        self.assertEqual(self.successResultOf(self.ask()), "a")

    def test_a_value_gets_old(self) -> None:
        """
        After its age it is fetched anew.
        """
        asking = self.ask()
        self.source.fetches[0].callback("a")
        self.successResultOf(asking)
        self.clock.advance(99)
        self.assertEqual(self.successResultOf(self.ask()), "a")
        self.clock.advance(1)
        asking = self.ask()
        self.assertNoResult(asking)
        self.source.fetches[1].callback("b")
        self.assertEqual(self.successResultOf(asking), "b")

    def test_a_failure_reaches_all_and_is_remembered_for_a_second(self) -> None:
        """
        Askers within the second get the same failure without a fetch, later ones a new try.
        """
        asking = [self.ask(), self.ask()]
        self.source.fetches[0].errback(KeyError("x"))
        for each in [*asking, self.ask()]:
            self.failureResultOf(each, KeyError)
        self.assertEqual(len(self.source.fetches), 1)
        self.clock.advance(1)
        again = self.ask()
        self.source.fetches[1].callback("a")
        self.assertEqual(self.successResultOf(again), "a")

    def test_renewals_keep_their_distance(self) -> None:
        """
        A second renewal within 30 seconds is not made, however the first one ended.
        """
        renewing = self.renew()
        self.source.fetches[0].errback(KeyError("x"))
        self.failureResultOf(renewing, KeyError)
        self.clock.advance(29)
        self.assertIsNone(self.successResultOf(self.renew()))
        self.clock.advance(1)
        renewing = self.renew()
        self.source.fetches[1].callback("a")
        self.assertEqual(self.successResultOf(renewing), "a")

    def test_a_failed_renewal_keeps_what_there_is(self) -> None:
        """
        The value of before is still given.
        """
        asking = self.ask()
        self.source.fetches[0].callback("a")
        self.successResultOf(asking)
        renewing = self.renew()
        self.source.fetches[1].errback(KeyError("x"))
        self.failureResultOf(renewing, KeyError)
        self.assertEqual(self.successResultOf(self.ask()), "a")

    def test_stopping_gives_up_the_fetch(self) -> None:
        """
        Whoever waits is told, and stopping again does nothing.
        """
        asking = self.ask()
        self.kept.stop()
        self.failureResultOf(asking, CancelledError)
        self.kept.stop()


def test_a_fetch_that_ends_at_once_is_no_special_case() -> None:
    """
    A value that needs no waiting is given without waiting.
    """

    async def fetch() -> str:
        return "a"

    kept = Refreshing(Clock(), fetch, max_age=1, renew_spacing=1)
    coroutine: Any = kept.get()
    with pytest.raises(StopIteration) as stopped:
        coroutine.send(None)
    assert stopped.value.value == "a"
