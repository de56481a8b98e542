"""Files of SQL that are imported into a database."""

from pathlib import Path
from typing import Any, BinaryIO, Final

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from workerd_faas.domain.errors import Kind, Problem
from workerd_faas.domain.resources import Resource, ResourceKind
from workerd_faas.testing.fakes import SteppingClock
from workerd_faas.usecases.storage.databases import Databases, read_statements
from workerd_faas.usecases.storage.inventory import Inventory
from workerd_faas.usecases.storage.ports import StateAnswer, StateQuestion

NOW: Final = SteppingClock().now()
DATABASE: Final = Resource(
    id="db",
    account_id="a" * 32,
    kind=ResourceKind.D1,
    name="shop",
    created_at=NOW,
    modified_at=NOW,
)
DONE: Final = StateAnswer(status=200, headers={}, body=b'{"num_queries": 2, "meta": {}}')
FAILED: Final = StateAnswer(status=400, headers={}, body=b'{"error": "near ..."}')


@attrs.define
class SlowCells:
    """
    A state cell that answers when it is told to.
    """

    asked: "list[tuple[bytes, Deferred[StateAnswer]]]" = attrs.Factory(list)

    async def ask(
        self, account_id: str, question: StateQuestion, sink: BinaryIO | None = None
    ) -> StateAnswer:
        """
        See `StateCells.ask`.
        """
        assert question.body is not None
        assert not isinstance(question.body, bytes)
        answer: Deferred[StateAnswer] = Deferred()
        self.asked.append((question.body.read(), answer))
        return await answer


@attrs.define
class WritingCells:
    """
    A state cell that writes what it has.
    """

    written: bytes

    async def ask(
        self, account_id: str, question: StateQuestion, sink: BinaryIO | None = None
    ) -> StateAnswer:
        """
        See `StateCells.ask`.
        """
        assert sink is not None
        sink.write(self.written)
        return StateAnswer(status=200, headers={}, body=b"")


@attrs.define
class AtOnce:
    """
    Owned work that nobody interrupts.
    """

    async def finish(self, work: Any) -> Any:
        """
        See `OwnedWork.finish`.
        """
        return await work()


def inventory_of(cells: Any) -> Inventory:
    """
    With these cells and nothing else.
    """
    return Inventory(
        resources=None,  # type: ignore[arg-type]
        cells=cells,
        work=AtOnce(),
        clock=SteppingClock(),
    )


class ImportTests(SynchronousTestCase):
    """
    With a cell that takes its time.
    """

    def setUp(self) -> None:
        """
        A file that has been uploaded.
        """
        self.cells = SlowCells()
        directory = Path(self.mktemp())
        directory.mkdir()
        self.databases = Databases(
            inventory=inventory_of(self.cells),
            directory=directory,
            reactor=Clock(),
        )
        self.transfer = self.databases.begin_import(DATABASE, "etag")
        self.transfer.path.write_bytes(b"INSERT INTO t VALUES (1);")
        self.transfer.uploaded = True

    def ingest(self) -> "Deferred[Any]":
        """
        Ask for it.
        """
        return Deferred.fromCoroutine(self.databases.ingest(DATABASE, self.transfer.token))

    def test_a_file_is_run_once(self) -> None:
        """
        Whoever asks while a file is being run, or later, gets the outcome of that one run.
        """
        first, second = self.ingest(), self.ingest()
        ((sent, answer),) = self.cells.asked
        self.assertEqual(sent, b"INSERT INTO t VALUES (1);")
        self.assertNoResult(second)
        answer.callback(DONE)
        expected = {"num_queries": 2, "meta": {}}
        self.assertEqual(self.successResultOf(first), expected)
        self.assertEqual(self.successResultOf(second), expected)
        self.assertEqual(self.successResultOf(self.ingest()), expected)
        self.assertEqual(len(self.cells.asked), 1)

    def test_a_file_that_failed_can_be_run_again(self) -> None:
        """
        Of a run that failed nothing was kept, so the next one is another try.
        """
        first = self.ingest()
        self.cells.asked[0][1].callback(FAILED)
        problem = self.failureResultOf(first, Problem).value
        self.assertIs(problem.kind, Kind.SQL_FAILED)
        again = self.ingest()
        self.cells.asked[1][1].callback(DONE)
        self.assertEqual(self.successResultOf(again)["num_queries"], 2)


class ExportTests(SynchronousTestCase):
    """
    With a cell whose answer may break off.
    """

    def test_only_a_whole_export_is_given_out(self) -> None:
        """
        An export without the mark of its end is refused, and nothing of it is kept.
        """
        directory = Path(self.mktemp())
        directory.mkdir()
        cells = WritingCells(b"CREATE TABLE t (a);\n")
        databases = Databases(
            inventory=inventory_of(cells),
            directory=directory,
            reactor=Clock(),
        )
        options = {"no_schema": False, "no_data": False, "tables": []}
        exporting = Deferred.fromCoroutine(databases.export(DATABASE, options))
        problem = self.failureResultOf(exporting, Problem).value
        self.assertIs(problem.kind, Kind.UNAVAILABLE)
        self.assertEqual(list(directory.iterdir()), [])
        cells.written += b"\0"
        transfer = self.successResultOf(Deferred.fromCoroutine(databases.export(DATABASE, options)))
        self.assertEqual(transfer.path.read_bytes(), b"CREATE TABLE t (a);\n")


class StatementTests(SynchronousTestCase):
    """
    What the body of a query may be.
    """

    def test_booleans_are_numbers(self) -> None:
        """
        A parameter that is true or false is 1 or 0, as in a function.
        """
        read = read_statements(b'{"sql": "SELECT ?, ?", "params": [true, false]}')
        self.assertEqual(read, b'[{"sql": "SELECT ?, ?", "params": [1, 0]}]')
