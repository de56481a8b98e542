"""Schedules in the real database."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import attrs
from twisted.internet import reactor as global_reactor
from twisted.internet.defer import Deferred
from twisted.trial.unittest import TestCase

from workerd_faas.domain.cron import parse_cron
from workerd_faas.domain.errors import Kind, Problem
from workerd_faas.domain.model import Version
from workerd_faas.domain.schedules import Outcome, Schedule, claim, ended
from workerd_faas.store.catalog import SQLCatalog
from workerd_faas.store.database import SQLiteDatabase
from workerd_faas.store.schedules import SQLSchedules

reactor: Any = global_reactor
ACCOUNT = "a" * 32
NOON = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)


def schedule(cron: str, function: str = "fn") -> Schedule:
    """
    One made at noon.
    """
    parsed = parse_cron(cron)
    return Schedule(
        function=function,
        account_id=ACCOUNT,
        cron=parsed,
        created_at=NOON,
        modified_at=NOON,
        next_at=parsed.after(NOON),
    )


class SchedulesTests(TestCase):
    """
    A database with one function.
    """

    timeout = 120

    async def setUp(self) -> None:  # type: ignore[override]
        """
        Make it.
        """
        directory = Path(self.mktemp())
        directory.mkdir(parents=True)
        database = SQLiteDatabase(reactor, directory / "faas.db")
        await database.start()
        self.addCleanup(lambda: Deferred.fromCoroutine(database.stop()))
        self.catalog = SQLCatalog(database)
        self.schedules = SQLSchedules(database)
        await self.catalog.add_version(
            Version(
                id="11111111-1111-4111-8111-111111111111",
                function="fn",
                account_id=ACCOUNT,
                number=0,
                created_at=NOON,
                author="a",
                source="api",
                bundle="b" * 64,
                size=1,
                main_module="index.js",
                compatibility_date="2026-01-01",
            )
        )

    async def test_what_is_written_is_read(self) -> None:
        """
        A schedule with a finished run comes back equal, microseconds and detail included.
        """
        one, two = schedule("* * * * *"), schedule("0 0 * * *")
        stored = await self.schedules.replace(ACCOUNT, "fn", [one, two], NOON)
        self.assertEqual(stored, [one, two])
        later = NOON + timedelta(hours=2, microseconds=7)
        claimed = claim(one, later)
        self.assertEqual(await self.schedules.save([claimed]), [claimed])
        assert claimed.last is not None
        over = ended(
            claimed, claimed.last, Outcome.EXCEPTION, later, version_id="v", detail="it is broken"
        )
        await self.schedules.save([over])
        self.assertCountEqual(await self.schedules.all(), [over, two])

    async def test_replacing_keeps_what_stays(self) -> None:
        """
        A schedule that is set again keeps its next time and history; one that is not is gone.
        """
        one, two = schedule("* * * * *"), schedule("0 0 * * *")
        await self.schedules.replace(ACCOUNT, "fn", [one, two], NOON)
        claimed = claim(one, NOON + timedelta(minutes=1))
        await self.schedules.save([claimed])
        later = NOON + timedelta(days=1)
        (stored,) = await self.schedules.replace(ACCOUNT, "fn", [one], later)
        self.assertEqual(stored, attrs.evolve(claimed, modified_at=later))
        self.assertEqual(await self.schedules.all(), [stored])

    async def test_another_accounts_function_is_none(self) -> None:
        """
        Schedules of a function that is another's, or nobody's, are refused alike.
        """
        for account, function in (("b" * 32, "fn"), (ACCOUNT, "nothing")):
            with self.assertRaises(Problem) as caught:
                await self.schedules.replace(account, function, [], NOON)
            self.assertIs(caught.exception.kind, Kind.SCRIPT_NOT_FOUND)

    async def test_they_go_with_their_function(self) -> None:
        """
        After the function was deleted nothing is left, and a claim is refused.
        """
        one = schedule("* * * * *")
        await self.schedules.replace(ACCOUNT, "fn", [one], NOON)
        await self.catalog.remove_function(ACCOUNT, "fn")
        self.assertEqual(await self.schedules.all(), [])
        self.assertEqual(await self.schedules.save([one]), [])
