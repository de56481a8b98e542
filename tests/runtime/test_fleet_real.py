"""The fleet with real workerd processes."""

import os
import signal
import tempfile
from pathlib import Path
from typing import Any

import attrs
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import deferLater

from tests.runtime.support import ACCOUNT, OTHER, RealCase, alive, code
from workerd_faas.domain.errors import Kind, Problem
from workerd_faas.domain.policies import Isolation
from workerd_faas.domain.routing import Route
from workerd_faas.domain.upstream import Upstream
from workerd_faas.runtime.cell import Times
from workerd_faas.runtime.fleet import Fleet
from workerd_faas.runtime.process import MIB
from workerd_faas.runtime.slot import unavailable

HELLO = "export default { fetch() { return new Response('hello') } }"
SPIN = "export default { fetch() { for (;;); } }"
CRASH = "export default { fetch() { 'x'.repeat(2 ** 27 + 1).split('') } }"
SLOW = """
export default {
  async fetch(request, env, ctx) {
    const ms = +request.headers.get("x-ms");
    if (request.url.endsWith("/later")) {
      ctx.waitUntil(scheduler.wait(ms).then(() => console.log("later")));
      return new Response("soon");
    }
    await scheduler.wait(ms);
    return new Response("slow");
  }
}
"""

ROUTE = Route(ACCOUNT, "fn", "v")
THEIRS = Route(OTHER, "fn", "v")


class FleetCase(RealCase):
    """
    Several versions that everybody may load.
    """

    def setUp(self) -> None:
        """
        See `RealCase`.
        """
        super().setUp()
        self.loader.versions = {
            "v": code(HELLO),
            "spin": code(SPIN),
            "crash": code(CRASH),
            "slow": code(SLOW),
        }

    def pids(self, fleet: Fleet) -> set[int]:
        """
        The processes of a fleet.
        """
        return {cell.pid for cell in fleet.status().cells if cell.pid is not None}


class LifeTests(FleetCase):
    """
    Starting and stopping.
    """

    async def test_many_first_requests_make_one_cell(self) -> None:
        """
        However many ask at once, one cell is started, and all get it.
        """
        fleet = await self.fleet()
        upstreams = await gatherResults(
            [Deferred.fromCoroutine(self.ready(fleet)) for _ in range(20)]
        )
        self.assertEqual(len(set(upstreams)), 1)
        self.assertEqual(fleet.status().started, 1)
        self.assertIs(fleet.upstream(ROUTE), upstreams[0])
        self.assertEqual((await self.client.get(upstreams[0], "v")).text, "hello")

    async def test_a_wish_can_be_taken_back(self) -> None:
        """
        Who takes the wish back is not told.
        """
        fleet = await self.fleet()
        told: list[Upstream | Problem] = []
        fleet.when_ready(ROUTE, told.append)()
        await self.ready(fleet)
        self.assertEqual(told, [])

    async def test_when_ready_never_answers_at_once(self) -> None:
        """
        `then` is called after `when_ready` has returned, also when a cell is there.
        """
        fleet = await self.fleet()
        upstream = await self.ready(fleet)
        told: list[Upstream | Problem] = []
        fleet.when_ready(ROUTE, told.append)
        self.assertEqual(told, [])
        await self.until(lambda: told)
        self.assertEqual(told, [upstream])

    async def test_isolation_levels(self) -> None:
        """
        Accounts, functions or nobody have processes of their own, as the setting says.
        """
        routes = [ROUTE, Route(ACCOUNT, "fn2", "v"), THEIRS]
        for isolation, processes in (
            (Isolation.ACCOUNT, 2),
            (Isolation.FUNCTION, 3),
            (Isolation.SHARED, 1),
        ):
            fleet = await self.fleet(isolation=isolation)
            for route in routes:
                await self.ready(fleet, route)
            self.assertEqual(len(self.pids(fleet)), processes, isolation)
            await fleet.stop()

    async def test_a_shared_cell_loads_everybodys_versions(self) -> None:
        """
        With one cell for all, versions of several accounts run in it.
        """
        self.loader.owners["theirs"] = OTHER
        self.loader.versions["theirs"] = code(HELLO)
        fleet = await self.fleet(isolation=Isolation.SHARED)
        upstream = await self.ready(fleet, THEIRS)
        for version in ("v", "theirs"):
            self.assertEqual((await self.client.get(upstream, version)).text, "hello")

    async def test_idle_cells_stop(self) -> None:
        """
        A cell without requests is stopped and its directory removed; the next request starts
        another. One with a request in flight stays.
        """
        fleet = await self.fleet(idle=0.0)
        busy = await self.ready(fleet, THEIRS)
        busy.begin()
        idle = await self.ready(fleet)
        await self.until(lambda: idle.retired and fleet.upstream(ROUTE) is None)
        await self.until(lambda: len(list(self.directory.iterdir())) == 1)
        self.assertFalse(busy.retired)
        busy.end()
        self.assertEqual((await self.client.get(await self.ready(fleet), "v")).text, "hello")

    async def test_no_more_cells_than_allowed(self) -> None:
        """
        At the bound the cell that has been idle for longest makes room.
        """
        fleet = await self.fleet(max_cells=2)
        third = Route("c" * 32, "fn", "v")
        first = await self.ready(fleet)
        second = await self.ready(fleet, THEIRS)
        await deferLater(self.reactor, 1.2)
        await self.client.get(first, "v")
        await self.ready(fleet, third)
        self.assertEqual((first.retired, second.retired), (False, True))
        self.assertEqual(len(self.pids(fleet)), 2)

    async def test_no_room(self) -> None:
        """
        When all cells are busy a new one waits, and then is refused with a time to try again.
        """
        fleet = await self.fleet(max_cells=1, wait=1.5)
        upstream = await self.ready(fleet)
        upstream.begin()
        refused = await self.outcome(fleet, THEIRS)
        assert isinstance(refused, Problem)
        self.assertIs(refused.kind, Kind.UNAVAILABLE)
        self.assertGreaterEqual(refused.retry_after or 0, 1)
        waiting = Deferred.fromCoroutine(self.ready(fleet, THEIRS))
        upstream.end()
        self.assertEqual((await self.client.get(await waiting, "v")).text, "hello")

    async def test_who_has_many_gives_to_who_has_none(self) -> None:
        """
        When an account keeps all cells busy and others wait, it gives some up, one each. Whoever
        has the fewest gets the room, also before those of that account that have waited for longer.
        """
        fleet = await self.fleet(
            max_cells=4,
            isolation=Isolation.FUNCTION,
            times=Times(drain=0.3, goodbye=0.1, stop=0.3),
        )
        held = [await self.ready(fleet, Route(ACCOUNT, f"fn{n}", "v")) for n in range(4)]
        for upstream in held:
            upstream.begin()
        more = Deferred.fromCoroutine(self.outcome(fleet, Route(ACCOUNT, "fn4", "v")))
        others = [Route(each * 32, "fn", "v") for each in "bc"]
        for upstream in await gatherResults(
            [Deferred.fromCoroutine(self.ready(fleet, route)) for route in others]
        ):
            upstream.begin()
            self.assertEqual((await self.client.get(upstream, "v")).text, "hello")
        self.assertFalse(more.called)
        self.assertEqual(sum(upstream.retired for upstream in held), 2)
        late = Deferred.fromCoroutine(self.outcome(fleet, Route("d" * 32, "fn", "v")))
        await self.until(lambda: sum(upstream.retired for upstream in held) == 3)
        self.assertNotIsInstance(await late, Problem)
        more.addErrback(lambda _: None)
        fleet.places(ACCOUNT, "fn4")[0].refuse(unavailable("It is over.", 1))
        await more

    async def test_who_has_something_to_finish_is_not_waited_for(self) -> None:
        """
        At the bound a cell with work after its answers does not make room while another can, even
        if it has been idle for longer.
        """
        self.loader.versions["later"] = code(
            "export default { fetch(request, env, ctx) {"
            " ctx.waitUntil(scheduler.wait(60_000)); return new Response('x') } }"
        )
        fleet = await self.fleet(max_cells=2, times=Times(drain=0.2))
        first = await self.ready(fleet)
        await self.client.get(first, "later")
        second = await self.ready(fleet, THEIRS)
        await self.client.get(second, "v")
        await self.until(lambda: any(cell.health.pending for cell in fleet._houses))
        third = await self.ready(fleet, Route("c" * 32, "fn", "v"))
        self.assertEqual((first.retired, second.retired, third.retired), (False, True, False))

    async def test_no_more_memory_than_allowed(self) -> None:
        """
        At the bound of memory the cell that has been idle for longest makes room; when all are busy
        a new one waits, and then is refused with a time to try again.
        """
        fleet = await self.fleet(memory_of_all=1, wait=1.5)
        first = await self.ready(fleet)
        second = await self.ready(fleet, THEIRS)
        self.assertEqual((first.retired, second.retired), (True, False))
        second.begin()
        refused = await self.outcome(fleet)
        assert isinstance(refused, Problem)
        self.assertIs(refused.kind, Kind.UNAVAILABLE)
        self.assertGreaterEqual(refused.retry_after or 0, 1)
        self.assertFalse(second.retired)
        second.end()

    async def test_memory_that_grows_makes_room(self) -> None:
        """
        Cells that together have more memory than allowed are stopped, the one that has been idle
        for longest first, without anybody waiting for room.
        """
        self.loader.versions["grows"] = code(
            "const kept = []; export default { fetch() {"
            " kept.push(new Uint8Array(64 << 20).fill(1)); return new Response('x') } }"
        )
        fleet = await self.fleet(memory_of_all=96 * MIB)
        idle = await self.ready(fleet)
        growing = await self.ready(fleet, THEIRS)
        growing.begin()
        for _ in range(2):
            await self.client.get(growing, "grows")
        await self.until(lambda: idle.retired)
        self.assertFalse(growing.retired)
        growing.end()

    async def test_stop_leaves_nothing(self) -> None:
        """
        A stopped fleet has no processes and no files, and starts nothing more.
        """
        fleet = await self.fleet()
        for route in (ROUTE, THEIRS):
            await self.ready(fleet, route)
        pids = self.pids(fleet)
        await fleet.stop()
        self.assertEqual([pid for pid in pids if alive(pid)], [])
        self.assertEqual(list(self.directory.iterdir()), [])
        self.assertIsInstance(await self.outcome(fleet), Problem)

    async def test_missing_program(self) -> None:
        """
        When workerd cannot be run a request is told so after its bounded wait, and the status shows
        why, and that it is no chance; until a process has come up again.
        """
        fleet = await self.fleet(wait=0.5)
        self.assertTrue(fleet.status().startable)
        builder = fleet._builder
        fleet._builder = attrs.evolve(builder, binary=self.directory / "no")
        refused = await self.outcome(fleet)
        assert isinstance(refused, Problem)
        self.assertIs(refused.kind, Kind.UNAVAILABLE)
        await self.until(lambda: fleet.status().breakers)
        [breaker] = fleet.status().breakers
        self.assertIn("jail: ", " ".join(breaker.last_words))
        while fleet.status().startable:
            await self.outcome(fleet)
        fleet._builder = builder
        while isinstance(await self.outcome(fleet), Problem):
            pass
        self.assertTrue(fleet.status().startable)


class TroubleTests(FleetCase):
    """
    Cells that die or hang.
    """

    async def test_killed_four_times_running(self) -> None:
        """
        A cell that is killed again and again is back each time, and another account's lives on.
        """
        fleet = await self.fleet()
        other = await self.ready(fleet, THEIRS)
        for _ in range(4):
            await self.ready(fleet)
            [mine] = [cell for cell in fleet.status().cells if cell.key == ACCOUNT]
            assert mine.pid is not None
            os.kill(mine.pid, signal.SIGKILL)
            await self.until(lambda: fleet.upstream(ROUTE) is None)
        self.assertEqual((await self.client.get(await self.ready(fleet), "v")).text, "hello")
        self.assertEqual(fleet.status().crashed, 4)
        self.assertFalse(other.retired)

    async def test_a_function_that_crashes_the_runtime(self) -> None:
        """
        The request fails, the next one is answered by a new process.
        """
        fleet = await self.fleet()
        upstream = await self.ready(fleet)
        with self.assertRaises(Exception):  # noqa: B017 - whatever the client calls a lost connection
            await self.client.get(upstream, "crash")
        await self.until(lambda: upstream.retired)
        self.assertEqual((await self.client.get(await self.ready(fleet), "v")).text, "hello")

    async def test_crash_loop(self) -> None:
        """
        A tenant whose process dies all the time is told to come back later and later, and a tenant
        beside it notices nothing.
        """
        fleet = await self.fleet(wait=1.0)
        outcome: Upstream | Problem | None = None
        for _ in range(12):
            outcome = await self.outcome(fleet)
            if isinstance(outcome, Problem) and "keeps failing" in outcome.message:
                break
            for cell in fleet.status().cells:
                if cell.key == ACCOUNT and cell.pid is not None:
                    os.kill(cell.pid, signal.SIGKILL)
            await self.until(lambda: fleet.upstream(ROUTE) is None)
        assert isinstance(outcome, Problem)
        self.assertGreaterEqual(outcome.retry_after or 0, 1)
        [breaker] = fleet.status().breakers
        self.assertEqual((breaker.key, breaker.cause), (ACCOUNT, "crashed"))
        self.assertEqual((await self.client.get(await self.ready(fleet, THEIRS), "v")).status, 200)

    async def test_a_hung_cell_is_replaced(self) -> None:
        """
        An endless loop is found and its process killed, though its client has gone; the account's
        next request is answered and other accounts never notice.
        """
        fleet = await self.fleet(times=Times(ping=0.3))
        other = await self.ready(fleet, THEIRS)
        upstream = await self.ready(fleet)
        spinning = Deferred.fromCoroutine(self.client.begin(upstream, "spin"))
        await deferLater(self.reactor, 0.1)
        spinning.cancel()
        await self.assertFailure(spinning, Exception)
        await self.until(lambda: upstream.retired)
        self.assertEqual((await self.client.get(await self.ready(fleet), "v")).text, "hello")
        self.assertEqual((await self.client.get(other, "v")).text, "hello")
        self.assertEqual(fleet.status().crashed, 1)

    async def test_a_stopped_process_is_replaced(self) -> None:
        """
        A process that does not run any more (SIGSTOP) is found and replaced.
        """
        fleet = await self.fleet(times=Times(ping=0.3))
        upstream = await self.ready(fleet)
        [pid] = self.pids(fleet)
        os.kill(pid, signal.SIGSTOP)
        await self.until(lambda: upstream.retired)
        await self.until(lambda: not alive(pid))
        self.assertEqual((await self.client.get(await self.ready(fleet), "v")).text, "hello")

    async def test_memory_is_bounded(self) -> None:
        """
        Buffers beyond the budget are an exception inside the function, and its process lives.
        """
        self.loader.versions["bomb"] = code(
            """
            export default { fetch() {
              const all = [];
              try { for (;;) all.push(new Uint8Array(1e7).fill(1)) }
              catch (error) { return new Response(`${error} ${all.length}`) }
            } }
            """
        )
        fleet = await self.fleet(memory=128 << 20)
        upstream = await self.ready(fleet)
        await self.client.get(upstream, "v")
        reply = await self.client.get(upstream, "bomb")
        self.assertIn("allocation failed", reply.text)
        self.assertLess(int(reply.text.split()[-1]), 30)
        self.assertEqual((await self.client.get(upstream, "v")).text, "hello")

    async def test_a_grown_cell_is_recycled(self) -> None:
        """
        A cell with more data than its budget is replaced without a pause.
        """
        fleet = await self.fleet(recycle=1 << 20, recycle_age=0.2)
        upstream = await self.ready(fleet)
        while fleet.upstream(ROUTE) in (upstream, None):
            if not upstream.retired:
                self.assertEqual((await self.client.get(upstream, "v")).status, 200)
            self.assertIsNotNone(fleet.upstream(ROUTE))
            await deferLater(self.reactor, 0.05)
        self.assertEqual(fleet.status().crashed, 0)


class ReplaceTests(FleetCase):
    """
    Hot restart.
    """

    async def test_no_request_fails(self) -> None:
        """
        Under requests all the time, three replacements lose none and end on another process.
        """
        fleet = await self.fleet()
        before = await self.ready(fleet)
        statuses: list[int] = []
        going = True

        async def ask() -> None:
            while going:
                upstream = fleet.upstream(ROUTE)
                assert upstream is not None, "there is always one that takes requests"
                statuses.append((await self.client.get(upstream, "v")).status)

        asking = gatherResults([Deferred.fromCoroutine(ask()) for _ in range(4)])
        for _ in range(3):
            await fleet.replace(ACCOUNT)
        going = False
        await asking
        self.assertEqual(set(statuses), {200})
        self.assertIsNot(fleet.upstream(ROUTE), before)
        self.assertEqual(fleet.status().started, 4)

    async def test_what_is_in_flight_ends_in_the_old_one(self) -> None:
        """
        A slow request, and work after an answer, finish in the process that they began in.
        """
        fleet = await self.fleet()
        old = await self.ready(fleet)
        [pid] = self.pids(fleet)
        slow = Deferred.fromCoroutine(
            self.client.get(old, "slow", headers={"x-ms": "600"}),
        )
        await self.client.get(old, "slow", "/later", headers={"x-ms": "900"})
        await fleet.replace(ACCOUNT)
        self.assertTrue(old.retired)
        self.assertTrue(alive(pid))
        self.assertEqual((await slow).text, "slow")
        await self.until(lambda: not alive(pid))
        self.assertEqual(self.events.printed(), ["later"])

    async def test_the_bound_of_draining(self) -> None:
        """
        A request that does not end keeps the old process no longer than the bound.
        """
        fleet = await self.fleet(times=Times(drain=0.3, stop=0.2))
        old = await self.ready(fleet)
        [pid] = self.pids(fleet)
        endless = Deferred.fromCoroutine(
            self.client.get(old, "slow", headers={"x-ms": "60000"}),
        )
        endless.addErrback(lambda failure: None)
        await deferLater(self.reactor, 0.1)
        await fleet.replace(ACCOUNT)
        await self.until(lambda: not alive(pid))
        await endless

    async def test_a_replacement_that_does_not_come_up(self) -> None:
        """
        The old cell keeps serving, and the operator is told.
        """
        fleet = await self.fleet(times=Times(start=0.5))
        old = await self.ready(fleet)
        builder = fleet._builder
        fleet._builder = attrs.evolve(builder, binary=self.directory / "none")
        with self.assertRaises(Problem):
            await fleet.replace(ACCOUNT)
        self.assertIs(fleet.upstream(ROUTE), old)
        self.assertEqual((await self.client.get(old, "v")).text, "hello")
        fleet._builder = builder
        await fleet.replace(ACCOUNT)
        self.assertIsNot(fleet.upstream(ROUTE), old)

    async def test_nothing_to_replace(self) -> None:
        """
        Replacing a cell that is not there does nothing.
        """
        fleet = await self.fleet()
        await fleet.replace(ACCOUNT)
        self.assertEqual(fleet.status().started, 0)


class JailTests(FleetCase):
    """
    What a cell's process may not do.
    """

    async def test_the_process_is_bare(self) -> None:
        """
        A cell has no environment, no privileges to gain, no descriptors of the daemon, no core
        dumps, its own session and directory, and dies before the daemon when memory is short.
        """
        fleet = await self.fleet()
        os.environ["RUNTIME_TEST_SECRET"] = "s3cret"
        self.addCleanup(os.environ.pop, "RUNTIME_TEST_SECRET")
        secret = tempfile.NamedTemporaryFile()  # noqa: SIM115 - an open descriptor is the point
        os.set_inheritable(secret.fileno(), True)
        self.addCleanup(secret.close)
        await self.ready(fleet)
        [pid] = self.pids(fleet)
        process = Path(f"/proc/{pid}")
        self.assertEqual((process / "environ").read_bytes(), b"")
        self.assertIn("NoNewPrivs:\t1", (process / "status").read_text())
        [core] = [
            line for line in (process / "limits").read_text().splitlines() if "core file" in line
        ]
        self.assertEqual(core.split()[4:6], ["0", "0"])
        self.assertEqual(os.getsid(pid), pid)
        self.assertEqual((process / "oom_score_adj").read_text().strip(), "500")
        self.assertEqual((process / "cwd").readlink().parent, self.directory)
        targets = {str(fd.readlink()) for fd in (process / "fd").iterdir()}
        self.assertNotIn(secret.name, targets)

    async def test_the_file_system_is_closed(self) -> None:
        """
        With Landlock, a process in the jail reads nothing but libraries, certificates and its own
        directory, and opens no TCP connection unless it may.
        """
        from tests.runtime.jailed import probe

        seen: dict[str, Any] = probe(self.directory)
        if not seen["landlock"]:
            self.skipTest("this kernel has no Landlock")
        self.assertEqual(seen["own"], "ok")
        self.assertEqual(seen["outside"], "EACCES")
        self.assertEqual(seen["write outside"], "EACCES")
        self.assertEqual(seen["connect"], "EACCES")
        self.assertEqual(seen["bind"], "EACCES")
