"""The database door: transactions, migrations, refusals."""

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.trial.unittest import TestCase

from workerd_faas.domain.errors import Kind, Problem
from workerd_faas.store.database import DatabaseUnusable, SQLiteDatabase, connect, transact
from workerd_faas.store.schema import SCHEMA, NewerSchema, Step, migrate


def test_a_new_database_has_the_newest_schema_and_is_private(tmp_path: Path) -> None:
    """
    Opening creates the file with mode 0600, WAL, FULL and the last schema number.
    """
    path = tmp_path / "faas.db"
    with closing(connect(path)) as connection:
        for pragma, expected in [
            ("journal_mode", "wal"),
            ("synchronous", 2),
            ("foreign_keys", 1),
            ("user_version", SCHEMA[-1].version),
        ]:
            assert connection.execute(f"PRAGMA {pragma}").fetchone() == (expected,)
    assert path.stat().st_mode & 0o777 == 0o600


def test_schema_files_are_numbered_without_a_gap() -> None:
    """
    The schema files are 1, 2, 3 …
    """
    assert [step.version for step in SCHEMA] == list(range(1, len(SCHEMA) + 1))


def test_an_upgrade_keeps_a_copy_of_what_was(tmp_path: Path) -> None:
    """
    Before an old database is changed it is copied, and its rows survive the change.
    """
    path = tmp_path / "faas.db"
    old = [Step(1, "CREATE TABLE t (a);")]
    new = [*old, Step(2, "-- why\nALTER TABLE t ADD COLUMN b;\nUPDATE t SET b = a * 2;")]
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        migrate(connection, path, old)
        connection.execute("INSERT INTO t VALUES (21)")
        migrate(connection, path, new)
        assert connection.execute("SELECT a, b FROM t").fetchall() == [(21, 42)]
    with closing(sqlite3.connect(tmp_path / "faas.db.before-2")) as copy:
        assert copy.execute("PRAGMA user_version").fetchone() == (1,)
        assert copy.execute("SELECT * FROM t").fetchall() == [(21,)]


def test_a_step_that_fails_changes_nothing(tmp_path: Path) -> None:
    """
    A failing step leaves the schema and its number as they were before it.
    """
    path = tmp_path / "faas.db"
    steps = [Step(1, "CREATE TABLE t (a);"), Step(2, "CREATE TABLE u (a);\nDROP TABLE missing;")]
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        with pytest.raises(sqlite3.OperationalError):
            migrate(connection, path, steps)
        names = connection.execute("SELECT name FROM sqlite_schema").fetchall()
        assert names == [("t",)]
        assert connection.execute("PRAGMA user_version").fetchone() == (1,)


def test_a_newer_schema_is_refused(tmp_path: Path) -> None:
    """
    A database of a newer release is not touched, and the message says what to do.
    """
    path = tmp_path / "faas.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA user_version = 9999")
        with pytest.raises(NewerSchema, match="install the release that wrote it"):
            migrate(connection, path, SCHEMA)
    with pytest.raises(DatabaseUnusable, match="schema 9999"):
        connect(path)


@pytest.mark.parametrize(
    "content", [b"not a database" * 100, b"SQLite format 3\0" + b"\xff" * 5000]
)
def test_a_damaged_database_is_refused(tmp_path: Path, content: bytes) -> None:
    """
    A file that is no sound database is refused with its name.
    """
    path = tmp_path / "faas.db"
    path.write_bytes(content)
    with pytest.raises(DatabaseUnusable, match=r"faas\.db"):
        connect(path)


def test_a_failed_transaction_leaves_nothing(tmp_path: Path) -> None:
    """
    What a transaction wrote before it raised is not there.
    """

    def work(cursor: sqlite3.Cursor) -> None:
        cursor.execute("CREATE TABLE t (a)")
        raise LookupError

    with closing(connect(tmp_path / "faas.db")) as connection:
        with pytest.raises(LookupError):
            transact(connection, work)
        found = connection.execute("SELECT 1 FROM sqlite_schema WHERE name = 't'").fetchall()
        assert found == []


def test_a_full_disk_is_said_to_be_one(tmp_path: Path) -> None:
    """
    When the database cannot grow the problem is STORAGE_FULL, and it works again with space.
    """
    with closing(connect(tmp_path / "faas.db")) as connection:
        transact(connection, lambda c: c.execute("CREATE TABLE t (a)"))
        (pages,) = connection.execute("PRAGMA page_count").fetchone()
        connection.execute(f"PRAGMA max_page_count = {pages}")
        fill = "INSERT INTO t VALUES (zeroblob(1000000))"
        with pytest.raises(Problem) as caught:
            transact(connection, lambda c: c.execute(fill))
        assert caught.value.kind is Kind.STORAGE_FULL
        connection.execute("PRAGMA max_page_count = 1000000")
        transact(connection, lambda c: c.execute(fill))
        assert connection.execute("SELECT count(*) FROM t").fetchone() == (1,)


def test_a_locked_database_is_unavailable_for_the_moment(tmp_path: Path) -> None:
    """
    When another process holds the database too long, the caller is told to try again.
    """
    path = tmp_path / "faas.db"
    with mock.patch("workerd_faas.store.database.BUSY_SECONDS", 0.05):
        connection = connect(path)
    with closing(connection), closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(Problem) as caught:
            transact(connection, lambda _: None)
        assert caught.value.kind is Kind.UNAVAILABLE
        assert caught.value.retry_after == 5
        other.execute("COMMIT")


def test_a_mistake_in_our_own_sql_is_no_misfortune(tmp_path: Path) -> None:
    """
    Wrong SQL is raised as it is, so that it is logged as a bug and not answered with "try again".
    """
    with closing(connect(tmp_path / "faas.db")) as connection:
        with pytest.raises(sqlite3.OperationalError):
            transact(connection, lambda cursor: cursor.execute("SELECT nothing FROM nowhere"))
        with pytest.raises(sqlite3.IntegrityError):
            transact(connection, lambda c: c.execute("INSERT INTO functions (name) VALUES ('x')"))


class SQLiteDatabaseTests(TestCase):
    """
    The door of a running daemon.
    """

    timeout = 120

    async def opened(self) -> SQLiteDatabase:
        """
        A started database.
        """
        path = Path(self.mktemp())
        path.parent.mkdir(parents=True, exist_ok=True)
        database = SQLiteDatabase(reactor, path)
        await database.start()
        self.addCleanup(lambda: Deferred.fromCoroutine(database.stop()))
        return database

    async def test_transactions_happen_in_the_order_asked_for(self) -> None:
        """
        Many at once run one after the other, and their results arrive in that order.
        """
        database = await self.opened()
        await database.run(lambda c: c.execute("CREATE TABLE t (a)") and None)
        order: list[int] = []

        def insert(number: int) -> Any:
            def work(cursor: sqlite3.Cursor) -> int:
                cursor.execute("INSERT INTO t VALUES (?)", (number,))
                return number

            return Deferred.fromCoroutine(database.run(work)).addCallback(order.append)

        await gatherResults([insert(n) for n in range(50)])
        stored = await database.run(lambda c: c.execute("SELECT a FROM t").fetchall())
        self.assertEqual(order, list(range(50)))
        self.assertEqual(stored, [(n,) for n in range(50)])

    async def test_a_stopped_database_says_so(self) -> None:
        """
        After stop, a transaction is refused as unavailable.
        """
        database = await self.opened()
        await database.stop()
        with self.assertRaises(Problem) as caught:
            await database.run(lambda _: None)
        self.assertIs(caught.exception.kind, Kind.UNAVAILABLE)

    async def test_a_database_that_does_not_open_leaves_no_thread(self) -> None:
        """
        A failing start raises, and the test ends with a clean reactor.
        """
        database = SQLiteDatabase(reactor, Path(self.mktemp()) / "missing" / "faas.db")
        with self.assertRaises(DatabaseUnusable):
            await database.start()
