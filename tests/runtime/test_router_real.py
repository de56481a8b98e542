"""The router Worker inside a real cell, asked as the relay asks it."""

import gzip
import json
from typing import Any

from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import deferLater

from tests.runtime.support import (
    ACCOUNT,
    OTHER,
    Collector,
    RealCase,
    Reply,
    body_of,
    code,
    module,
)
from workerd_faas.domain.errors import Kind, Problem
from workerd_faas.domain.model import Code, ModuleKind
from workerd_faas.domain.upstream import Upstream

ECHO = """
export default {
  async fetch(request, env, ctx) {
    return Response.json({
      url: request.url, method: request.method, cf: request.cf, env,
      headers: Object.fromEntries(request.headers), body: await request.text(),
      redirect: request.redirect,
    });
  }
}
"""

PATHS = """
const born = crypto.randomUUID ? Math.random() : 0;
export default {
  async fetch(request, env, ctx) {
    const path = new URL(request.url).pathname;
    if (path === "/throw") throw new TypeError("the secret is 42");
    if (path === "/reject") return await Promise.reject("just text");
    if (path === "/not-a-response") return 5;
    if (path === "/null") throw null;
    if (path === "/hang") return await new Promise(() => {});
    if (path === "/log") { console.log("hello", { a: 1 }); console.warn("careful"); }
    if (path === "/later") ctx.waitUntil(scheduler.wait(+request.headers.get("x-ms")).then(
      () => console.log("later")));
    if (path === "/late-throw") ctx.waitUntil(Promise.reject(new Error("late")));
    if (path === "/stream") return new Response(new ReadableStream({
      async start(c) {
        for (let i = 0; i < 5; i++) {
          c.enqueue(new TextEncoder().encode(`${i}\\n`));
          await scheduler.wait(20);
        }
        c.close();
      }
    }));
    if (path === "/gzip") return new Response("packed".repeat(100), {
      headers: { "content-encoding": "gzip" } });
    if (path === "/redirect") return Response.redirect("https://elsewhere.test/", 302);
    return new Response("alive");
  }
}
"""


class RouterCase(RealCase):
    """
    One cell with versions.
    """

    async def serve(self, *, keep: int = 200, **versions: Code) -> Upstream:
        """
        A cell that knows these versions and keeps so many loaded.
        """
        self.loader.versions.update(versions)
        return await self.ready(await self.fleet(loaded_versions=keep))

    async def logged(self, count: int = 1) -> None:
        """
        Wait for so many traces.
        """
        await self.until(lambda: len(self.events.traces) >= count)


class PassingOnTests(RouterCase):
    """
    A request reaches the function as it came.
    """

    async def test_the_request_is_untouched(self) -> None:
        """
        The function sees method, public URL, headers, cf and body as the relay sent them.
        """
        upstream = await self.serve(v=code(ECHO, env={"GREETING": "hi", "N": {"a": [1, None]}}))
        reply = await self.client.get(
            upstream,
            "v",
            "/a%20b?x=1&x=2",
            headers={"X-Mine": "ü".encode().decode("latin-1"), "Content-Type": "text/plain"},
            body=b"payload",
            method="PATCH",
        )
        seen = reply.json
        self.assertEqual(seen["url"], "https://fn.example.test/a%20b?x=1&x=2")
        self.assertEqual((seen["method"], seen["body"]), ("PATCH", "payload"))
        self.assertEqual(seen["cf"], {"version": "v"})
        self.assertEqual(seen["env"], {"GREETING": "hi", "N": {"a": [1, None]}})
        self.assertEqual(seen["headers"]["cf-ray"], "0123456789abcdef")
        self.assertNotIn("wfaas-cf", seen["headers"])

    async def test_versions_do_not_mix(self) -> None:
        """
        Each request runs in the version that the relay named, however they are interleaved.
        """
        names = [f"v{n}" for n in range(8)]
        text = "export default { fetch() { return new Response('%s') } }"
        self.loader.versions.update({name: code(text % name) for name in names})
        upstream = await self.serve()
        replies: list[Reply] = await gatherResults(
            [
                Deferred.fromCoroutine(self.client.get(upstream, name))
                for _ in range(10)
                for name in names
            ]
        )
        self.assertEqual([reply.text for reply in replies], names * 10)
        self.assertEqual(len(self.loader.asked), len(names), "each is loaded once")

    async def test_compressed_answers_stay_compressed(self) -> None:
        """
        An answer that the function has workerd compress arrives compressed once.
        """
        upstream = await self.serve(v=code(PATHS))
        reply = await self.client.get(upstream, "v", "/gzip", headers={"accept-encoding": "gzip"})
        self.assertEqual(gzip.decompress(reply.body), b"packed" * 100)

    async def test_redirects_are_the_clients_business(self) -> None:
        """
        A redirect is passed on, not followed.
        """
        upstream = await self.serve(v=code(PATHS))
        reply = await self.client.get(upstream, "v", "/redirect")
        self.assertEqual(reply.status, 302)
        self.assertEqual(reply.headers.getRawHeaders("location"), ["https://elsewhere.test/"])

    async def test_streams_come_as_they_are_made(self) -> None:
        """
        The first chunk of an answer arrives before the last one is made.
        """
        upstream = await self.serve(v=code(PATHS))
        response = await self.client.begin(upstream, "v", "/stream")
        collector = Collector()
        response.deliverBody(collector)
        await self.until(lambda: collector.received)
        self.assertNotIn(b"4", collector.received)
        self.assertEqual(await collector.whole, b"0\n1\n2\n3\n4\n")

    async def test_the_client_going_away_is_seen(self) -> None:
        """
        `request.signal` aborts when the connection to the cell is closed.
        """
        upstream = await self.serve(
            v=code(
                """
                export default {
                  async fetch(request, env, ctx) {
                    if (request.url.endsWith("/wait")) {
                      request.signal.addEventListener("abort", () => console.log("gone"));
                      ctx.waitUntil(scheduler.wait(300));
                      await new Promise((done) => setTimeout(done, 20000));
                    }
                    return new Response("ok");
                  }
                }
                """,
                flags=["enable_request_signal"],
            )
        )
        await self.client.get(upstream, "v")
        asking = Deferred.fromCoroutine(self.client.begin(upstream, "v", "/wait"))
        await deferLater(self.reactor, 0.2)
        asking.cancel()
        await self.assertFailure(asking, Exception)
        await self.until(lambda: "gone" in self.events.printed())

    async def test_websocket(self) -> None:
        """
        An upgrade reaches the function, and messages go both ways.
        """
        upstream = await self.serve(
            v=code(
                """
                export default {
                  fetch(request) {
                    const { 0: ours, 1: theirs } = new WebSocketPair();
                    theirs.accept();
                    theirs.addEventListener("message", (e) => theirs.send("echo " + e.data));
                    return new Response(null, { status: 101, webSocket: ours });
                  }
                }
                """
            )
        )
        from tests.runtime.websocket import echo

        self.assertEqual(await echo(self.reactor, upstream.address, "v", "hi"), "echo hi")

    async def test_every_shape_of_worker(self) -> None:
        """
        Objects, classes, proxies, old compatibility dates and thenables all answer.
        """
        classed = """
            import { WorkerEntrypoint } from "cloudflare:workers";
            export default class extends WorkerEntrypoint {
              fetch() { return new Response(this.env.X) }
            }
        """
        upstream = await self.serve(
            classed=code(classed, env={"X": "ok"}),
            proxy=code("export default new Proxy({}, {get: () => () => new Response('ok')})"),
            old=code("export default { fetch() { return new Response('ok') } }", date="2021-11-03"),
            thenable=code(
                "export default { then(f) { f(1) }, fetch() { return new Response('ok') } }"
            ),
            shadow=code(
                "export class __workerd_faas {}; export const fetch = () => 1;"
                "export default { fetch() { return new Response('ok') } }"
            ),
            folder=code(
                module(
                    "src/main.mjs",
                    "import t from './t'; export default { fetch: () => new Response(t) }",
                ),
                module("src/t", "ok", ModuleKind.TEXT),
            ),
            polluted=code(
                "Object.prototype.polluted = 1; Array.prototype.push = null;"
                "Promise.prototype.then = null;"
                "export default { fetch() { return new Response('ok') } }"
            ),
        )
        for version in self.loader.versions:
            self.assertEqual((await self.client.get(upstream, version)).text, "ok", version)

    async def test_the_garbage_collector_is_not_handed_out(self) -> None:
        """
        The function that has V8 collect garbage is ours alone.
        """
        upstream = await self.serve(
            v=code(
                """
                const seen = [typeof gc, typeof __workerd_faas_gc,
                  ...Object.values(globalThis).filter((v) => v?.name?.endsWith?.("gc"))];
                export default { fetch() { return Response.json(seen) } }
                """
            )
        )
        self.assertEqual((await self.client.get(upstream, "v")).json, ["undefined", "undefined"])


class ErrorTests(RouterCase):
    """
    What is answered when a function gives no answer.
    """

    async def test_exceptions(self) -> None:
        """
        Whatever a function throws is a 500 that names the request and nothing of the exception.
        """
        upstream = await self.serve(v=code(PATHS))
        for path in ("/throw", "/reject", "/not-a-response", "/null", "/hang"):
            reply = await self.client.get(upstream, "v", path)
            self.assertEqual(reply.status, 500, path)
            self.assertEqual(
                reply.json,
                {
                    "success": False,
                    "errors": [{"code": 1101, "message": "Worker threw exception"}],
                    "messages": [],
                    "result": None,
                    "request_id": "0123456789abcdef",
                },
            )
        self.assertEqual((await self.client.get(upstream, "v")).text, "alive")

    async def test_exceptions_for_browsers(self) -> None:
        """
        A browser gets a page with the request id, in which nothing of the request is markup.
        """
        upstream = await self.serve(v=code(PATHS))
        headers = {"accept": "text/html,*/*", "cf-ray": "<b>1&'\""}
        reply = await self.client.get(upstream, "v", "/throw", headers=headers)
        self.assertEqual(reply.status, 500)
        self.assertIn("text/html", reply.headers.getRawHeaders("content-type", [""])[0])
        self.assertIn("&lt;b&gt;1&amp;&#39;&quot;", reply.text)
        self.assertNotIn("42", reply.text)

    async def test_the_details_are_in_the_log(self) -> None:
        """
        The trace of a failed request has the exception with its stack and the request's id.
        """
        upstream = await self.serve(v=code(PATHS))
        await self.client.get(upstream, "v", "/throw")
        await self.logged()
        [(function, version, trace)] = self.events.traces
        self.assertEqual((function, version), ("fn-v", "v"))
        self.assertEqual(trace["outcome"], "exception")
        [exception] = trace["exceptions"]
        self.assertEqual(exception["message"], "the secret is 42")
        self.assertIn("index.js", exception["stack"])
        self.assertEqual(trace["event"]["request"]["headers"]["cf-ray"], "0123456789abcdef")

    async def test_code_that_does_not_start(self) -> None:
        """
        A stored version that cannot start is a 500 of its own kind, and other versions serve.
        """
        upstream = await self.serve(bad=code("throw new Error('no')"), v=code(PATHS))
        reply = await self.client.get(upstream, "bad")
        self.assertEqual((reply.status, reply.json["errors"][0]["code"]), (500, 1104))
        self.assertNotIn("Error: no", reply.text)
        self.assertEqual((await self.client.get(upstream, "v")).text, "alive")

    async def test_a_start_that_failed_does_not_stick(self) -> None:
        """
        A version that could not start serves after the cause has gone.
        """
        upstream = await self.serve(v=code("throw new Error('no')"))
        self.assertEqual((await self.client.get(upstream, "v")).status, 500)
        self.loader.versions["v"] = code(PATHS)
        statuses = [500]
        while statuses[-1] == 500:
            await deferLater(self.reactor, 0.05)
            statuses.append((await self.client.get(upstream, "v")).status)
        self.assertEqual(statuses[-1], 200)
        self.assertEqual(len(self.loader.asked), 2, "and it is not tried at every request")

    async def test_a_version_that_cannot_be_fetched(self) -> None:
        """
        A corrupt bundle or a busy daemon is a 503 with Retry-After, and the next request asks anew.
        """
        upstream = await self.serve(v=code(PATHS))
        for kind in (Kind.BUNDLE_CORRUPT, Kind.UNAVAILABLE, Kind.VERSION_NOT_FOUND):
            self.loader.broken = Problem(kind=kind, message="broken")
            reply = await self.client.get(upstream, "v")
            self.assertEqual((reply.status, reply.json["errors"][0]["code"]), (503, 1105))
            self.assertEqual(reply.headers.getRawHeaders("retry-after"), ["1"])
        self.loader.broken = None
        self.assertEqual((await self.client.get(upstream, "v")).text, "alive")

    async def test_another_accounts_version(self) -> None:
        """
        A cell cannot load a version of another account even if the relay asked for it.
        """
        self.loader.owners["theirs"] = OTHER
        upstream = await self.serve(v=code(PATHS), theirs=code(PATHS))
        self.assertEqual((await self.client.get(upstream, "theirs")).status, 503)
        self.assertEqual(self.loader.asked, [(ACCOUNT, "theirs")])

    async def test_a_request_that_came_behind_our_back(self) -> None:
        """
        Without the relay's header, or with a senseless one, nothing runs.
        """
        upstream = await self.serve(v=code(PATHS))
        blobs: tuple[Any, ...] = (
            {},
            {"version": None},
            {"version": "../v"},
            {"version": ["v"]},
            [],
        )
        for blob in blobs:
            reply = await self.client.get(upstream, "v", headers={"wfaas-cf": json.dumps(blob)})
            self.assertEqual(reply.status, 503, blob)

    async def test_first_client_gone(self) -> None:
        """
        Those who wait for a load get their answers when the client that caused it has gone.
        """
        upstream = await self.serve(v=code(PATHS))
        gate: Deferred[None] = Deferred()
        self.loader.wait = lambda: gate
        first = Deferred.fromCoroutine(self.client.begin(upstream, "v"))
        await self.until(lambda: self.loader.asked)
        others = [Deferred.fromCoroutine(self.client.get(upstream, "v")) for _ in range(5)]
        await deferLater(self.reactor, 0.1)
        first.cancel()
        await self.assertFailure(first, Exception)
        await deferLater(self.reactor, 0.1)
        self.loader.wait = None
        gate.callback(None)
        self.assertEqual([(await other).text for other in others], ["alive"] * 5)
        self.assertEqual((await self.client.get(upstream, "v")).text, "alive")


class TraceTests(RouterCase):
    """
    What functions say.
    """

    async def test_console(self) -> None:
        """
        Console output arrives with its levels and arguments; silent requests are not reported.
        """
        upstream = await self.serve(v=code(PATHS))
        await self.client.get(upstream, "v")
        await self.client.get(upstream, "v", "/log")
        await self.logged()
        [(_, _, trace)] = self.events.traces
        logs = [(log["level"], log["message"]) for log in trace["logs"]]
        self.assertEqual(logs, [("log", ["hello", {"a": 1}]), ("warn", ["careful"])])
        self.assertEqual(trace["outcome"], "ok")

    async def test_work_after_the_answer(self) -> None:
        """
        What is logged or thrown in `waitUntil` is reported too.
        """
        upstream = await self.serve(v=code(PATHS))
        await self.client.get(upstream, "v", "/late-throw")
        await self.client.get(upstream, "v", "/later", headers={"x-ms": "20"})
        await self.logged(2)
        self.assertIn("later", self.events.printed())
        thrown = [e["message"] for _, _, t in self.events.traces for e in t["exceptions"]]
        self.assertEqual(thrown, ["late"])

    async def test_many_traces_arrive_in_order(self) -> None:
        """
        A burst of reports is complete and in order.
        """
        upstream = await self.serve(
            v=code(
                "let n = 0; export default { fetch() { console.log(n++); return new Response() } }"
            )
        )
        for _ in range(60):
            await self.client.get(upstream, "v")
        await self.logged(60)
        self.assertEqual(self.events.printed(), list(range(60)))

    async def test_a_flood_is_bounded(self) -> None:
        """
        A function that logs without measure is cut off, and still answers.
        """
        upstream = await self.serve(
            v=code(
                """
                export default { fetch() {
                  for (let i = 0; i < 20000; i++) console.log("x".repeat(1000));
                  return new Response("ok");
                } }
                """
            )
        )
        for _ in range(3):
            self.assertEqual((await self.client.get(upstream, "v")).text, "ok")
        await self.logged(3)
        for _, _, trace in self.events.traces:
            self.assertLess(len(json.dumps(trace)), 1 << 20)


class EvictionTests(RouterCase):
    """
    Versions leave memory.
    """

    async def loaded(self, upstream: Upstream) -> dict[str, Any]:
        """
        What the router says of itself.
        """
        probe = {"wfaas-cf": json.dumps({"probe": True})}
        reply: dict[str, Any] = (await self.client.get(upstream, "", headers=probe)).json
        return reply

    async def test_the_least_recently_used_goes(self) -> None:
        """
        No more versions than allowed stay loaded, and the one that was used last stays.
        """
        text = "const born = Math.random(); export default { fetch: () => new Response(born) }"
        versions = {f"v{n}": code(text) for n in range(6)}
        self.loader.versions.update(versions)
        upstream = await self.serve(keep=3)
        kept = (await self.client.get(upstream, "v0")).text
        for n in range(1, 6):
            await self.client.get(upstream, f"v{n}")
            self.assertEqual((await self.client.get(upstream, "v0")).text, kept)
        self.assertEqual((await self.loaded(upstream))["loaded"], 3)
        self.loader.asked.clear()
        for n in (1, 5):
            await self.client.get(upstream, f"v{n}")
        self.assertEqual([version for _, version in self.loader.asked], ["v1"])

    async def test_eviction_hurts_nobody(self) -> None:
        """
        Requests, streams and `waitUntil` work of a version go on to their end when it is evicted.
        """
        text = "export default { fetch: () => new Response('x') }"
        upstream = await self.serve(keep=1, v=code(PATHS), a=code(text), b=code(text))
        streaming = await self.client.begin(upstream, "v", "/stream")
        await self.client.get(upstream, "v", "/later", headers={"x-ms": "200"})
        for version in ("a", "b"):
            await self.client.get(upstream, version)
        self.assertEqual(await body_of(streaming), b"0\n1\n2\n3\n4\n")
        await self.until(lambda: "later" in self.events.printed())
        while (await self.loaded(upstream))["loaded"] > 1:
            await deferLater(self.reactor, 0.02)

    async def test_an_isolate_that_ends_itself(self) -> None:
        """
        A function that calls `abortIsolate` loses that request and is loaded anew for the next.
        """
        upstream = await self.serve(
            v=code(
                """
                import { abortIsolate } from "cloudflare:workers";
                export default { async fetch(request) {
                  if (request.url.endsWith("/abort")) abortIsolate("bye");
                  return new Response("ok");
                } }
                """
            )
        )
        for _ in range(3):
            self.assertEqual((await self.client.get(upstream, "v")).text, "ok")
            self.assertEqual((await self.client.get(upstream, "v", "/abort")).status, 500)
        self.loader.broken = Problem(kind=Kind.UNAVAILABLE, message="")
        self.assertEqual((await self.client.get(upstream, "v")).status, 503)
        self.loader.broken = None
        self.assertEqual((await self.client.get(upstream, "v")).text, "ok")

    async def test_a_removed_version_is_dropped(self) -> None:
        """
        The daemon can have a version forgotten; if asked for again it is fetched again.
        """
        self.loader.versions["v"] = code(PATHS)
        fleet = await self.fleet()
        upstream = await self.ready(fleet)
        await self.client.get(upstream, "v")
        fleet.version_removed(OTHER, "v")
        fleet.version_removed(ACCOUNT, "nothing")
        fleet.version_removed(ACCOUNT, "v")
        while (await self.loaded(upstream))["loaded"]:
            await deferLater(self.reactor, 0.02)
        self.loader.broken = Problem(kind=Kind.VERSION_NOT_FOUND, message="")
        self.assertEqual((await self.client.get(upstream, "v")).status, 503)

    async def test_pending_work_is_counted(self) -> None:
        """
        The router's count of unfinished invocations includes `waitUntil` and returns to zero.
        """
        upstream = await self.serve(v=code(PATHS))
        for path in ("/", "/throw", "/log", "/stream", "/late-throw"):
            await self.client.get(upstream, "v", path)
        streaming = await self.client.begin(upstream, "v", "/stream")
        streaming._transport.stopProducing()  # type: ignore[attr-defined]
        await self.client.get(upstream, "v", "/later", headers={"x-ms": "400"})
        self.assertGreaterEqual((await self.loaded(upstream))["pending"], 1)
        while (await self.loaded(upstream))["pending"]:
            await deferLater(self.reactor, 0.02)
        self.assertIn("later", self.events.printed())
