"""The upload check with real workerd processes."""

import os
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, gatherResults

from tests.runtime.support import RealCase, alive, code, module, workerd
from workerd_faas.domain.errors import Kind, Problem
from workerd_faas.domain.model import CheckReport, Code, ModuleKind
from workerd_faas.runtime.check import CheckCells, CheckOptions

GOOD = "export default { fetch() { return new Response('ok') } }"
EMPTY_WASM = b"\0asm\x01\0\0\0"


class CheckCase(RealCase):
    """
    With check cells at hand.
    """

    async def cells(self, **options: Any) -> CheckCells:
        """
        Started, and stopped when the test ends.
        """
        cells = CheckCells(
            reactor=self.reactor,
            binary=workerd(),
            directory=self.directory,
            options=CheckOptions(**options),
        )
        await cells.start()
        self.addCleanup(lambda: Deferred.fromCoroutine(cells.stop()))
        return cells

    async def refusal(self, cells: CheckCells, upload: Code) -> str:
        """
        The message with which an upload is refused; the next good one must be accepted.
        """
        try:
            report = await cells.check("fn", upload)
        except Problem as problem:
            refusal = problem
        else:
            raise self.failureException(f"accepted: {report}")
        self.assertIs(refusal.kind, Kind.INVALID_SCRIPT, refusal.message)
        self.assertEqual((await cells.check("fn", code(GOOD))).handlers, ("fetch",))
        return refusal.message


class AcceptedTests(CheckCase):
    """
    What loads.
    """

    async def accepted(self, *uploads: Code) -> Sequence[CheckReport]:
        """
        The reports of uploads that must all be accepted.
        """
        cells = await self.cells()
        return [await cells.check("fn", upload) for upload in uploads]

    async def test_handlers_and_classes_are_reported(self) -> None:
        """
        The report names the default export's handlers, then the exported classes of the platform.
        """
        [report] = await self.accepted(
            code(
                """
                import { WorkerEntrypoint, DurableObject } from "cloudflare:workers";
                export class Zed extends WorkerEntrypoint {}
                export class Counter extends DurableObject {}
                export class Plain {}
                export default { fetch() {}, scheduled() {}, helper() {} };
                """
            )
        )
        self.assertEqual(report.handlers, ("fetch", "scheduled", "Counter", "Zed"))
        self.assertGreaterEqual(report.startup_ms, 0)

    async def test_default_class(self) -> None:
        """
        A default export that is a WorkerEntrypoint class counts with its methods.
        """
        [report] = await self.accepted(
            code(
                """
                import { WorkerEntrypoint } from "cloudflare:workers";
                export default class extends WorkerEntrypoint { fetch() {} }
                """
            )
        )
        self.assertEqual(report.handlers, ("fetch",))

    async def test_every_kind_of_module(self) -> None:
        """
        Modules of every kind load from folders, relative to the module that imports them, and from
        the same folder by bare names.
        """
        reports = await self.accepted(
            code(
                module(
                    "src/index.js",
                    """
                    import text from "../t.txt";
                    import data from "./d/d.bin";
                    import wasm from "./0123-m.wasm";
                    import json from "./d/j.json";
                    import common from "../c.cjs";
                    import bare from "same.txt";
                    import { y } from "./lib/deep/y.js";
                    const same = (a, b) => { if (a !== b) throw new Error(`${a} is not ${b}`) };
                    same(text, "ï\\n"); same(new Uint8Array(data).join(), "0,255,10,13");
                    same(wasm instanceof WebAssembly.Module, true); same(json.a[0], 1);
                    same(common.z, 7); same(y + bare, "ts");
                    export default { fetch() {} };
                    """,
                ),
                module("t.txt", "ï\n", ModuleKind.TEXT),
                module("src/d/d.bin", b"\x00\xff\n\r", ModuleKind.DATA),
                module("src/0123-m.wasm", EMPTY_WASM, ModuleKind.WASM),
                module("src/d/j.json", '{"a":[1],"__proto__":{}}', ModuleKind.JSON),
                module(
                    "c.cjs", "module.exports = { z: require('./seven.cjs') }", ModuleKind.COMMONJS
                ),
                module("seven.cjs", "module.exports = 7", ModuleKind.COMMONJS),
                module("src/lib/deep/y.js", "export { default as y } from '../../t2.txt'"),
                module("src/t2.txt", "t", ModuleKind.TEXT),
                module("src/same.txt", "s", ModuleKind.TEXT),
                module("empty.txt", "", ModuleKind.TEXT),
                module("src/index.js.map", "{}", ModuleKind.SOURCE_MAP),
            ),
        )
        self.assertEqual(reports[0].handlers, ("fetch",))

    async def test_strange_names(self) -> None:
        """
        A main module's name may hold quotes, spaces and what means something in URLs.
        """
        reports = await self.accepted(
            code(
                module(
                    "a b'\"`${x}ü?%20#.js", "import './ü/x y.txt'; export default { fetch() {} }"
                ),
                module("ü/x y.txt", "", ModuleKind.TEXT),
            )
        )
        self.assertEqual(reports[0].handlers, ("fetch",))

    async def test_all_ages(self) -> None:
        """
        Code with the oldest and the newest compatibility date and with Node's modules loads.
        """
        node = "import { Buffer } from 'node:buffer'; export default { fetch() {} }"
        reports = await self.accepted(
            code(GOOD, date="2021-11-03"),
            code(GOOD, date="2026-11-17"),
            code(node, flags=["nodejs_compat"]),
        )
        self.assertEqual([r.handlers for r in reports], [("fetch",)] * 3)

    async def test_lying_code(self) -> None:
        """
        A default export that pretends to be everything is listed with known events only.
        """
        reports = await self.accepted(
            code("export default new Proxy({}, { get: () => () => 1 })"),
            code("export default { then(done) { done(1) }, fetch() {} }"),
            code("export class __workerd_faas {}; export default { fetch() {} }"),
        )
        self.assertLessEqual(len(reports[0].handlers), 8)
        self.assertEqual([r.handlers for r in reports[1:]], [("fetch",)] * 2)


class RefusedTests(CheckCase):
    """
    What does not load, and what is said about it.
    """

    async def test_positions_are_in_the_users_files(self) -> None:
        """
        A refusal has the form that Wrangler maps back to sources: message, then `at file:line:col`.
        """
        cells = await self.cells()
        cases = {
            code("export default { fetch(\n{ bad"): (
                "Uncaught SyntaxError: Unexpected end of input\n  at index.js:2:5"
            ),
            code("const x = 1;\nthrow new RangeError('no')"): (
                "Uncaught RangeError: no\n  at index.js:2:7"
            ),
            code("import './a/b.js'", module("a/b.js", "\n\nnope.x")): (
                "Uncaught ReferenceError: nope is not defined\n  at a/b.js:3:1"
            ),
            code("import x from './nope.js'"): (
                'Uncaught Error: No such module "nope.js".\n  imported from "index.js"'
            ),
        }
        for upload, message in cases.items():
            self.assertEqual(await self.refusal(cells, upload), message)

    async def test_our_module_is_never_named(self) -> None:
        """
        No refusal speaks of the module that we put before the user's.
        """
        cells = await self.cells()
        for upload in (
            code(
                "import * as s from './__workerd_faas.js'; s.nope(); export default { fetch() {} }"
            ),
            code("export const z = 1; export default { fetch() {} }"),
            code("export default 5"),
            code("Array.prototype.filter = () => 1; export default { fetch() {} }"),
            code("export default { get fetch() { throw new Error('getter') } }"),
        ):
            self.assertNotIn("__workerd_faas", await self.refusal(cells, upload))

    async def test_main_module(self) -> None:
        """
        A main module that is missing, or no ES module, is refused with its name.
        """
        cells = await self.cells()
        missing = code(GOOD, main="other.js")
        text = code(module("index.js", "x", ModuleKind.TEXT))
        for upload in (missing, text):
            self.assertIn(upload.main_module, await self.refusal(cells, upload))

    async def test_flags_and_dates(self) -> None:
        """
        Flags that are unknown or experimental, and dates of the future, are refused by name.
        """
        cells = await self.cells()
        for upload, words in (
            (code(GOOD, flags=["no_such_flag"]), "no_such_flag"),
            (code(GOOD, flags=["experimental"]), "experimental: it is not offered here"),
            (code(GOOD, date="2099-01-01"), "2099-01-01"),
        ):
            self.assertIn(words, await self.refusal(cells, upload))

    async def test_modules_that_are_not_what_they_say(self) -> None:
        """
        Invalid WebAssembly and invalid JSON are refused.
        """
        cells = await self.cells()
        wasm = code("import './m.wasm'", module("m.wasm", b"\0asm\x02\0\0\0", ModuleKind.WASM))
        json = code("import './m.json'", module("m.json", "{no", ModuleKind.JSON))
        self.assertIn("expected version", await self.refusal(cells, wasm))
        self.assertIn("m.json", await self.refusal(cells, json))

    async def test_nothing_to_run(self) -> None:
        """
        Code without any handler is refused.
        """
        cells = await self.cells()
        for text in ("export default {}", "export default null", "export {}"):
            self.assertIn("no registered event handlers", await self.refusal(cells, code(text)))

    async def test_endless_loops(self) -> None:
        """
        Loading that does not end is ended, and the message speaks of the time limit.
        """
        cells = await self.cells(load=0.2)
        for text in (
            "for (;;);",
            "for (;;) await null;",
            "/^(a+)+$/.test('a'.repeat(40) + 'b'); export default {}",
            "Object.keys = () => { for (;;); }; export default { fetch() {} }",
        ):
            message = await self.refusal(cells, code(text))
            self.assertIn("Script startup exceeded CPU time limit", message)

    async def test_await_that_never_ends(self) -> None:
        """
        A top-level await that nothing settles is refused.
        """
        cells = await self.cells()
        message = await self.refusal(cells, code("await new Promise(() => {}); export default {}"))
        self.assertIn("unsettled", message)

    async def test_memory_bombs(self) -> None:
        """
        Loading that eats memory or ends the runtime is refused, and the daemon lives.
        """
        cells = await self.cells(load=5, memory=64 << 20)
        heap = "const a = []; for (;;) a.push(new Array(1000).fill(1.5));"
        buffers = "const a = []; for (;;) a.push(new Uint8Array(1e7).fill(1));"
        self.assertIn("memory limit", await self.refusal(cells, code(heap)))
        self.assertIn("allocation failed", await self.refusal(cells, code(buffers)))

    async def test_runtime_crash(self) -> None:
        """
        Loading that ends the runtime itself is refused, and the next check works.
        """
        split = code("'x'.repeat(2 ** 27 + 1).split('')")
        self.assertIn("crashed the runtime", await self.refusal(await self.cells(load=5), split))

    async def test_no_network(self) -> None:
        """
        Code that is only being checked cannot call out, whether at startup or from what it exports.
        """
        cells = await self.cells()
        for text in (
            "await fetch('http://192.0.2.1/'); export default { fetch() {} }",
            """
            import { connect } from "cloudflare:sockets";
            connect("192.0.2.1:80"); export default { fetch() {} }
            """,
        ):
            message = await self.refusal(cells, code(text))
            self.assertIn("not allowed within global scope", message)


class ProcessTests(CheckCase):
    """
    The processes behind it.
    """

    async def test_each_check_has_its_own_process(self) -> None:
        """
        Nothing that one upload does to the process is seen by the next.
        """
        cells = await self.cells()
        upload = code("globalThis.seen = (globalThis.seen ?? 0) + 1;" + GOOD)
        pids = set()
        for _ in range(3):
            await self.until(lambda: cells.spare_pid is not None)
            pids.add(cells.spare_pid)
            await cells.check("fn", upload)
        self.assertEqual(len(pids), 3)

    async def test_workerd_cannot_be_started(self) -> None:
        """
        It is known before anybody uploads anything, and that it can be again too.
        """
        cells = CheckCells(
            reactor=self.reactor, binary=self.directory / "none", directory=self.directory
        )
        await cells.start()
        self.addCleanup(lambda: Deferred.fromCoroutine(cells.stop()))
        await self.until(lambda: not cells.startable)
        cells.binary = workerd()
        await self.until(lambda: cells.spare_pid is not None)
        self.assertTrue(cells.startable)

    async def test_many_at_once(self) -> None:
        """
        More checks than may run at once all get their own verdict; beyond the queue they are
        turned away for a while.
        """
        cells = await self.cells(at_once=2, queue=4)
        uploads = [code(GOOD if n % 2 else "throw new Error('odd')") for n in range(6)]
        checks = [Deferred.fromCoroutine(cells.check("fn", upload)) for upload in uploads]
        refused = self.failureResultOf(Deferred.fromCoroutine(cells.check("fn", code(GOOD))))
        self.assertIs(refused.value.kind, Kind.UNAVAILABLE)
        outcomes = await gatherResults([check.addErrback(lambda f: f.value) for check in checks])
        kinds = [isinstance(outcome, CheckReport) for outcome in outcomes]
        self.assertEqual(kinds, [False, True] * 3)

    async def test_nothing_is_left(self) -> None:
        """
        A stopped checker leaves neither process nor directory.
        """
        cells = await self.cells()
        await cells.check("fn", code(GOOD))
        await self.until(lambda: cells.spare_pid is not None)
        pid = cells.spare_pid
        assert pid is not None
        await cells.stop()
        self.assertFalse(alive(pid))
        self.assertEqual(list(self.directory.iterdir()), [])

    async def test_a_spare_that_died_is_replaced(self) -> None:
        """
        A check succeeds although the process that was kept for it has been killed.
        """
        cells = await self.cells()
        await self.until(lambda: cells.spare_pid is not None)
        assert cells.spare_pid is not None
        os.kill(cells.spare_pid, signal.SIGKILL)
        self.assertEqual((await cells.check("fn", code(GOOD))).handlers, ("fetch",))


class KeptTests(CheckCase):
    """
    Processes that wait for the next upload of an account.
    """

    def pids(self) -> set[int]:
        """
        The processes that there are.
        """
        found = set()
        for status in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                words = status.read_bytes().split(b"\0")
                inside = (status.parent / "cwd").resolve()
            except OSError:
                continue
            if b"workerd" in words[0] and inside.is_relative_to(self.directory):
                found.add(int(status.parent.name))
        return found

    async def kept(self, **options: Any) -> tuple[CheckCells, int]:
        """
        Check cells of which one has found an upload of "me" good and waits, and its process.
        """
        cells = await self.cells(**options)
        await cells.check("fn", code(GOOD), "me")
        [pid] = await self.checking(cells)
        return cells, pid

    async def checking(self, cells: CheckCells) -> set[int]:
        """
        The processes that have checked something: all but the spare one.
        """
        await self.until(lambda: cells.spare_pid is not None)
        return self.pids() - {cells.spare_pid}

    async def test_uploads_of_one_account_meet_in_one_process(self) -> None:
        """
        The next upload of an account is checked where the last one was, one of another is not.
        """
        cells, pid = await self.kept()
        reports = [await cells.check("fn", code(GOOD), "me") for _ in range(3)]
        self.assertEqual({report.handlers for report in reports}, {("fetch",)})
        self.assertEqual(await self.checking(cells), {pid})
        await cells.check("fn", code(GOOD), "you")
        self.assertEqual(len(await self.checking(cells)), 2)

    async def test_only_a_fresh_process_refuses(self) -> None:
        """
        What is refused where others were checked before is checked once more alone, and both
        processes end.
        """
        cells, pid = await self.kept()
        with self.assertRaises(Problem) as caught:
            await cells.check("fn", code("export default { fetch() {} ; nonsense"), "me")
        self.assertIs(caught.exception.kind, Kind.INVALID_SCRIPT)
        self.assertIn("at index.js:1", caught.exception.message)
        await self.until(lambda: not alive(pid))
        await self.until(lambda: self.pids() <= {cells.spare_pid})

    async def test_a_kept_process_that_died_is_no_loss(self) -> None:
        """
        The next upload is checked although the process that waited for it was killed.
        """
        cells, pid = await self.kept()
        os.kill(pid, signal.SIGKILL)
        report = await cells.check("fn", code(GOOD), "me")
        self.assertEqual(report.handlers, ("fetch",))

    async def test_few_are_kept(self) -> None:
        """
        The one that waits for longest ends when there are more than shall wait.
        """
        cells, pid = await self.kept(kept=1)
        await cells.check("fn", code(GOOD), "you")
        await self.until(lambda: not alive(pid))
        self.assertEqual(len(await self.checking(cells)), 1)

    async def test_none_is_kept_for_long(self) -> None:
        """
        A process ends when nobody uploads.
        """
        cells = await self.cells(kept_for=0.2)
        await cells.check("fn", code(GOOD), "me")
        await self.until(lambda: cells.spare_pid and self.pids() == {cells.spare_pid})

    async def test_none_is_kept_for_many_uploads(self) -> None:
        """
        A process ends with the last upload that it is used for.
        """
        cells, pid = await self.kept(uses=2)
        await cells.check("fn", code(GOOD), "me")
        await self.until(lambda: not alive(pid))
        await self.until(lambda: cells.spare_pid and self.pids() == {cells.spare_pid})

    async def test_nothing_is_left_loaded(self) -> None:
        """
        A process that has checked many large uploads has the memory of few.
        """
        cells, pid = await self.kept()
        large = code(f"globalThis.much = new Uint8Array(8 << 20).fill(1); {GOOD}")
        for _ in range(40):
            await cells.check("fn", large, "me")
        self.assertIn(pid, self.pids())
