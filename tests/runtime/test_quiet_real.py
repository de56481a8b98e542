"""Versions that run without a tail since they say nothing: what is seen of them all the same."""

from typing import Any

from twisted.internet.defer import Deferred, gatherResults

from tests.runtime.support import ACCOUNT, RealCase, Reply, code
from workerd_faas.domain.model import Code
from workerd_faas.domain.routing import Route
from workerd_faas.domain.upstream import Upstream
from workerd_faas.runtime.fleet import Fleet

TRIAL = 500
"""Silent invocations that make a version quiet: see js/quiet.js."""

TALKER = """
let asked = 0;
export default { async fetch(request, env, ctx) {
  const path = new URL(request.url).pathname;
  if (path === "/asked") return new Response(String(asked));
  if (path === "/log") {
    await scheduler.wait(1);
    console.log("text", 1, 1.5, true, null, undefined, { a: [1, { b: "c" }] }, [1, "2"], 12n,
      Symbol("s"), () => 1, new Map([[1, 2]]), NaN, new Date(0));
    for (const level of ["debug", "info", "warn", "error"]) console[level]("at " + level);
  }
  if (path === "/error") console.error(new TypeError("printed"));
  if (path === "/throw") throw new RangeError("thrown");
  if (path === "/reject") { await scheduler.wait(1); throw "text"; }
  if (path === "/not-a-response") return 5;
  if (path === "/wait-until") ctx.waitUntil(Promise.reject(new Error("late")));
  if (path === "/timer") {
    setTimeout(() => { throw new Error("in a timer"); }, 1);
    await scheduler.wait(10);
  }
  if (path === "/after") ctx.waitUntil(scheduler.wait(1500).then(() => console.log("after")));
  if (path === "/hang") { console.log("hangs"); await scheduler.wait(60_000); }
  if (path === "/working") ctx.waitUntil(scheduler.wait(3000));
  if (path === "/stream") {
    let turn = 0;
    return new Response(new ReadableStream({ async pull(controller) {
      console.log("turn " + turn);
      await scheduler.wait(turn === 1 ? 1500 : 1);
      if (turn++ === 2) return controller.close();
      controller.enqueue(new TextEncoder().encode("."));
    } }));
  }
  if (request.headers.has("upgrade")) {
    const [client, server] = Object.values(new WebSocketPair());
    server.accept();
    server.addEventListener("message", ({ data }) => {
      console.log("heard " + data);
      server.send(data);
    });
    return new Response(null, { status: 101, webSocket: client });
  }
  if (path === "/much") for (let i = 0; i < 100; i++) console.log("x".repeat(10_000));
  asked++;
  return new Response("ok");
} }
"""
CLASS = """
import { WorkerEntrypoint } from "cloudflare:workers";
export default class extends WorkerEntrypoint { fetch() { return new Response("ok"); } }
"""
BACKGROUND = """
import { waitUntil } from "cloudflare:workers";
export default { fetch() { waitUntil(scheduler.wait(1)); return new Response("ok"); } }
"""
LIAR = """
export default { fetch(request) {
  if (request.url.endsWith("/lie")) {
    Response.json = () => new Response('{"pending":"many","traces":[{}, 1],"lost":{},"loud":1}');
  }
  if (request.url.endsWith("/owe")) {
    Response.json = () => new Response('{"pending":-9,"traces":[],"lost":0,"loud":false}');
  }
  if (request.url.endsWith("/more")) {
    Response.json = () => new Response(new ReadableStream({
      pull(c) { c.enqueue(new Uint8Array(65536)); } }));
  }
  if (request.url.endsWith("/none")) Response.json = () => new Promise(() => {});
  return new Response("ok");
} }
"""
SAID = [
    "text", 1, 1.5, True, None, None, {"a": [1, {"b": "c"}]}, [1, "2"], "12", {},
    "() => 1", "[object Map]", None,
]  # fmt: skip


class QuietTests(RealCase):
    """
    One function, asked often.
    """

    timeout = 120

    async def serve(self, text: Code) -> None:
        """
        A cell that runs this.
        """
        self.loader.versions["v"] = text
        self.cells: Fleet = await self.fleet(promoted=0)
        self.upstream: Upstream = await self.ready(self.cells, Route(ACCOUNT, "fn-v", "v"))

    async def ask(self, path: str, **more: Any) -> Reply:
        """
        One request.
        """
        return await self.client.get(self.upstream, "v", path, **more)

    async def many(self, count: int) -> None:
        """
        So many requests that say nothing.
        """
        for _ in range(count // 20):
            replies = [Deferred.fromCoroutine(self.ask("/")) for _ in range(20)]
            self.assertEqual({reply.status for reply in await gatherResults(replies)}, {200})

    @property
    def loads(self) -> int:
        """
        How often the version was loaded.
        """
        return len(self.loader.asked)

    async def hushed(self, text: str = TALKER) -> None:
        """
        A version that has become quiet.
        """
        await self.serve(code(text))
        await self.many(TRIAL)
        await self.until(lambda: self.loads == 2)
        await self.many(100)
        self.assertEqual((self.loads, self.events.traces), (2, []))

    async def health(self, *tailed: str) -> dict[str, Any]:
        """
        What the router answers to a probe.
        """
        question = f'{{"probe": true, "tailed": {list(tailed)!r}}}'.replace("'", '"')
        answer = await self.ask("/", headers={"wfaas-cf": question})
        found: dict[str, Any] = answer.json
        return found

    async def told(self, count: int = 1) -> list[Any]:
        """
        The traces of so many invocations.
        """
        while len(self.events.traces) < count:
            await self.health(*self.events.watched)
        return [trace for _, _, trace in self.events.traces]

    async def test_what_is_said_is_told_and_the_tail_comes_back(self) -> None:
        """
        What a quiet version prints is told with the request's id, outcome and status, as a tail
        tells it; and from then on a tail does.
        """
        await self.hushed()
        await self.ask("/log")
        (quiet,) = await self.told()
        await self.until(lambda: self.loads == 3)
        await self.ask("/log")
        _, tailed = await self.told(2)
        for trace in (quiet, tailed):
            self.assertEqual(trace["outcome"], "ok")
            self.assertEqual(trace["event"]["response"], {"status": 200})
            request = trace["event"]["request"]
            self.assertEqual(request["url"], "https://fn.example.test/log")
            self.assertEqual(request["headers"]["cf-ray"], "0123456789abcdef")
            self.assertEqual(trace["logs"][0]["message"][: len(SAID)], SAID)
        for name in ("level", "message"):
            self.assertEqual(*([log[name] for log in each["logs"]] for each in (quiet, tailed)))

    async def test_exceptions_are_told(self) -> None:
        """
        What goes wrong in a quiet version, in its handler, in what it waits for and in timers, is
        told with name, message and position in the function's files.
        """
        await self.hushed()
        expected = {
            "/throw": ("exception", "RangeError", "thrown", 500),
            "/reject": ("exception", "Error", "text", 500),
            "/wait-until": ("ok", "Error", "late", 200),
            "/timer": ("ok", "Error", "in a timer", 200),
        }
        statuses = {path: (await self.ask(path)).status for path in expected}
        self.assertEqual(statuses, {path: each[3] for path, each in expected.items()})
        for trace in await self.told(len(expected)):
            path = trace["event"]["request"]["url"].removeprefix("https://fn.example.test")
            (exception,) = trace["exceptions"]
            outcome, name, message, status = expected.pop(path)
            self.assertEqual((exception["name"], exception["message"]), (name, message))
            self.assertEqual(trace["outcome"], outcome)
            self.assertEqual(trace["event"]["response"], {"status": status})
            if path != "/reject":
                self.assertIn("index.js:", exception["stack"])

    async def test_an_answer_that_is_none_is_told(self) -> None:
        """
        A handler that gives something else than a response gets the error page and is told of.
        """
        await self.hushed()
        answer = await self.ask("/not-a-response")
        self.assertEqual((answer.status, answer.json["errors"][0]["code"]), (500, 1101))
        (trace,) = await self.told()
        self.assertEqual(trace["outcome"], "exception")

    async def test_what_is_said_late_is_told(self) -> None:
        """
        What is printed in `waitUntil` work is told once that is over, and counts as pending before.
        """
        await self.hushed()
        await self.ask("/after")
        self.assertEqual((await self.health())["pending"], 1)
        (trace,) = await self.told()
        self.assertEqual(trace["logs"][0]["message"], ["after"])
        self.assertGreaterEqual(trace["ended"] - trace["eventTimestamp"], 1400)

    async def test_what_streams_say_is_told(self) -> None:
        """
        What is printed while a response is sent is told, also after a part of it was.
        """
        await self.hushed()
        answer = Deferred.fromCoroutine(self.ask("/stream"))
        while not any(log["message"] == ["turn 2"] for log in self.said()):
            await self.health()
        self.assertEqual((await answer).text, "..")
        self.assertEqual([log["message"] for log in self.said()], [[f"turn {n}"] for n in range(3)])

    def said(self) -> list[Any]:
        """
        All that was printed.
        """
        return [log for _, _, trace in self.events.traces for log in trace["logs"]]

    async def test_sockets_have_a_tail(self) -> None:
        """
        A version that opens a WebSocket after it became quiet has a tail from then on, and what the
        socket said before is told.
        """
        await self.hushed()
        from tests.runtime.websocket import echo

        answer = await echo(self.reactor, self.upstream.address, "v", "hello")
        self.assertEqual(answer, "hello")
        await self.health()
        await self.until(lambda: self.loads == 3)
        await self.told()
        self.assertEqual([log["message"] for log in self.said()], [["heard hello"]])
        await self.many(TRIAL)
        self.assertEqual(self.loads, 3)

    async def test_work_is_pending(self) -> None:
        """
        A quiet version that waits for work is not over.
        """
        await self.hushed()
        self.assertEqual((await self.health())["pending"], 0)
        await self.ask("/working")
        found = await self.health()
        self.assertEqual((found["pending"], found["busy"]), (1, ["fn-v"]))

    async def test_whoever_watches_sees_all(self) -> None:
        """
        When somebody begins to watch, every invocation after the router's answer is told, also one
        that says nothing; when nobody does any more, the version becomes quiet again.
        """
        await self.hushed()
        self.events.watched = ["fn-v"]
        await self.health("fn-v")
        self.assertEqual(self.loads, 3)
        await self.ask("/seen")
        (trace,) = await self.told()
        self.assertEqual(trace["event"]["request"]["url"], "https://fn.example.test/seen")
        self.events.watched = []
        await self.health()
        await self.many(TRIAL)
        await self.until(lambda: self.loads == 4)

    async def test_a_flood_is_bounded_and_counted(self) -> None:
        """
        Of what a quiet version prints at once, 256 KiB of an invocation are told, and how many
        lines are not.
        """
        await self.hushed()
        await self.ask("/much")
        (trace,) = await self.told()
        kept = len(trace["logs"])
        self.assertEqual(kept, 26)
        await self.until(lambda: self.events.losses)
        self.assertEqual(self.events.losses, [("fn-v", 0, 100 - kept)])

    async def test_no_request_fails_while_it_changes(self) -> None:
        """
        Requests are answered while a version becomes quiet and while it gets its tail back, and
        only silent ones and what they leave in memory make a difference.
        """
        await self.serve(code(TALKER))
        for path in ("/log", "/"):
            for _ in range(40):
                asked = [Deferred.fromCoroutine(self.ask("/")) for _ in range(20)]
                self.assertEqual({reply.status for reply in await gatherResults(asked)}, {200})
                await self.ask(path)
        await self.until(lambda: self.loads == 2)
        await self.told(40)
        self.assertEqual(len(self.events.traces), 40)

    async def test_only_what_a_witness_sees_becomes_quiet(self) -> None:
        """
        Handlers that are classes, and functions that import `waitUntil`, keep their tail.
        """
        for text in (CLASS, BACKGROUND):
            self.loader.asked.clear()
            await self.serve(code(text))
            await self.many(TRIAL)
            await self.until(lambda: self.loads == 2)
            self.events.watched = ["fn-v"]
            await self.health("fn-v")
            await self.ask("/told")
            await self.told()
            self.assertEqual(self.loads, 2)
            self.events.watched, self.events.traces = [], []
            await self.cells.stop()

    async def lies(self, path: str) -> None:
        """
        After a lie the version gets its tail back, and its cell goes on.
        """
        await self.hushed(LIAR)
        await self.ask(path)
        while (await self.health())["pending"] > 0 or self.loads < 3:
            pass
        self.assertEqual((await self.ask("/")).text, "ok")
        self.assertEqual(self.events.traces, [])

    async def test_nonsense_of_a_witness_harms_nobody(self) -> None:
        """
        A function that makes its witness say nonsense has a tail from then on, and no more.
        """
        await self.lies("/lie")

    async def test_a_debt_of_a_witness_harms_nobody(self) -> None:
        """
        A function that makes its witness count below zero, which would hide what others do, has a
        tail from then on, and no more.
        """
        await self.lies("/owe")

    async def test_a_witness_without_end_harms_nobody(self) -> None:
        """
        A function that makes its witness talk without end has a tail from then on, and no more.
        """
        await self.lies("/more")

    async def test_a_silent_witness_harms_nobody(self) -> None:
        """
        A function that makes its witness say nothing has a tail from then on, and no more.
        """
        await self.lies("/none")
