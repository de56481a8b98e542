"""Databases as files of SQL, out of one and into another, with real processes."""

import io
import json
import os
import signal
from typing import Any, Final

from tests.runtime.support import ACCOUNT
from tests.state.support import StateCase, manage
from workerd_faas.domain.errors import Kind, Problem
from workerd_faas.runtime.state.fleet import StateFleet
from workerd_faas.usecases.storage.ports import StateQuestion

ODD: Final = r"""
CREATE TABLE aa_child (id INTEGER PRIMARY KEY, parent REFERENCES zz_parent(id));
CREATE TABLE zz_parent (id INTEGER PRIMARY KEY AUTOINCREMENT, t TEXT, n);
INSERT INTO zz_parent (id, t, n) VALUES (1, '{' || char(10) || '  "a": "x\ny\r"' || char(13) || '}',
  9007199254740993);
INSERT INTO zz_parent (t, n) VALUES ('it''s; -- "none"', -9223372036854775808);
INSERT INTO zz_parent (t, n) VALUES ('a' || char(0) || 'é😀', 1.0);
INSERT INTO zz_parent (t, n) VALUES ('', 9e999);
INSERT INTO zz_parent (t, n) VALUES (NULL, x'00ff27');
INSERT INTO zz_parent (t, n) VALUES ('0.1', 0.1);
INSERT INTO aa_child VALUES (7, 2);
CREATE TABLE "odd ""name;" ("col umn", [b;c], d AS ("col umn" || 'x') STORED, PRIMARY KEY ([b;c]))
  WITHOUT ROWID;
INSERT INTO "odd ""name;" VALUES ('x', 'y');
CREATE INDEX i ON zz_parent (t) WHERE n > 0;
CREATE VIEW v AS SELECT t FROM zz_parent;
CREATE TRIGGER on_view INSTEAD OF INSERT ON v BEGIN SELECT 'a;'; END;
ANALYZE;
"""

ALL: Final = (
    'SELECT id, hex(t) AS t, typeof(t), CAST(n AS TEXT) AS n, typeof(n), "odd ""name;".*'
    ' FROM zz_parent, "odd ""name;" ORDER BY id',
    "SELECT type, name, sql FROM sqlite_schema WHERE name NOT LIKE '\\_cf\\_%' ESCAPE '\\'"
    " ORDER BY name",
    "SELECT * FROM sqlite_sequence",
    "SELECT * FROM aa_child",
)


class Dying(io.BytesIO):
    """
    A file, in the middle of which a process is killed.
    """

    def __init__(self, content: bytes, pid: int) -> None:
        super().__init__(content)
        self._pid = pid

    def read(self, size: int | None = -1, /) -> bytes:
        """
        See `BinaryIO`.
        """
        if self.tell() > 1 << 20:
            os.kill(self._pid, signal.SIGKILL)
        return super().read(size)


class TransferTests(StateCase):
    """
    Through a state cell.
    """

    async def export(self, state: StateFleet, database: str, **options: Any) -> bytes:
        """
        All of a database, without the mark at its end.
        """
        asked = {"no_schema": False, "no_data": False, "tables": [], **options}
        question = StateQuestion(
            kind="manage",
            id=database,
            method="POST",
            target="/d1/export",
            body=json.dumps(asked).encode(),
        )
        sink = io.BytesIO()
        answer = await state.ask(ACCOUNT, question, sink)
        self.assertEqual(answer.status, 200, answer.body)
        content = sink.getvalue()
        self.assertEqual(content[-1:], b"\0")
        return content[:-1]

    async def load(self, state: StateFleet, database: str, sql: bytes | io.BytesIO) -> Any:
        """
        Run a file: how many statements there were, or the error.
        """
        question = StateQuestion(
            kind="manage",
            id=database,
            method="POST",
            target="/d1/import",
            body=io.BytesIO(sql) if isinstance(sql, bytes) else sql,
        )
        answer = await state.ask(ACCOUNT, question)
        document = json.loads(answer.body)
        return document["num_queries"] if answer.status == 200 else document["error"]

    async def rows(self, state: StateFleet, database: str, *queries: str) -> Any:
        """
        What queries give.
        """
        answer = await manage(state, "POST", "/d1/query", database, [{"sql": q} for q in queries])
        self.assertEqual(answer.status, 200, answer.body)
        return [result["rows"] for result in json.loads(answer.body)]

    async def test_what_is_exported_is_the_same_when_imported(self) -> None:
        """
        Integers that JavaScript does not have, numbers that are whole, texts with NULs, line breaks
        and the letters that stand for these, references to later tables and triggers on views come
        through, and the other database exports the same.
        """
        state = await self.state_fleet()
        self.assertEqual(await self.load(state, "a", ODD.encode()), 15)
        text = await self.export(state, "a")
        self.assertNotIn(b"\r", text)
        self.assertIsInstance(await self.load(state, "b", text), int)
        theirs, ours = await self.rows(state, "a", *ALL), await self.rows(state, "b", *ALL)
        self.assertEqual(ours, theirs)
        self.assertEqual(ours[0][0][3:5], ["9007199254740993", "integer"])
        self.assertEqual(await self.export(state, "b"), text)

    async def test_parts_of_a_database(self) -> None:
        """
        Only rows, only the schema, or only some tables.
        """
        state = await self.state_fleet()
        await self.load(state, "a", ODD.encode())
        head = b"PRAGMA defer_foreign_keys=TRUE;\n"
        rows = await self.export(state, "a", tables=["aa_child"], no_schema=True)
        self.assertEqual(rows, head + b'INSERT INTO "aa_child" ("id","parent") VALUES(7,2);\n')
        schema = await self.export(state, "a", no_data=True)
        self.assertNotIn(b"INSERT INTO", schema.replace(b"INSTEAD OF INSERT", b""))

    async def test_files_are_larger_than_a_call(self) -> None:
        """
        40 MB go out and in, with values of half a megabyte, whose statements would be too long.
        """
        state = await self.state_fleet()
        await self.rows(
            state,
            "a",
            "CREATE TABLE t (a, b)",
            "WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < 40)"
            " INSERT INTO t SELECT replace(hex(zeroblob(250000)), '00', char(39, 10)), x'ff'"
            " FROM c",
            "INSERT INTO t SELECT randomblob(300000), 'é' FROM t LIMIT 40",
        )
        text = await self.export(state, "a")
        self.assertGreater(len(text), 40_000_000)
        self.assertEqual(await self.load(state, "b", text), 82)
        query = "SELECT count(*), sum(length(a)), count(DISTINCT a), sum(typeof(a) = 'blob') FROM t"
        self.assertEqual(await self.rows(state, "b", query), await self.rows(state, "a", query))
        self.assertEqual(await self.export(state, "b"), text)

    async def test_a_file_is_run_whole_or_not_at_all(self) -> None:
        """
        A mistake at the end leaves nothing of what came before it; comments at the end are none.
        """
        state = await self.state_fleet()
        good = b"CREATE TABLE t (a); INSERT INTO t VALUES (';'); -- the end; "
        self.assertEqual(await self.load(state, "a", good), 2)
        many = b"INSERT INTO t VALUES ('a value');\n" * 50_000
        self.assertIn("no such table", await self.load(state, "a", many + b"DELETE FROM none"))
        self.assertIn("unrecognized token", await self.load(state, "a", many + b"SELECT 'open"))
        self.assertEqual(await self.rows(state, "a", "SELECT count(*) FROM t"), [[[1]]])
        self.assertEqual(await self.load(state, "a", b"-- nothing\n/* at all */ ;"), 0)
        empty = b";; SELECT ';;'; ;/* ; */; SELECT 2 -- ;\n;;SELECT 3;--;\n;"
        self.assertEqual(await self.load(state, "a", empty), 3)

    async def test_a_process_that_ends_in_the_middle(self) -> None:
        """
        An import whose process is killed is told so and has changed nothing.
        """
        state = await self.state_fleet()
        await self.load(state, "a", b"CREATE TABLE t (a)")
        file = Dying(b"INSERT INTO t VALUES ('a value');\n" * 200_000, self.pid(state))
        with self.assertRaises(Problem) as caught:
            await self.load(state, "a", file)
        self.assertIs(caught.exception.kind, Kind.UNAVAILABLE)
        # Reaped, so that all of its sockets are closed.
        await self.until(lambda: not state.cells())
        self.assertEqual(await self.rows(state, "a", "SELECT count(*) FROM t"), [[[0]]])
