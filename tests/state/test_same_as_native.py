"""Bindings behave as workerd's own do: one Worker, once with those and once with ours."""

import json
from pathlib import Path
from typing import Any, Final

from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater

from tests.runtime.support import workerd
from tests.state.support import AccountLoader, StateCase, manage
from workerd_faas.domain.upstream import Upstream
from workerd_faas.runtime.cell import Cell, Death, Times
from workerd_faas.runtime.config import quoted
from workerd_faas.runtime.probe import Health
from workerd_faas.runtime.process import MIB, Launch, spawn
from workerd_faas.runtime.state.config import StateCell, render_state_cell

WORKERS: Final = Path(__file__).parent / "same"
"""One Worker a kind of binding: it tries everything and answers `[[what, outcome], …]`."""


class _Prober:
    """
    A Worker that says nothing of its health.
    """

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor

    def probe(self) -> "Deferred[Health]":
        """
        See `Prober`.
        """
        return deferLater(self._reactor, 0, Health)


class _Owner:
    """
    Waits for a process to be ready and to end.
    """

    def __init__(self) -> None:
        self.ready: Deferred[None] = Deferred()
        self.dead: Deferred[None] = Deferred()

    def cell_ready(self, cell: Cell) -> None:
        """
        See `CellOwner`.
        """
        self.ready.callback(None)

    def cell_died(self, cell: Cell, death: Death) -> None:
        """
        See `CellOwner`.
        """
        if not self.ready.called:
            self.ready.errback(AssertionError(death.last_words))
        self.dead.callback(None)


class SameTests(StateCase):
    """
    The outcomes are the same, down to the error messages.
    """

    async def test_kv(self) -> None:
        """
        Every value type, spelling of a key, option and mistake has the same outcome.
        """
        await self.compare("kv.js")

    async def test_d1(self) -> None:
        """
        Every kind of statement, parameter and mistake has the same outcome.
        """
        await self.compare("d1.js")

    async def test_queue(self) -> None:
        """
        Every content type, option and mistake of a producer has the same outcome.
        """
        await self.compare("queue.js")

    async def compare(self, name: str) -> None:
        """
        Run a Worker both ways.
        """
        text = (WORKERS / name).read_text()
        native = await self.native(text)
        state = await self.state_fleet()
        fleet = await self.functions(state, AccountLoader(text))
        ours = (await self.call(fleet)).json
        self.assertEqual([name for name, _ in ours], [name for name, _ in native])
        self.assertGreater(len(ours), 15)
        pairs = zip(ours, native, strict=True)
        different = [(what, got, want) for (what, got), (_, want) in pairs if got != want]
        self.assertEqual(different, [])

    async def native(self, text: str) -> Any:
        """
        The outcomes with workerd's own bindings.
        """
        folder = self.directory / "native"
        for each in (folder, folder / "objects", folder / "blobs"):
            each.mkdir()
        cell = StateCell(
            listen=folder / "h", daemon=folder / "d", data=folder, modules=(), consumers={}
        )
        rendered = render_state_cell(cell)
        begin, end = rendered.index('    (name = "main"'), rendered.index('    (name = "objects"')
        services = (WORKERS / "native.capnp").read_text().replace("TEXT", quoted(text))
        config = rendered[:begin] + services + rendered[end:].replace('"main"', '"user"')
        return await self.run_native(folder, config)

    async def run_native(self, folder: Path, config: str) -> Any:
        """
        Start a process on a configuration, ask it once and end it.
        """
        launch = Launch(
            binary=workerd(),
            directory=folder,
            memory=256 * MIB,
            connect=False,
            writable=(folder,),
        )
        owner = _Owner()
        upstream = Upstream(str(folder / "h"), "native")
        cell = Cell(
            reactor=self.reactor,
            label="native",
            upstream=upstream,
            times=Times(misses=0),
            prober=_Prober(self.reactor),  # type: ignore[arg-type]
            spawn=lambda process: spawn(self.reactor, launch, config, process),
            owner=owner,
        )
        cell.start()
        try:
            await owner.ready
            return (await self.client.get(upstream, "v")).json
        finally:
            cell.retire()
            await owner.dead


class SqlTests(StateCase):
    """
    Statements of the management API.
    """

    async def test_statements_are_told_apart_as_sqlite_does(self) -> None:
        """
        Semicolons in texts, names, comments and triggers end no statement.
        """
        sql = """
        -- a comment; with a semicolon
        CREATE TABLE "odd;name" ([a;b], `c;d` TEXT DEFAULT 'x;''y'); /* ; */ ;;
        CREATE TEMP TRIGGER IF NOT EXISTS t1 AFTER INSERT ON "odd;name" BEGIN SELECT 1; END;
        create trigger t2 after insert on "odd;name" begin
          update "odd;name" set [a;b] = case when [a;b] > 1 then 1 else 2 end;
          select 'end;';
        end;
        EXPLAIN SELECT 1;
        INSERT INTO "odd;name" ([a;b]) VALUES (5) -- the end has no semicolon; at all
        """
        state = await self.state_fleet()
        answer = await manage(state, "POST", "/d1/query", "db", [{"sql": sql.replace("TEMP ", "")}])
        self.assertEqual(answer.status, 200, answer.body)
        self.assertEqual(len(json.loads(answer.body)), 5)
        answer = await manage(
            state, "POST", "/d1/query", "db", [{"sql": 'SELECT "a;b", "c;d" FROM "odd;name"'}]
        )
        self.assertEqual(json.loads(answer.body)[0]["rows"], [[1, "x;'y"]])
