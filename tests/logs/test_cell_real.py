"""What a real cell reports, and what it does not."""

from typing import Any

from twisted.internet.defer import Deferred, gatherResults

from tests.runtime.support import ACCOUNT, RealCase, code
from workerd_faas.domain.routing import Route
from workerd_faas.domain.upstream import Upstream
from workerd_faas.runtime.fleet import Fleet

SILENT = "export default { fetch() { return new Response('ok'); } }"
TALKER = """
export default { async fetch(request) {
  const lines = Number(new URL(request.url).searchParams.get("lines"));
  for (let i = 0; i < lines; i++) console.log("line", i, "x".repeat(100));
  return new Response("ok");
} }
"""
ODD = """
export default { fetch(request) {
  const { pathname } = new URL(request.url);
  if (pathname === "/cycle") { const a = {}; a.a = a; console.log(a, 12n, Symbol("s"), () => 1); }
  if (pathname === "/escapes") console.log("\\0".repeat(200_000));
  if (pathname === "/json") console.log({ toJSON() { throw new Error("no"); } }, NaN, "\\ud800");
  if (pathname === "/deep") {
    let deep = "core";
    for (let i = 0; i < 5000; i++) deep = i % 2 ? [deep] : { deep };
    console.log("before", deep, "\\\\\\"[");
  }
  if (pathname === "/message") throw { name: "x".repeat(300_000), message: 7, stack: {} };
  return new Response("ok");
} }
"""


class ReportTests(RealCase):
    """
    Reports of a cell, whatever functions do.
    """

    timeout = 120

    async def serve(self, text: str) -> tuple[Fleet, Upstream]:
        """
        A cell that runs this.
        """
        self.loader.versions["v"] = code(text)
        fleet = await self.fleet()
        return fleet, await self.ready(fleet, Route(ACCOUNT, "fn-v", "v"))

    def paths(self) -> list[str]:
        """
        The paths of all requests that were reported.
        """
        return [
            trace["event"]["request"]["url"].split("/")[-1] for _, _, trace in self.events.traces
        ]

    async def reported(self, path: str) -> None:
        """
        Wait for the report of a request.
        """
        await self.until(lambda: path in self.paths())

    async def test_silence_is_reported_while_somebody_watches(self) -> None:
        """
        A function that says nothing is reported from the moment that somebody watches it, and no
        longer when nobody does.
        """
        fleet, upstream = await self.serve(SILENT)
        await self.client.get(upstream, "v", "/before")
        self.events.watched = ["fn-v"]
        fleet.tails_changed(ACCOUNT)
        await self.until(lambda: fleet.status().cells[0].loaded == 1)
        await self.watched_by_cell(upstream)
        await self.client.get(upstream, "v", "/watched")
        await self.until(lambda: "watched" in self.paths())
        self.assertNotIn("before", self.paths())
        self.events.watched = ["other"]
        fleet.tails_changed(ACCOUNT)
        await self.unwatched_by_cell(upstream)
        reported = len(self.events.traces)
        for _ in range(5):
            await self.client.get(upstream, "v", "/after")
        await self.settled(fleet)
        self.assertEqual(len(self.events.traces), reported)

    async def watched_by_cell(self, upstream: Upstream) -> None:
        """
        Wait until the cell reports what it did not before.
        """
        while not self.events.traces:
            await self.client.get(upstream, "v", "/probe")

    async def unwatched_by_cell(self, upstream: Upstream) -> None:
        """
        Wait until a request is not reported any more, though all before it are over.
        """
        while True:
            before = len(self.events.traces)
            await self.client.get(upstream, "v", "/probe")
            await self.pending_over(upstream)
            if len(self.events.traces) == before:
                return

    async def pending_over(self, upstream: Upstream) -> None:
        """
        Wait until the cell has nothing more to report.
        """
        while await self.pending(upstream):
            pass

    async def pending(self, upstream: Upstream) -> int:
        """
        What the router counts as not over.
        """
        headers = {"wfaas-cf": '{"probe": true, "tailed": ["other"]}'}
        found: int = (await self.client.get(upstream, "v", headers=headers)).json["pending"]
        return found

    async def settled(self, fleet: Fleet) -> None:
        """
        Wait until all reports have come.
        """
        upstream = fleet.upstream(Route(ACCOUNT, "fn-v", "v"))
        assert upstream is not None
        await self.pending_over(upstream)

    async def test_a_new_cell_knows_who_is_watched(self) -> None:
        """
        The very first request of a cell that starts while somebody watches is reported.
        """
        self.events.watched = ["fn-v"]
        _, upstream = await self.serve(SILENT)
        await self.client.get(upstream, "v", "/first")
        await self.until(lambda: self.paths() == ["first"])

    async def test_a_flood_is_counted_and_not_sent(self) -> None:
        """
        Of a function that prints without end a bounded amount leaves the cell, all the rest is
        counted, no invocation is forgotten, and each is answered.
        """
        _, upstream = await self.serve(TALKER)
        asked = 400
        replies: list[Any] = []
        for _ in range(asked // 20):
            replies += await gatherResults(
                [
                    Deferred.fromCoroutine(self.client.get(upstream, "v", "/?lines=500"))
                    for _ in range(20)
                ]
            )
        self.assertEqual({reply.status for reply in replies}, {200})

        def counted() -> int:
            return len(self.events.traces) + sum(n for _, n, _ in self.events.losses)

        await self.until(lambda: counted() == asked)
        lines = sum(len(trace["logs"]) for _, _, trace in self.events.traces)
        lines += sum(dropped for _, _, dropped in self.events.losses)
        self.assertEqual(lines, asked * 500)
        self.assertLess(len(self.events.traces), asked / 2)

    async def test_odd_things_are_reported(self) -> None:
        """
        What JSON does not know, what needs many escapes and what is thrown that is no error: each
        is reported, within bounds, and the next one too.
        """
        _, upstream = await self.serve(ODD)
        paths = ["cycle", "escapes", "json", "deep", "message"]
        for path in paths:
            await self.client.get(upstream, "v", f"/{path}")
            await self.reported(path)
        for _, _, trace in self.events.traces:
            self.assertLess(len(str(trace)), 512 * 1024)

    async def test_what_is_nested_deep_is_told_as_text(self) -> None:
        """
        A value that nobody could read as JSON comes as its text, beside the others of its line.
        """
        _, upstream = await self.serve(ODD)
        await self.client.get(upstream, "v", "/deep")
        await self.reported("deep")
        ((_, _, trace),) = self.events.traces
        ((before, deep, after),) = [log["message"] for log in trace["logs"]]
        self.assertEqual((before, after), ("before", '\\"['))
        self.assertEqual(deep.count("["), 2500)
        self.assertIn('"core"', deep)
        self.assertFalse(trace["truncated"])
        self.assertEqual(self.events.losses, [])
