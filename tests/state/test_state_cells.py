"""State cells with real processes: what is kept, who reaches it, how a cell is replaced."""

import json
import os
import signal
import stat
from typing import Any

from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import deferLater
from twisted.logger import capturedLogs

from tests.runtime.support import ACCOUNT, OTHER, walls
from tests.state.support import AccountLoader, StateCase, files_of, manage
from workerd_faas.domain.errors import Kind, Problem
from workerd_faas.domain.policies import Isolation
from workerd_faas.domain.routing import Route
from workerd_faas.runtime import javascript
from workerd_faas.runtime.cell import Times
from workerd_faas.usecases.storage.ports import StateQuestion

KEEPER = """
export default {
  async fetch(request, env) {
    const key = new URL(request.url).pathname.slice(1);
    if (request.method === "POST") {
      await env.KV.put(key, await request.text());
      await env.D1.exec("CREATE TABLE IF NOT EXISTS seen (key TEXT)");
      await env.D1.prepare("INSERT INTO seen VALUES (?)").bind(key).run();
      await env.QUEUE.send(key);
      return new Response("kept");
    }
    const { results } = await env.D1.prepare("SELECT key FROM seen ORDER BY key").all();
    const rows = results.map((row) => row.key);
    const { backlogCount } = await env.QUEUE.metrics();
    return Response.json({ value: await env.KV.get(key), rows, backlogCount });
  },
};
"""

STREAMS = """
export default {
  async fetch(request, { KV }) {
    await KV.put("key", "old");
    const part = new Uint8Array(70_000);
    const broken = (late) => {
      const parts = [part, part];
      return new ReadableStream({
        async pull(controller) {
          if (parts.length) return controller.enqueue(parts.pop());
          if (late) await scheduler.wait(50);
          controller.error(new Error("broken"));
        },
      });
    };
    const endless = new ReadableStream({
      pull: (controller) => controller.enqueue(part),
    });
    const aborted = new IdentityTransformStream();
    const writer = aborted.writable.getWriter();
    writer.write(part).then(() => writer.abort(new Error("broken"))).catch(() => {});
    const seen = [];
    for (const stream of [broken(false), broken(true), aborted.readable, endless]) {
      const outcome = await KV.put("key", stream).then(String, (error) => error.message);
      seen.push(outcome.replace(/of [0-9]+ exceeds/, "exceeds"), await KV.get("key"));
    }
    const whole = new ReadableStream({
      start(controller) {
        for (const each of ["é", part.buffer.slice(0, 2), ""]) controller.enqueue(each);
        controller.close();
      },
    });
    await KV.put("key", whole);
    seen.push(await KV.get("key"));
    await KV.put("key", new Response("w".repeat(200_000)).body);
    seen.push((await KV.get("key")).length);
    return Response.json(seen);
  },
};
"""

LOST = "Error: D1_ERROR: The database cannot be reached at the moment: network connection lost."

BUSY = """
export default {
  async fetch(request, env) {
    const key = new URL(request.url).pathname.slice(1);
    if (key === "create") return Response.json(await env.D1.exec("CREATE TABLE seen (key TEXT)"));
    if (key === "rows") {
      return Response.json((await env.D1.prepare("SELECT key FROM seen").raw()).flat());
    }
    const others = async () => {
      await env.KV.put(key, key);
      if ((await env.KV.get(key)) !== key) return "another value";
      await env.QUEUE.send(key);
      return (await env.D1.prepare("SELECT 'done' AS said").first()).said;
    };
    const written = async () => {
      await env.D1.prepare("INSERT INTO seen VALUES (?)").bind(key).run();
      return "done";
    };
    const outcome = await Promise.all([others, written].map((each) => each().catch(String)));
    return Response.json({ key, others: outcome[0], written: outcome[1] });
  },
};
"""

KEPT = {"objects", "blobs"}
"""What is in an account's state directory."""

THIEF = """
export default {
  async fetch(request, env, ctx) {
    let stolen;
    let owner = ctx.exports.default;
    while (!Object.hasOwn(owner, "fetch")) owner = Object.getPrototypeOf(owner);
    const original = owner.fetch;
    owner.fetch = function (...rest) {
      stolen ??= this;
      return original.apply(this, rest);
    };
    await env.KV.put("mine", "1");
    owner.fetch = original;
    const { url, method, headers } = await request.json();
    const response = await original.call(stolen, url, { method, headers });
    return Response.json({ status: response.status, text: await response.text() });
  },
};
"""


class KeepingTests(StateCase):
    """
    What was acknowledged is there.
    """

    async def test_acknowledged_writes_survive_kill_9(self) -> None:
        """
        Values, rows and messages that were acknowledged before the cell was killed are there after
        it, and the next request finds a new cell.
        """
        state = await self.state_fleet()
        fleet = await self.functions(state, AccountLoader(KEEPER))
        for n in range(5):
            self.assertEqual((await self.call(fleet, f"/k{n}", body=b"v" * 70_000)).text, "kept")
            os.kill(self.pid(state), signal.SIGKILL)
            # Reaped, so that all of its sockets are closed.
            await self.until(lambda: not state.cells())
        found = (await self.call(fleet, "/k4")).json
        self.assertEqual(len(found["value"]), 70_000)
        self.assertEqual(found["rows"], ["k0", "k1", "k2", "k3", "k4"])
        self.assertEqual(found["backlogCount"], 5)

    async def test_a_stream_that_breaks_off_is_not_stored(self) -> None:
        """
        A value that comes as a stream is stored whole or, when the stream breaks, is aborted or has
        no end, not at all: `put` fails, and what the key had before is still there.
        """
        state = await self.state_fleet()
        old = {"date": "2022-01-01", "flags": ["streams_enable_constructors"]}
        for of_date in (old, {"date": "2026-11-01"}):
            fleet = await self.functions(state, AccountLoader(STREAMS, **of_date))
            seen = (await self.call(fleet)).json
            too_long = "KV PUT failed: 413 Value length exceeds limit of 26214400."
            self.assertEqual(seen[:8], ["broken", "old"] * 3 + [too_long, "old"])
            self.assertEqual(seen[8:], ["é\0\0", 200_000])

    async def test_nothing_fails_while_a_cell_is_replaced(self) -> None:
        """
        Requests that come while the cell is held wait; all of them succeed, also those that change
        something.
        """
        state = await self.state_fleet()
        fleet = await self.functions(state, AccountLoader(KEEPER))
        await self.call(fleet, "/first", body=b"1")
        pids = {self.pid(state)}
        stop = False

        async def write(who: int) -> list[str]:
            texts: list[str] = []
            while not stop:
                texts.append((await self.call(fleet, f"/{who}-{len(texts)}", body=b"1")).text)
            return texts

        writing = [Deferred.fromCoroutine(write(who)) for who in range(4)]
        for _ in range(3):
            await state.renew(ACCOUNT)
            pids.add(self.pid(state))
        stop = True
        texts = [text for each in await gatherResults(writing) for text in each]
        self.assertEqual(set(texts), {"kept"})
        self.assertEqual(len(pids), 4)
        rows = (await self.call(fleet, "/first")).json["rows"]
        self.assertEqual(len(rows), len(texts) + 1)

    async def test_what_can_be_asked_again_does_not_fail_when_a_cell_is_killed(self) -> None:
        """
        Of what is with a cell when it is killed, all but a change in a database is asked of its
        successor; such a change fails with words that say so, and is there once or not at all.
        """
        state = await self.state_fleet()
        fleet = await self.functions(state, AccountLoader(BUSY))
        await self.call(fleet, "/create")
        stop = False

        async def work(who: int) -> list[Any]:
            outcomes: list[Any] = []
            while not stop:
                outcomes.append((await self.call(fleet, f"/{who}-{len(outcomes)}")).json)
            return outcomes

        working = [Deferred.fromCoroutine(work(who)) for who in range(4)]
        killed: set[int] = set()
        while len(killed) < 3:
            ready = [each for each in state.cells() if each.state == "ready"]
            for cell in ready:
                if cell.pid not in killed and cell.pid is not None and cell.served > 20:
                    killed.add(cell.pid)
                    os.kill(cell.pid, signal.SIGKILL)
            await deferLater(self.reactor, 0.01)
        stop = True
        outcomes = [each for some in await gatherResults(working) for each in some]
        self.assertEqual({each["others"] for each in outcomes}, {"done"})
        self.assertLessEqual(
            {each["written"] for each in outcomes},
            {"done", LOST},
        )
        rows = (await self.call(fleet, "/rows")).json
        self.assertEqual(len(rows), len(set(rows)))
        acknowledged = {each["key"] for each in outcomes if each["written"] == "done"}
        self.assertLessEqual(acknowledged, set(rows))

    async def test_what_was_deleted_stays_deleted(self) -> None:
        """
        A function that still binds what was deleted is told so, and nothing of what it writes is
        kept where nobody would see it; deleting twice is no failure.
        """
        state = await self.state_fleet()
        text = """export default { async fetch(request, env) {
          const tries = [
            () => env.KV.put("k", "v"), () => env.KV.get("k"), () => env.KV.list(),
            () => env.D1.exec("CREATE TABLE t (a)"), () => env.QUEUE.send(1),
          ];
          const said = [];
          for (const each of tries) {
            try { said.push(await each() === null ? "null" : "done"); }
            catch (error) { said.push(String(error)); }
          }
          return Response.json(said);
        } }"""
        fleet = await self.functions(state, AccountLoader(text))
        self.assertEqual((await self.call(fleet)).json, ["done"] * 5)
        for target, name in (("/kv", "ns"), ("/d1", "db"), ("/queue", "queue")) * 2:
            self.assertEqual((await manage(state, "DELETE", target, name)).status, 200)
        for _ in range(2):
            said = (await self.call(fleet)).json
            self.assertEqual([each for each in said if "deleted" not in each], [])
            await state.renew(ACCOUNT)

    async def test_an_idle_cell_is_stopped_and_comes_back(self) -> None:
        """
        A cell that nobody uses ends; its data is there for the next request.
        """
        state = await self.state_fleet(idle=0.5)
        fleet = await self.functions(state, AccountLoader(KEEPER))
        await self.call(fleet, "/a", body=b"1")
        await self.until(lambda: not state.cells())
        self.assertEqual((await self.call(fleet, "/a")).json["value"], "1")

    async def test_files_are_the_daemons_alone(self) -> None:
        """
        An account's directory has mode 0700, and large values are files in it.
        """
        state = await self.state_fleet()
        fleet = await self.functions(state, AccountLoader(KEEPER))
        await self.call(fleet, "/big", body=b"x" * 100_000)
        folder = self.data / ACCOUNT
        self.assertEqual(stat.S_IMODE(folder.stat().st_mode), 0o700)
        self.assertTrue(any(name.startswith("blobs/") for name in files_of(self.data, ACCOUNT)))


class ReachTests(StateCase):
    """
    Who reaches what.
    """

    async def test_namespaces_and_accounts_are_apart(self) -> None:
        """
        The same name in another namespace, or the same namespace of another account, is another
        value.
        """
        state = await self.state_fleet()
        text = """export default { async fetch(request, env) {
          if (request.method === "POST") await env.KV.put("k", await request.text());
          return Response.json([await env.KV.get("k"), await env.OTHER.get("k")]);
        } }"""
        fleet = await self.functions(state, AccountLoader(text))
        self.assertEqual((await self.call(fleet, body=b"one")).json, ["one", None])
        self.assertEqual((await self.call(fleet, account=OTHER)).json, [None, None])

    async def test_a_shared_cell_keeps_accounts_apart(self) -> None:
        """
        Where all accounts share a function cell, each still reaches its own state cell.
        """
        state = await self.state_fleet()
        fleet = await self.functions(state, AccountLoader(KEEPER), isolation=Isolation.SHARED)
        await self.call(fleet, "/k", body=b"ours")
        await self.call(fleet, "/k", body=b"theirs", account=OTHER)
        self.assertEqual((await self.call(fleet, "/k")).json["value"], "ours")
        found = (await self.call(fleet, "/k", account=OTHER)).json
        self.assertEqual((found["value"], found["rows"]), ("theirs", ["k"]))
        self.assertEqual({cell.key for cell in state.cells()}, {ACCOUNT, OTHER})

    async def test_a_stolen_stub_is_good_for_its_namespace_only(self) -> None:
        """
        A function that gets hold of what its binding speaks to, and sends what it likes, reaches
        neither another namespace, nor another kind of storage, nor the management of either.
        """
        state = await self.state_fleet()
        fleet = await self.functions(state, AccountLoader(THIEF, flags=["enable_ctx_exports"]))
        await manage(state, "PUT", "/kv/bulk", "other", [{"key": "secret", "value": "s"}])
        tries: list[tuple[str, str, dict[str, str]]] = [
            ("http://kv/secret", "GET", {"state-id": "other"}),
            ("http://kv/secret", "GET", {"State-Id": "other", "host": f"{OTHER}.state"}),
            (f"http://{OTHER}.state/secret", "GET", {}),
            ("http://kv/../other/secret", "GET", {}),
            ("http://kv/kv/bulk", "DELETE", {"state-kind": "manage", "state-id": "other"}),
            ("http://kv/", "GET", {"wfaas-cf": json.dumps({"backlog": True})}),
            ("http://kv/d1", "GET", {"state-kind": "manage", "state-id": "other"}),
        ]
        for url, method, headers in tries:
            body = json.dumps({"url": url, "method": method, "headers": headers}).encode()
            found = (await self.call(fleet, body=body)).json
            self.assertNotIn("secret", found["text"], url)
            self.assertNotIn("backlog", found["text"], url)
            self.assertNotIn("num_tables", found["text"], url)
        question = StateQuestion(kind="kv", id="other", method="GET", target="/secret")
        self.assertEqual((await state.ask(ACCOUNT, question)).body, b"s")

    async def test_a_function_without_a_binding_has_nothing(self) -> None:
        """
        Without bindings, `env` has neither stubs nor the class that is lent to others.
        """
        state = await self.state_fleet()
        text = """import { env as imported } from "cloudflare:workers";
        export default { fetch(request, env) {
          return Response.json([Object.getOwnPropertyNames(env), Object.keys(imported)]);
        } }"""
        fleet = await self.functions(state, AccountLoader(text, bindings=()))
        self.assertEqual((await self.call(fleet)).json, [[], []])
        self.assertEqual(state.cells(), ())
        with_all = await self.functions(state, AccountLoader(text))
        names = sorted(["KV", "OTHER", "D1", "QUEUE"])
        found = (await self.call(with_all)).json
        self.assertEqual([sorted(each) for each in found], [names, names])

    async def test_statements_of_several_lines_are_executed(self) -> None:
        """
        `exec()` takes statements that go over several lines; what is wrong in them is said, and
        nothing of them is done.
        """
        state = await self.state_fleet()
        text = """export default { async fetch(request, env) {
          try {
            const { count } = await env.D1.exec(await request.text());
            const { results } = await env.D1.prepare("SELECT name FROM sqlite_schema").all();
            return Response.json([count, results.map((each) => each.name)]);
          } catch (error) { return Response.json(String(error)); }
        } }"""
        fleet = await self.functions(state, AccountLoader(text))
        tables = b"CREATE TABLE a (\n  b, -- ; \n  c\n);\n\nCREATE TABLE d (\n e\n)\n"
        self.assertEqual((await self.call(fleet, body=tables)).json, [2, ["a", "d"]])
        lines = b"CREATE TABLE f (g)\nCREATE TABLE h (i)"
        self.assertEqual((await self.call(fleet, body=lines)).json, [2, ["a", "d", "f", "h"]])
        broken = (await self.call(fleet, body=b"DROP TABLE a;\nCREATE TABLE (\n j\n)")).json
        self.assertIn("D1_EXEC_ERROR", broken)
        found = (await self.call(fleet, body=b"SELECT 1")).json
        self.assertEqual(found, [1, ["a", "d", "f", "h"]])

    async def test_old_compatibility_dates_work(self) -> None:
        """
        All bindings work with the oldest dates, when stubs had no methods of their own.
        """
        state = await self.state_fleet()
        text = KEEPER.replace(
            "await env.QUEUE.send(key);",
            "await env.QUEUE.send(key); await env.QUEUE.send(new Map(), { contentType: 'v8' });",
        )
        fleet = await self.functions(state, AccountLoader(text, date="2021-11-02"))
        reply = await self.call(fleet, "/k", body=b"1")
        self.assertEqual(reply.text, "kept")
        self.assertEqual((await self.call(fleet, "/k")).json["backlogCount"], 2)


class MisfortuneTests(StateCase):
    """
    What cannot be had.
    """

    async def test_a_cell_that_cannot_start_is_said_to_be_unavailable(self) -> None:
        """
        Where the data cannot be opened, the API and functions are told so in time.
        """
        state = await self.state_fleet(wait=1.0)
        self.data.write_text("not a directory")
        question = StateQuestion(kind="kv", id="x", method="GET", target="/x")
        with self.assertRaises(Problem) as caught:
            await state.ask(ACCOUNT, question)
        self.assertIs(caught.exception.kind, Kind.UNAVAILABLE)
        text = """export default { async fetch(request, env) {
          try { return new Response(await env.KV.get("x")); }
          catch (error) { return new Response(String(error)); }
        } }"""
        fleet = await self.functions(state, AccountLoader(text))
        said = (await self.call(fleet)).text
        self.assertIn("KV GET failed: 503", said)
        self.assertNotIn(str(self.directory), said)
        text = """export default { async fetch(request, env) {
          try { return Response.json(await env.D1.prepare("SELECT 1").first()); }
          catch (error) { return new Response(String(error)); }
        } }"""
        fleet = await self.functions(state, AccountLoader(text))
        self.assertIn("D1_ERROR: The database cannot be reached", (await self.call(fleet)).text)

    async def test_many_large_values_at_once_take_no_memory(self) -> None:
        """
        Twelve values of 20 MB are stored and read at the same time by a process that has room for
        few of them, and it is the same one in the end.
        """
        state = await self.state_fleet(memory=96 << 20)
        content = b"large" * 4_000_000

        async def value(method: str, number: int) -> bytes:
            question = StateQuestion(
                kind="kv",
                id="ns",
                method=method,
                target=f"/{number}",
                body=content if method == "PUT" else None,
            )
            answer = await state.ask(ACCOUNT, question)
            self.assertEqual(answer.status, 200, answer.body)
            return answer.body

        await value("PUT", 0)
        pid = self.pid(state)
        for method in ("PUT", "GET"):
            asked = [Deferred.fromCoroutine(value(method, number)) for number in range(12)]
            found = await gatherResults(asked)
            self.assertTrue(method == "PUT" or all(each == content for each in found))
        self.assertEqual(self.pid(state), pid)

    async def test_questions_are_not_in_the_log(self) -> None:
        """
        What the API asks of a cell that is there leaves no line in the daemon's log.
        """
        state = await self.state_fleet()
        await manage(state, "GET", "/d1", "db")
        with capturedLogs() as logged:
            await manage(state, "GET", "/d1", "db")
        self.assertEqual(list(logged), [])

    async def test_many_large_answers_at_once(self) -> None:
        """
        Eight answers of a database, of ten megabytes each, are made one after the other, and the
        process is the same one in the end; one answer may be larger than a call can bring.
        """
        state = await self.state_fleet()
        rows = (
            "WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < {})"
            " SELECT n, hex(zeroblob(100)) AS t FROM c"
        )

        async def size(count: int) -> int:
            question = StateQuestion(
                kind="d1",
                id="db",
                method="POST",
                target="/query?resultsFormat=ROWS_AND_COLUMNS",
                body=json.dumps({"sql": rows.format(count)}).encode(),
            )
            answer = await state.ask(ACCOUNT, question)
            self.assertEqual(answer.status, 200, answer.body)
            (result,) = json.loads(answer.body)
            self.assertEqual(len(result["results"]["rows"]), count)
            return len(answer.body)

        await size(1)
        pid = self.pid(state)
        await gatherResults([Deferred.fromCoroutine(size(50_000)) for _ in range(8)])
        self.assertGreater(await size(180_000), 36_000_000)
        self.assertEqual(self.pid(state), pid)

    async def test_what_does_not_fit_into_memory_is_done(self) -> None:
        """
        Rows that are sorted, indexed, changed and dropped by the megabyte are, in a process that
        may write to no folder but its own: SQLite's temporary files have no name there.
        """
        state = await self.state_fleet(walls=walls())
        for sql in (
            "CREATE TABLE t (a, b)",
            "WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < 60000)"
            " INSERT INTO t SELECT hex(randomblob(100)), n FROM c",
            "SELECT a FROM t ORDER BY substr(a, 2) LIMIT 1 OFFSET 59999",
            "CREATE INDEX i ON t (a)",
            "UPDATE t SET b = b + 1, a = a || 'x'",
            "DELETE FROM t WHERE b % 2",
            "DROP TABLE t",
        ):
            answer = await manage(state, "POST", "/d1/query", "db", [{"sql": sql}])
            self.assertEqual(answer.status, 200, (sql, answer.body))
        self.assertEqual({name.split("/")[0] for name in files_of(self.data, ACCOUNT)}, KEPT)

    async def test_a_damaged_file_is_named(self) -> None:
        """
        Of a namespace whose file is damaged the daemon's log has the path; others of the account
        answer.
        """
        state = await self.state_fleet()
        for id_ in ("whole", "broken"):
            await manage(state, "PUT", "/kv/bulk", id_, [{"key": "k", "value": "v"}])
            if id_ == "whole":
                before = set(files_of(self.data, ACCOUNT))
        (name,) = {
            each for each in set(files_of(self.data, ACCOUNT)) - before if each.endswith(".sqlite")
        }
        await state.renew(ACCOUNT)
        broken = self.data / ACCOUNT / name
        broken.write_bytes(b"no database" + broken.read_bytes()[11:])
        with capturedLogs() as logged:

            def named() -> list[str]:
                said = "the storage of account"
                return [e["path"] for e in logged if str(e.get("log_format")).startswith(said)]

            self.assertEqual((await state.ask(ACCOUNT, self.value("broken"))).status, 500)
            await self.until(named)
            self.assertEqual(named(), [str(broken)])
        self.assertEqual((await state.ask(ACCOUNT, self.value("whole"))).body, b"v")

    def value(self, namespace: str) -> StateQuestion:
        """
        Asks for the key `k`.
        """
        return StateQuestion(kind="kv", id=namespace, method="GET", target="/k")

    async def test_a_runaway_query_ends_with_its_process(self) -> None:
        """
        A query that never ends is ended with its process, and what waited behind it is answered by
        the next one.
        """
        state = await self.state_fleet(times=Times(ping=0.3, misses=3), wait=30.0)
        await manage(state, "PUT", "/kv/bulk", "ns", [{"key": "k", "value": "v"}])
        pid = self.pid(state)
        endless = (
            "WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r) SELECT max(n) FROM r"
        )
        with self.assertRaises(Problem):
            await manage(state, "POST", "/d1/query", "db", [{"sql": endless}])
        question = StateQuestion(kind="kv", id="ns", method="GET", target="/k")
        self.assertEqual((await state.ask(ACCOUNT, question)).body, b"v")
        self.assertNotEqual(self.pid(state), pid)

    async def test_a_runaway_query_is_not_repeated(self) -> None:
        """
        A query of a function that hangs its process is told that it failed when that is ended; the
        next process has nothing to do with it.
        """

        def sources(names: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
            hasty = ("const REPEATED = 15_000;", "const REPEATED = 500;")
            return tuple((name, text.replace(*hasty)) for name, text in original(names))

        original = javascript.sources
        self.patch(javascript, "sources", sources)
        state = await self.state_fleet(times=Times(ping=0.3, misses=3), wait=30.0)
        endless = (
            "WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r) SELECT max(n) FROM r"
        )
        text = f"""export default {{ async fetch(request, env) {{
          try {{ return Response.json(await env.D1.prepare("{endless}").first()); }}
          catch (error) {{ return new Response(String(error)); }}
        }} }}"""
        fleet = await self.functions(state, AccountLoader(text))
        self.assertEqual((await self.call(fleet)).text, LOST)
        await manage(state, "PUT", "/kv/bulk", "ns", [{"key": "k", "value": "v"}])
        self.assertEqual([cell.label[:12] for cell in state.cells()], ["state cell 2"])

    async def test_one_accounts_runaway_query_is_its_own_trouble(self) -> None:
        """
        While a query of one account keeps its cell busy, another account's storage answers.
        """
        state = await self.state_fleet()
        endless = (
            "WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r) SELECT max(n) FROM r"
        )
        busy = Deferred.fromCoroutine(manage(state, "POST", "/d1/query", "db", [{"sql": endless}]))
        busy.addErrback(lambda failure: failure.trap(Problem))
        await self.until(lambda: state.upstream(Route(ACCOUNT, "", "")) is not None)
        question = StateQuestion(kind="kv", id="ns", method="GET", target="/k")
        self.assertEqual((await state.ask(OTHER, question)).status, 404)
        for cell in state.cells():
            if cell.key == ACCOUNT and cell.pid is not None:
                os.kill(cell.pid, signal.SIGKILL)
        await busy
