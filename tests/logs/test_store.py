"""The log that is kept, in a real file."""

import sqlite3
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import TestCase

from tests.logs.reports import ACCOUNT, NOW, OTHER, ROUTE, VERSION, exception, invocation
from workerd_faas.domain.invocation import Level, loss
from workerd_faas.domain.log_query import LogQuery
from workerd_faas.domain.routing import Route
from workerd_faas.store.logs import SQLLogs
from workerd_faas.testing.fakes import SteppingClock

KEEP = 200_000


class LogStoreTests(TestCase):
    """
    Keeping, asking, forgetting.
    """

    timeout = 120

    async def setUp(self) -> None:  # type: ignore[override]
        """
        An empty log.
        """
        self.path = Path(self.mktemp())
        self.lost: list[Route] = []
        self.store = await self.opened()

    async def opened(self, **changes: Any) -> SQLLogs:
        """
        A store on the file.
        """
        from twisted.internet import reactor

        store = SQLLogs(
            **{
                "reactor": reactor,
                "path": self.path,
                "clock": SteppingClock(),
                "keep_seconds": 10 * 365 * 86400.0,
                "keep_bytes": KEEP,
                "lost": lambda route, count: self.lost.append(route),
                **changes,
            }
        )
        await store.start()
        self.addCleanup(lambda: Deferred.fromCoroutine(store.stop()))
        return store

    async def texts(self, **query: Any) -> list[str]:
        """
        What a query finds.
        """
        asked = LogQuery(**{"account_id": ACCOUNT, **query})
        return [kept.invocation.text for kept in (await self.store.query(asked)).kept]

    async def test_filters(self) -> None:
        """
        Each filter finds what it says, the newest first.
        """
        for each in (
            invocation("one"),
            invocation("two", route=Route(ACCOUNT, "other", "v2")),
            invocation(
                "THREE %_", exceptions=[exception()], outcome="exception", eventTimestamp=NOW + 50
            ),
            invocation("four", logs=[{"level": "warn", "message": ["four"]}], event=None),
        ):
            self.store.keep(each)
        three = "THREE %_\nTypeError: no"
        self.assertEqual(await self.texts(), ["four", three, "two", "one"])
        self.assertEqual(await self.texts(function="other"), ["two"])
        self.assertEqual(await self.texts(version="v"), ["two"])
        self.assertEqual(await self.texts(version=VERSION[:13]), ["four", three, "one"])
        self.assertEqual(await self.texts(levels=Level.WARN | Level.EXCEPTION), ["four", three])
        self.assertEqual(await self.texts(outcome="exception"), [three])
        self.assertEqual(await self.texts(text="three %"), [three])
        self.assertEqual(await self.texts(text="t%e"), [])
        self.assertEqual(await self.texts(since=NOW + 1), [three])
        self.assertEqual(await self.texts(until=NOW), [])
        self.assertEqual(await self.texts(request_id="0123456789abcdef"), [three, "two", "one"])
        self.assertEqual(await self.texts(account_id=OTHER), [])
        self.assertEqual(await self.texts(account_id=OTHER, request_id="0123456789abcdef"), [])

    async def test_pages(self) -> None:
        """
        Cursors lead through everything once, also while more comes.
        """
        for number in range(25):
            self.store.keep(invocation(number))
        found: list[int] = []
        cursor = None
        while True:
            page = await self.store.query(LogQuery(account_id=ACCOUNT, limit=10, before=cursor))
            found += [int(kept.invocation.text) for kept in page.kept]
            self.store.keep(invocation("more"))
            cursor = page.cursor
            if cursor is None:
                break
        self.assertEqual(found, list(range(24, -1, -1)))

    async def test_a_talker_pushes_out_its_own(self) -> None:
        """
        An account stays within its size, and the function with most in it pays: the others of the
        account, and other accounts, keep what they have.
        """
        self.store.keep(invocation("quiet", route=Route(ACCOUNT, "quiet", "v")))
        self.store.keep(invocation("stranger", route=Route(OTHER, "talker", "v")))
        for round_ in range(30):
            for number in range(100):
                self.store.keep(invocation(f"{round_}/{number} " + "x" * 300))
            await self.texts(limit=1)
        self.assertEqual(self.lost, [])
        kept = await self.texts(limit=1000)
        self.assertTrue(kept[0].startswith("29/99 "))
        self.assertLess(len(kept), 400)
        self.assertGreater(len(kept), 50)
        self.assertEqual(await self.texts(function="quiet"), ["quiet"])
        self.assertEqual(await self.texts(account_id=OTHER), ["stranger"])
        # What is counted is what is there, also after a restart.
        await self.store.stop()
        self.store = await self.opened()
        self.assertEqual(await self.texts(limit=1000), kept)

    async def test_what_cannot_be_written_in_time_is_said(self) -> None:
        """
        What waits to be written is bounded for each account; beyond that it is counted as lost.
        """
        for _ in range(60):
            self.store.keep(invocation("x" * 60_000))
        self.store.keep(invocation("stranger", route=Route(OTHER, "talker", "v")))
        self.assertTrue(self.lost)
        self.assertEqual({route.account_id for route in self.lost}, {ACCOUNT})
        self.assertEqual(await self.texts(account_id=OTHER), ["stranger"])

    async def test_age(self) -> None:
        """
        What is too old is gone after a start.
        """
        now = int(SteppingClock().now().timestamp() * 1000)
        self.store.keep(invocation("old", eventTimestamp=now - 61_000))
        self.store.keep(invocation("new", eventTimestamp=now - 1_000))
        await self.store.stop()
        self.store = await self.opened(keep_seconds=60.0)
        self.assertEqual(await self.texts(), ["new"])

    async def test_forgetting(self) -> None:
        """
        A deleted function's log is gone, nobody else's.
        """
        for route in (ROUTE, Route(ACCOUNT, "other", "v"), Route(OTHER, "talker", "v")):
            self.store.keep(invocation("x", route=route))
        await self.store.forget(ACCOUNT, "talker")
        self.assertEqual(await self.texts(), ["x"])
        self.assertEqual(await self.texts(function="talker"), [])
        self.assertEqual(await self.texts(account_id=OTHER), ["x"])

    async def test_what_is_written_survives_a_restart(self) -> None:
        """
        Stopping writes what waits; events come back as they were.
        """
        said = invocation("\0\ud800 odd", exceptions=[exception()])
        self.store.keep(said)
        await self.store.stop()
        self.store = await self.opened()
        (kept,) = (await self.store.query(LogQuery(account_id=ACCOUNT))).kept
        self.assertEqual(kept.invocation.event, said.event)
        self.assertEqual(kept.invocation.levels, said.levels)
        self.assertEqual(kept.invocation.route, said.route)
        self.assertTrue(kept.invocation.has_stacks)

    async def test_a_damaged_file_is_put_aside(self) -> None:
        """
        The daemon starts with an empty log, and the damaged file is still there.
        """
        await self.store.stop()
        self.path.write_bytes(b"not a database" * 1000)
        self.store = await self.opened()
        self.store.keep(invocation("fresh"))
        self.assertEqual(await self.texts(), ["fresh"])
        aside = self.path.with_name(f"{self.path.name}.unusable")
        self.assertTrue(aside.read_bytes().startswith(b"not a database"))

    async def test_a_newer_file_is_put_aside(self) -> None:
        """
        A log of a newer release does not keep this one from starting.
        """
        await self.store.stop()
        with sqlite3.connect(self.path) as connection:
            connection.execute("PRAGMA user_version = 99")
        connection.close()
        self.store = await self.opened()
        self.assertEqual(await self.texts(), [])

    async def test_without_a_file_there_is_no_log(self) -> None:
        """
        Where none can be opened, nothing is kept, and nothing fails.
        """
        self.store = await self.opened(path=self.path / "there" / "is" / "no" / "directory")
        self.store.keep(invocation("x"))
        self.assertEqual(await self.texts(), [])
        await self.store.forget(ACCOUNT, "talker")
        self.assertEqual(self.lost, [])

    async def test_a_failing_disk_loses_logs_only(self) -> None:
        """
        A batch that cannot be written is counted as lost, once; and what comes later is kept.
        """
        connection = self.store._connection
        assert connection is not None
        ((pages,),) = connection.execute("PRAGMA page_count")
        connection.execute(f"PRAGMA max_page_count = {pages}")
        self.store.keep(invocation("x" * 20_000))
        self.store.keep(loss(ROUTE, invocations=1, dropped_lines=0, now=NOW))
        self.assertEqual(await self.texts(), [])
        self.assertEqual(self.lost, [ROUTE])
        connection.execute("PRAGMA max_page_count = 1000000")
        self.store.keep(invocation("y"))
        self.assertEqual(await self.texts(), ["y"])

    def test_nobody_else_reads_it(self) -> None:
        """
        The file is ours alone.
        """
        self.assertEqual(self.path.stat().st_mode & 0o777, 0o600)
