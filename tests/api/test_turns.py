"""Uploads that come all at once."""

from collections import Counter

import attrs
from twisted.internet.defer import Deferred, gatherResults

from tests.api.platform import ESM, PlatformTestCase
from workerd_faas.domain.model import CheckReport, Code
from workerd_faas.usecases.ports import Checker


@attrs.define
class CountingChecker:
    """
    Accepts everything, and counts how many checks there are at once.

    Attributes:
        most: The most at once, by who sent it and (`""`) by all together.
    """

    most: Counter[str] = attrs.Factory(Counter)
    _now: Counter[str] = attrs.Factory(Counter)

    async def check(self, function: str, code: Code, account_id: str = "") -> CheckReport:
        """
        See `Checker`.
        """
        who = function.partition("-")[0]
        for counted in ("", who):
            self._now[counted] += 1
            self.most[counted] = max(self.most[counted], self._now[counted])
        await _turn()
        self._now.subtract(("", who))
        return CheckReport(handlers=("fetch",), startup_ms=1)


async def _turn() -> None:
    from twisted.internet import reactor

    later: Deferred[None] = Deferred()
    reactor.callLater(0.01, later.callback, None)
    await later


class TurnsTests(PlatformTestCase):
    """
    Who is checked when.
    """

    def make_checker(self) -> Checker:
        """
        See the base class.
        """
        self.counting = CountingChecker()
        return self.counting

    async def test_uploads_of_two_accounts(self) -> None:
        """
        All of a dozen uploads are stored, one of each account at a time.
        """
        answers = await gatherResults(
            Deferred.fromCoroutine(
                self.upload(f"/{who}-{n}", ("index.js", ESM, b"export default {}"), bearer=who)
            )
            for n in range(6)
            for who in ("alice", "bob")
        )
        self.assertEqual([answer.status for answer in answers], [200] * 12)
        self.assertEqual(self.counting.most, {"": 2, "alice": 1, "bob": 1})
