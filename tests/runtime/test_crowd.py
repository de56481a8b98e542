"""Several cells for what one could run: the rules, and real ones."""

from collections.abc import Sequence

import attrs
from twisted.internet.defer import Deferred, gatherResults

from tests.runtime.support import ACCOUNT, RealCase, code
from workerd_faas.domain.routing import Route
from workerd_faas.domain.upstream import Upstream
from workerd_faas.runtime.crowd import Crowds, least

ROUTE = Route(ACCOUNT, "fn", "v")
BUSY = """
export default { fetch() {
  const end = Date.now() + 15;
  while (Date.now() < end);
  return new Response("done");
} }
"""


@attrs.define
class FakeCell:
    """
    A process with requests in flight.
    """

    pid: int
    upstream: Upstream

    @classmethod
    def with_(cls, pid: int, in_flight: int) -> "FakeCell":
        """
        One that is in the midst of so many.
        """
        return cls(pid, Upstream(f"/{pid}", "cell", in_flight=in_flight))


@attrs.define(eq=False)
class FakePlace:
    """
    A slot.
    """

    key: str
    current: FakeCell | None = None
    starting: FakeCell | None = None


def place(key: str, pid: int, in_flight: int) -> FakePlace:
    """
    One whose cell has so many requests in flight.
    """
    return FakePlace(key, FakeCell.with_(pid, in_flight))


@attrs.define
class Processors:
    """
    What processes have used.
    """

    used: dict[int, float] = attrs.Factory(dict)

    def __call__(self, pid: int | None) -> float:
        """
        Seconds.
        """
        return self.used.get(pid or 0, 0.0)


def overloaded(
    places: Sequence[FakePlace], shares: dict[int, float], most: int = 2
) -> list[FakePlace]:
    """
    Which of these need another cell when each process has used so much of a second.
    """
    cpu = Processors()
    crowds: Crowds[FakePlace] = Crowds(most, cpu)
    first, *others = places
    for other in others:
        crowds.join(first, lambda key, made=other: made)  # type: ignore[misc]
    assert crowds.overloaded([first], 10.0) == []
    cpu.used = shares
    return crowds.overloaded([first], 11.0)


def test_the_least_busy_gets_the_next_request() -> None:
    """A request goes where the fewest are in flight, and to the first of several."""
    a, b, c = place("a", 1, 2), place("b", 2, 1), place("c", 3, 1)
    assert b.current is not None
    assert least([a, b, c]) is b.current.upstream
    b.current = None
    assert c.current is not None
    assert least([a, b, c]) is c.current.upstream
    assert least([b]) is None


def test_another_cell_is_for_computing() -> None:
    """One more is wanted when a cell computes all the time for several requests, not else."""
    busy = place("k", 1, 2)
    assert overloaded([busy], {1: 0.8}) == [busy]
    assert overloaded([busy], {1: 0.5}) == []
    assert overloaded([place("k", 1, 1)], {1: 1.0}) == []


def test_all_have_to_be_busy() -> None:
    """One more is wanted only when all of a crowd are busy, none is starting and there may be."""
    a, b = place("k", 1, 5), place("k#2", 2, 5)
    assert overloaded([a, b], {1: 0.9, 2: 0.9}, most=3) == [a]
    assert overloaded([a, b], {1: 0.9, 2: 0.9}, most=2) == []
    assert overloaded([a, b], {1: 0.9, 2: 0.2}, most=3) == []
    b.starting = FakeCell.with_(3, 0)
    assert overloaded([a, b], {1: 0.9, 2: 0.9}, most=3) == []


def test_places_join_sleep_and_leave() -> None:
    """Names are given once, places without a cell are used again, the last one ends the crowd."""
    crowds: Crowds[FakePlace] = Crowds(3)
    first = place("k", 1, 0)
    second, third = crowds.join(first, FakePlace), crowds.join(first, FakePlace)
    assert (second.key, third.key) == ("k#2", "k#3")
    second.current = FakeCell.with_(2, 0)
    assert crowds.sleeping(first) is third
    crowds.leave(second)
    assert crowds.join(first, FakePlace).key == "k#2"
    for added in crowds.members["k"][1:]:
        crowds.leave(added)
    assert crowds.members == {}


class CrowdTests(RealCase):
    """
    A function that computes.
    """

    timeout = 120

    async def test_a_busy_account_gets_another_cell(self) -> None:
        """
        Requests that keep a cell computing are spread over as many cells as may be, none fails,
        and the last cell is not one too many.
        """
        self.loader.versions["v"] = code(BUSY)
        fleet = await self.fleet(cells_per_place=2)
        await self.ready(fleet, ROUTE)

        async def ask() -> None:
            upstream = fleet.upstream(ROUTE)
            assert upstream is not None
            assert (await self.client.get(upstream, "v")).status == 200

        # Others may have the processors of this machine: what counts as busy is tested above.
        fleet._crowds.cpu = lambda pid: self.reactor.seconds()
        served: dict[str, int] = {}
        while len(served) < 2 or not all(served.values()):
            await gatherResults([Deferred.fromCoroutine(ask()) for _ in range(8)])
            served = {cell.key: cell.served for cell in fleet.status().cells}
        self.assertEqual(served.keys(), {ACCOUNT, f"{ACCOUNT}#2"})

    async def test_one_is_enough_unless_told(self) -> None:
        """
        By default an account has one cell, however busy it is.
        """
        self.loader.versions["v"] = code(BUSY)
        fleet = await self.fleet()
        upstream = await self.ready(fleet, ROUTE)
        for _ in range(20):
            asked = [self.client.get(upstream, "v") for _ in range(8)]
            await gatherResults([Deferred.fromCoroutine(one) for one in asked])
        self.assertEqual(len(fleet.status().cells), 1)
