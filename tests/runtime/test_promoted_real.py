"""Versions that are called so much that they get a process of their own."""

import os
import signal
from typing import Any

import attrs
from twisted.internet.defer import Deferred, gatherResults

from tests.runtime.support import ACCOUNT, RealCase, Reply, code, module
from tests.runtime.test_quiet_real import TALKER as QUIET_TALKER
from tests.runtime.websocket import echo
from workerd_faas.domain.model import ModuleKind
from workerd_faas.domain.routing import Route
from workerd_faas.runtime.fleet import Fleet
from workerd_faas.runtime.waiting import router_for
from workerd_faas.wire.headers import CALLED

ROUTE = Route(ACCOUNT, "fn-v", "v")

TALKER = QUIET_TALKER.replace(
    "asked++;",
    'asked++; if (path === "/slow") return scheduler.wait(500).then(() => new Response("slow"));',
)
FORTY_TWO = bytes.fromhex("0061736d010000000105016000017f03020100070501016600000a06010400412a0b")
"""`(module (func (export "f") (result i32) i32.const 42))`"""


class PromotedTests(RealCase):
    """
    One function, asked very often.
    """

    timeout = 120

    async def ask(self, path: str = "/", **more: Any) -> Reply:
        """
        One request, sent where the relay would send it.
        """
        return await self.client.get(await self.ready(self.cells, ROUTE), "v", path, **more)

    async def many(self, count: int) -> None:
        """
        So many requests that say nothing.
        """
        for _ in range(count // 20):
            replies = [Deferred.fromCoroutine(self.ask()) for _ in range(20)]
            self.assertEqual({reply.status for reply in await gatherResults(replies)}, {200})

    @property
    def is_promoted(self) -> bool:
        """
        Whether requests go to a process of the version's own.
        """
        upstream = self.cells.upstream(ROUTE)
        return upstream is not None and "@v" in upstream.label

    async def promote(self, text: str = TALKER, **more: Any) -> None:
        """
        A version that has become quiet and is called until it is promoted.
        """
        self.loader.versions["v"] = code(text, **more)
        self.cells: Fleet = await self.fleet()
        while not self.is_promoted:
            await self.many(100)

    async def test_it_runs_without_a_router(self) -> None:
        """
        A promoted version gets what it got before: URL, headers, `cf` and `env`.
        """
        await self.promote(
            """export default { fetch(request, env) {
              const { url, method, cf } = request;
              return Response.json({ url, method, cf, env, ray: request.headers.get("cf-ray") });
            } }"""
        )
        answer = await self.ask("/a%20b?c=d", method="PUT", body=b"x")
        self.assertEqual(
            answer.json,
            {
                "url": "https://fn.example.test/a%20b?c=d",
                "method": "PUT",
                "cf": {"version": "v"},
                "env": {},
                "ray": "0123456789abcdef",
            },
        )

    async def test_modules_and_secrets_are_what_they_were(self) -> None:
        """
        Modules of every kind, names that need quotes, and values of `env` reach a promoted version
        unchanged; its secrets are in no file and on no command line.
        """
        secret = 'a "secret"\\\n\u00e4\U0001f600'
        text = """
import text from "./a folder/t\\"1.txt";
import data from "./d.bin";
import json from "./j.json";
import wasm from "./w.wasm";
import cjs from "./c.cjs";
import { env as imported } from "cloudflare:workers";
export default { async fetch(request, env) {
  return Response.json({
    text, json, cjs: cjs.found, env, same: imported.SECRET === env.SECRET,
    data: [...new Uint8Array(data)],
    wasm: (await WebAssembly.instantiate(wasm)).exports.f(),
  });
} }"""
        modules = (
            module("index.js", text),
            module('a folder/t"1.txt', "\ufeffone\\two", ModuleKind.TEXT),
            module("d.bin", bytes(range(256)), ModuleKind.DATA),
            module("j.json", '{"a": [1, "\u2028"]}', ModuleKind.JSON),
            module("w.wasm", FORTY_TWO, ModuleKind.WASM),
            module("c.cjs", "exports.found = true;", ModuleKind.COMMONJS),
        )
        env = {"SECRET": secret, "NULL": None, "DEEP": {"a": [1.5, False]}, "NUL": "a\0b"}
        self.loader.versions["v"] = code(*modules, env=env)
        self.cells = await self.fleet()
        before = (await self.ask()).json
        while not self.is_promoted:
            await self.many(100)
        self.assertEqual((await self.ask()).json, before)
        self.assertEqual(before["env"], env)
        self.assertEqual(before["wasm"], 42)
        for path in self.directory.rglob("*"):
            self.assertFalse(path.is_file(), path)

    async def back(self) -> None:
        """
        Wait until requests go to the account's process, and until that has told of one.
        """
        await self.until(lambda: not self.is_promoted)

    async def test_errors_have_the_page_and_are_told(self) -> None:
        """
        What goes wrong in a promoted version is answered and told as everywhere; it is promoted no
        longer then, and no request fails for that.
        """
        for path, outcome in (
            ("/throw", "exception"),
            ("/reject", "exception"),
            ("/not-a-response", "exception"),
        ):
            await self.promote()
            answer = await self.ask(path)
            self.assertEqual((answer.status, answer.json["errors"][0]["code"]), (500, 1101))
            await self.until(lambda: self.events.traces)
            ((_, _, trace),) = self.events.traces
            self.assertEqual(trace["outcome"], outcome)
            self.assertEqual(trace["event"]["request"]["url"], "https://fn.example.test" + path)
            await self.back()
            await self.many(100)
            self.events.traces.clear()
            await self.cells.stop()

    async def test_what_it_says_is_told(self) -> None:
        """
        What a promoted version prints is told once, with its account and version; what it prints
        when it is not promoted any more, too.
        """
        await self.promote()
        await self.ask("/log")
        await self.until(lambda: self.events.traces)
        await self.back()
        await self.ask("/log")
        await self.until(lambda: len(self.events.traces) == 2)
        self.assertEqual({each[:2] for each in self.events.traces}, {("fn-v", "v")})

    async def test_whoever_watches_sees_the_next_request(self) -> None:
        """
        As soon as somebody watches, requests go where a tail can be.
        """
        await self.promote()
        self.events.watched = ["fn-v"]
        self.cells.tails_changed(ACCOUNT)
        self.assertFalse(self.is_promoted)

    async def test_what_has_changed_is_not_served(self) -> None:
        """
        A version that has to be loaded anew, or is gone, is promoted no longer before whoever
        changed it is answered.
        """
        await self.promote()
        await self.cells.function_changed(ACCOUNT, "fn-v", reload=False)
        self.assertTrue(self.is_promoted)
        await self.cells.function_changed(ACCOUNT, "fn-v", reload=True)
        self.assertFalse(self.is_promoted)
        while not self.is_promoted:
            await self.many(100)
        self.cells.version_removed(ACCOUNT, "v")
        self.assertFalse(self.is_promoted)

    async def test_what_needs_a_router_gets_one(self) -> None:
        """
        Schedules, queues and calls of other functions go to the account's process, where a router
        understands them.
        """
        await self.promote()
        self.assertEqual((await router_for(self.cells, ROUTE)).label, f"cell 1 of {ACCOUNT}")
        called = attrs.evolve(ROUTE, version_id=CALLED + ROUTE.version_id)
        upstream = self.cells.upstream(called)
        assert upstream is not None
        self.assertEqual(upstream.label, f"cell 1 of {ACCOUNT}")

    async def test_its_work_is_finished(self) -> None:
        """
        `waitUntil` work and requests of a promoted version are finished after it was demoted.
        """
        await self.promote()
        upstream = self.cells.upstream(ROUTE)
        assert upstream is not None
        slow = Deferred.fromCoroutine(self.ask("/slow"))
        await self.ask("/after")
        await self.cells.function_changed(ACCOUNT, "fn-v", reload=True)
        self.assertEqual((await slow).text, "slow")
        await self.until(lambda: self.events.traces)
        self.assertEqual(self.events.traces[0][2]["logs"][0]["message"], ["after"])
        await self.until(lambda: upstream.retired)

    async def test_conversations_go_on(self) -> None:
        """
        A WebSocket that was opened while its version was promoted goes on after that, and its
        process with it.
        """
        await self.promote()
        upstream = self.cells.upstream(ROUTE)
        assert upstream is not None
        upstream.begin("fn-v")
        answer = await echo(self.reactor, upstream.address, "v", "hello")
        self.assertEqual(answer, "hello")
        await self.back()
        for _ in range(3):
            await self.many(20)
            await self.cells.function_changed(ACCOUNT, "fn-v", reload=True)
        self.assertFalse(upstream.retired)
        upstream.end()
        await self.until(lambda: upstream.retired)

    async def test_its_process_dies_alone(self) -> None:
        """
        When the process of a promoted version is killed, requests go to the account's at once.
        """
        await self.promote()
        (pid,) = (cell.pid for cell in self.cells.status().cells if cell.function == "fn-v")
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        await self.back()
        self.assertEqual((await self.ask()).text, "ok")

    async def test_a_hang_is_blamed(self) -> None:
        """
        A promoted version that never yields is killed, and its function is under suspicion.
        """
        await self.promote(TALKER.replace('"/after"', '"/spin") for (;;); if (path === "/after"'))
        spinning = Deferred.fromCoroutine(self.ask("/spin"))
        spinning.addErrback(lambda _: None)
        await self.back()
        await self.until(self.cells.quarantine.records)
        await spinning
        (record,) = self.cells.quarantine.records()
        self.assertEqual(record.function, "fn-v")
        self.assertEqual((await self.ask()).text, "ok")

    async def test_one_of_an_account(self) -> None:
        """
        However many versions of an account are called much, no more are promoted than its share.
        """
        self.loader.versions["v"] = code(TALKER)
        self.loader.versions["w"] = code(TALKER)
        self.cells = await self.fleet()
        other = Route(ACCOUNT, "fn-w", "w")
        more = 5
        while more:
            await self.many(100)
            for _ in range(5):
                await gatherResults([Deferred.fromCoroutine(self.other(other)) for _ in range(20)])
            alone = [cell.function for cell in self.cells.status().cells if cell.function]
            self.assertLessEqual(len(alone), 1)
            more -= len(alone)

    async def other(self, route: Route) -> None:
        """
        A request to another function.
        """
        await self.client.get(await self.ready(self.cells, route), route.version_id)
