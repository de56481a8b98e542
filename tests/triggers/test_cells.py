"""`scheduled()` in a real cell."""

from datetime import UTC, datetime
from typing import Any

from twisted.internet.defer import Deferred, gatherResults

from tests.runtime.support import ACCOUNT, RealCase, code
from workerd_faas.domain.model import Split
from workerd_faas.domain.routing import FunctionRoutes, RoutingTable
from workerd_faas.domain.schedules import Outcome
from workerd_faas.domain.upstream import Upstream
from workerd_faas.runtime.fleet import Fleet
from workerd_faas.runtime.scheduled import CellCalls, ran
from workerd_faas.testing.fakes import SteppingClock
from workerd_faas.usecases.schedules.ports import Ran

AT = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)

GOOD = """
let runs = 0;
export default {
  async scheduled(controller, env, ctx) {
    console.log(JSON.stringify([controller.cron, controller.scheduledTime, ++runs]));
    ctx.waitUntil(scheduler.wait(30).then(() => console.log("later")));
  },
  fetch() { return new Response("runs " + runs); },
}
"""
CLASS = """
import { WorkerEntrypoint } from "cloudflare:workers";
export default class extends WorkerEntrypoint {
  scheduled(controller) { console.log("a class, " + controller.cron); }
}
"""
BAD = "export default { scheduled() { throw new Error('no good'); } }"
LATE = (
    "export default { scheduled(c, e, ctx) { ctx.waitUntil(Promise.reject(new Error('late'))) } }"
)
NONE = "export default { fetch() { return new Response('alive'); } }"
ENDLESS = """
export default {
  async scheduled() {
    console.log("begun");
    for (;;) await scheduler.wait(10);
  },
  fetch() { return new Response("alive"); },
}
"""
SPIN = "export default { scheduled() { for (;;); } }"
BROKEN = "throw new Error('at the start'); export default {}"


class ScheduledTests(RealCase):
    """
    A fleet and functions, each with a version of its own name.
    """

    timeout = 120

    async def serve(self, seconds: float = 10.0, **functions: str) -> CellCalls:
        """
        Start the fleet.
        """
        self.loader.versions = {name: code(text) for name, text in functions.items()}
        self.routes = RoutingTable()
        self.routes.load(
            FunctionRoutes(
                function=name,
                account_id=ACCOUNT,
                splits=(Split(version_id=name, percentage=100),),
                aliases={},
                versions=[name],
            )
            for name in functions
        )
        self.fleet_: Fleet = await self.fleet()
        return CellCalls(
            reactor=self.reactor,
            cells=self.fleet_,
            routes=self.routes,
            events=self.events,
            clock=SteppingClock(),
            seconds=seconds,
        )

    def printed(self, name: str) -> list[Any]:
        """
        What a function printed.
        """
        return [
            log["message"][0]
            for function, _, trace in self.events.traces
            if function == f"fn-{name}"
            for log in trace["logs"]
        ]

    async def test_a_run_gets_its_time_and_its_work_is_waited_for(self) -> None:
        """
        `scheduled()` gets expression and time; the outcome comes after `waitUntil` work, and the
        trace, with what was printed, goes to the log.
        """
        calls = await self.serve(good=GOOD)
        self.assertEqual(
            await calls.call("good", "0 12 * * *", AT),
            Ran(outcome=Outcome.OK, version_id="good"),
        )
        await self.until(lambda: self.printed("good"))
        self.assertEqual(self.printed("good"), ['["0 12 * * *",1795435200000,1]', "later"])

    async def test_runs_do_not_share_an_isolate(self) -> None:
        """
        Each run begins afresh, and neither sees what requests left nor leaves them anything.
        """
        calls = await self.serve(good=GOOD)
        for _ in range(2):
            await calls.call("good", "* * * * *", AT)
        upstream = await self.ready(self.fleet_)
        self.assertEqual((await self.client.get(upstream, "good")).text, "runs 0")
        await self.until(lambda: len(self.printed("good")) == 4)
        runs = [line for line in self.printed("good") if line.endswith(",1]")]
        self.assertEqual(len(runs), 2)

    async def test_a_class_may_have_it(self) -> None:
        """
        A default export that is a class is called as well.
        """
        calls = await self.serve(good=CLASS)
        self.assertIs((await calls.call("good", "* * * * *", AT)).outcome, Outcome.OK)
        await self.until(lambda: self.printed("good") == ["a class, * * * * *"])

    async def test_what_goes_wrong_is_an_outcome(self) -> None:
        """
        A handler that throws, one whose `waitUntil` work fails, one that is missing, code that does
        not start, a function that is gone: each is told apart.
        """
        calls = await self.serve(bad=BAD, late=LATE, none=NONE, broken=BROKEN)
        outcomes = {name: await calls.call(name, "* * * * *", AT) for name in self.loader.versions}
        gone = await calls.call("gone", "* * * * *", AT)
        self.assertIs(outcomes["bad"].outcome, Outcome.EXCEPTION)
        self.assertIs(outcomes["late"].outcome, Outcome.EXCEPTION)
        self.assertIs(outcomes["none"].outcome, Outcome.EXCEPTION)
        self.assertIs(outcomes["broken"].outcome, Outcome.NOT_STARTED)
        self.assertIs(gone.outcome, Outcome.NOT_STARTED)
        assert gone.detail is not None
        self.assertIn("no function of this name", gone.detail)
        assert outcomes["broken"].detail is not None
        self.assertIn("at the start", outcomes["broken"].detail)
        (trace,) = [trace for name, _, trace in self.events.traces if name == "broken"]
        self.assertEqual(trace["event"], {"cron": "* * * * *", "scheduledTime": 1795435200000})
        self.assertIn("at the start", trace["exceptions"][0]["message"])

    async def test_a_run_that_takes_too_long_is_ended(self) -> None:
        """
        A run beyond its bound is reported as such and really ended, and requests go on.
        """
        calls = await self.serve(seconds=0.3, endless=ENDLESS)
        upstream = await self.ready(self.fleet_)
        self.assertEqual((await self.client.get(upstream, "endless")).text, "alive")
        outcome = await calls.call("endless", "* * * * *", AT)
        self.assertIs(outcome.outcome, Outcome.TIMED_OUT)
        self.assertEqual((await self.client.get(upstream, "endless")).text, "alive")
        # Ended: its trace comes only then.
        await self.until(lambda: self.printed("endless") == ["begun"])

    async def test_a_run_that_hangs_its_process_is_interrupted(self) -> None:
        """
        An endless loop makes the watchdog end the cell, and the run's outcome says so.
        """
        calls = await self.serve(spin=SPIN)
        outcome = await calls.call("spin", "* * * * *", AT)
        self.assertIs(outcome.outcome, Outcome.INTERRUPTED)
        (trace,) = [trace for name, _, trace in self.events.traces if name == "spin"]
        self.assertEqual(trace["outcome"], "canceled")

    async def test_a_run_counts_as_in_flight(self) -> None:
        """
        While a run goes on its cell is in use; afterwards it is not.
        """
        calls = await self.serve(seconds=1.0, endless=ENDLESS)
        upstream: Upstream = await self.ready(self.fleet_)
        running = Deferred.fromCoroutine(calls.call("endless", "* * * * *", AT))
        await self.until(lambda: upstream.in_flight == 1)
        await running
        self.assertEqual(upstream.in_flight, 0)

    async def test_many_runs_at_once(self) -> None:
        """
        Twenty runs side by side all end well, and leave nothing loaded.
        """
        calls = await self.serve(good=GOOD)
        outcomes = await gatherResults(
            [Deferred.fromCoroutine(calls.call("good", "* * * * *", AT)) for _ in range(20)]
        )
        self.assertEqual({each.outcome for each in outcomes}, {Outcome.OK})
        (cell,) = self.fleet_._houses
        self.assertEqual((await cell.prober.probe()).loaded, 0)


def test_an_answer_that_means_nothing_is_an_exception() -> None:
    """
    Whatever a cell answers becomes an outcome; unknown words and broken JSON are exceptions.
    """
    for body in (b"", b"null", b"[]", b'"ok"', b'{"outcome": 1}', b'{"outcome": "splendid"}'):
        assert ran(body, "v").outcome is Outcome.EXCEPTION
    long = ran(b'{"outcome": "ok", "detail": "%s"}' % (b"x" * 9999), "v")
    assert long.detail is not None
    assert (long.outcome, len(long.detail)) == (Outcome.OK, 1000)
