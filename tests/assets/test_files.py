"""Files of sites on the disk, and what is swept out."""

import errno
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from unittest import mock

from twisted.internet import reactor as global_reactor
from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase

from tests.assets.sites import hash_of
from tests.assets.test_sessions import INDEX, SessionTestCase
from workerd_faas.domain.errors import Kind, Problem
from workerd_faas.domain.limits import AssetQuota
from workerd_faas.store.assets import AssetDirectory
from workerd_faas.usecases.ports import ReceivedFile
from workerd_faas.usecases.sites.sweeping import GRACE, SiteSweeper

reactor: Any = global_reactor

ALICE = "a" * 32
BOB = "b" * 32
NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


def received(content: bytes, content_type: str | None = "text/plain") -> ReceivedFile:
    """
    An uploaded file.
    """
    return ReceivedFile(hash=hash_of("/x.txt", content), content_type=content_type, content=content)


class FileTests(TestCase):
    """
    The directory of files.
    """

    timeout = 120

    def setUp(self) -> None:
        """
        An empty directory.
        """
        self.directory = Path(self.mktemp()) / "assets"
        self.files = AssetDirectory(reactor, self.directory)

    def on_disk(self) -> list[str]:
        """
        All files.
        """
        return sorted(
            str(path.relative_to(self.directory))
            for path in self.directory.rglob("*")
            if path.is_file()
        )

    async def test_a_file_keeps_bytes_and_type(self) -> None:
        """
        What was put is held under its hash, with its type and size, for its account alone.
        """
        plain, untyped = received(b"plain"), received(b"", None)
        await self.files.put(ALICE, [plain, untyped], NOON)
        hashes = {plain.hash, untyped.hash, "0" * 32}
        held = await self.files.held(ALICE, hashes, NOON)
        self.assertEqual(held.keys(), {plain.hash, untyped.hash})
        self.assertEqual(held[plain.hash].content_type, "text/plain")
        self.assertEqual(held[untyped.hash].content_type, None)
        stored = self.directory / ALICE / held[plain.hash].name
        self.assertEqual(stored.read_bytes(), b"plain")
        self.assertEqual(stored.stat().st_mode & 0o777, 0o644)
        self.assertRegex(held[plain.hash].name, r"\A[0-9a-f]{2}/[0-9a-f]{32}-[A-Za-z0-9_-]+\Z")
        self.assertEqual(dict(await self.files.held(BOB, hashes, NOON)), {})

    async def test_every_type_fits_into_a_name(self) -> None:
        """
        Types of any characters and of the greatest length come back as they were.
        """
        for content_type in ("x" * 120, 'a/b; c="/../%00"', "text/html;charset=utf-8", "~" * 120):
            file = received(content_type.encode(), content_type)
            await self.files.put(ALICE, [file], NOON)
            (held,) = (await self.files.held(ALICE, {file.hash}, NOON)).values()
            self.assertEqual(held.content_type, content_type)

    async def test_an_account_cannot_lead_elsewhere(self) -> None:
        """
        What is not the id of an account is no path.
        """
        for account in ("..", "", "a" * 31, "A" * 32, f"{'a' * 32}/../x"):
            with self.assertRaises(ValueError):
                await self.files.put(account, [received(b"x")], NOON)
        self.assertEqual(self.on_disk(), [])

    async def test_what_is_old_and_unwanted_goes(self) -> None:
        """
        A sweep removes what is neither wanted nor young, leftovers of uploads too, and only that.
        """
        wanted, unwanted = received(b"wanted"), received(b"unwanted")
        await self.files.put(ALICE, [wanted, unwanted], NOON)
        await self.files.put(BOB, [unwanted], NOON)
        digest = await self.files.put_manifest(ALICE, b"{}", NOON)
        name = (await self.files.held(ALICE, {wanted.hash}, NOON))[wanted.hash].name
        leftover = self.directory / ALICE / name.partition("/")[0] / "0.new"
        leftover.write_bytes(b"half")
        os.utime(leftover, (NOON.timestamp(), NOON.timestamp()))
        self.assertEqual(await self.files.sweep(ALICE, {name}, NOON), 0)
        self.assertEqual(await self.files.manifest(ALICE, digest), b"{}")
        self.assertEqual(await self.files.sweep(ALICE, {name}, NOON + HOUR), 3)
        self.assertEqual(len(self.on_disk()), 2)
        self.assertIn(f"{ALICE}/{name}", self.on_disk())
        self.assertIsNone(await self.files.manifest(ALICE, digest))
        self.assertEqual(await self.files.accounts(), [ALICE, BOB])

    async def test_an_account_has_so_much_room(self) -> None:
        """
        What does not fit, in bytes or in number, is not stored; what is there already, manifests
        and other accounts' files do or do not count as they should, and a new start finds as much.
        """
        quota = AssetQuota(size=20, files=2)
        for files in (
            AssetDirectory(reactor, self.directory, quota),
            AssetDirectory(reactor, self.directory, quota),
        ):
            await files.put(ALICE, [received(b"1234567890"), received(b"x")], NOON)
            with self.assertRaises(Problem) as caught:
                await files.put(ALICE, [received(b"a third one")], NOON)
            self.assertEqual(caught.exception.kind, Kind.ASSETS_TOO_LARGE)
            self.assertIn("ACCOUNT_SITE", caught.exception.message)
            with self.assertRaises(Problem):
                await files.check_room(ALICE, 0, 1)
            with self.assertRaises(Problem):
                await files.check_room(ALICE, 10, 0)
            await files.check_room(ALICE, 9, 0)
            await files.put(BOB, [received(b"of Bob"), received(b"more")], NOON)
        self.assertEqual(len(self.on_disk()), 4)
        await files.put_manifest(ALICE, b"123456789", NOON)
        with self.assertRaises(Problem):
            await files.put_manifest(ALICE, b"0", NOON)
        self.assertEqual(len(self.on_disk()), 5)

    async def test_room_is_given_back(self) -> None:
        """
        What was swept, and what could not be written, takes no room.
        """
        files = AssetDirectory(reactor, self.directory, AssetQuota(size=10, files=1))
        full = OSError(errno.ENOSPC, "No space left on device")
        with mock.patch("os.fsync", side_effect=full), self.assertRaises(Problem):
            await files.put(ALICE, [received(b"0123456789")], NOON)
        await files.put(ALICE, [received(b"1234567890")], NOON)
        with self.assertRaises(Problem):
            await files.check_room(ALICE, 0, 1)
        self.assertEqual(await files.sweep(ALICE, (), NOON + HOUR), 1)
        await files.put(ALICE, [received(b"123456789!")], NOON)

    async def test_uploads_at_once_share_the_room(self) -> None:
        """
        Of many uploads at the same time as many are taken as there is room for.
        """
        files = AssetDirectory(reactor, self.directory, AssetQuota(files=3))
        uploads = [
            Deferred.fromCoroutine(files.put(ALICE, [received(b"%d" % n)], NOON)) for n in range(12)
        ]
        done = await DeferredList(uploads, consumeErrors=True)
        self.assertEqual(sum(success for success, _ in done), 3)
        self.assertEqual(len(self.on_disk()), 3)

    async def test_a_file_that_grows_is_counted(self) -> None:
        """
        A file that comes again under its hash with another size counts as it is now.
        """
        files = AssetDirectory(reactor, self.directory, AssetQuota(size=10))
        small = received(b"1")
        large = ReceivedFile(hash=small.hash, content_type="text/plain", content=b"12345678901")
        await files.put(ALICE, [small], NOON)
        with self.assertRaises(Problem):
            await files.put(ALICE, [large], NOON)
        await files.check_room(ALICE, 9, 0)

    async def test_asking_for_a_file_keeps_it(self) -> None:
        """
        What a session counted on stays, however long ago it was uploaded.
        """
        file = received(b"old")
        await self.files.put(ALICE, [file], NOON)
        await self.files.held(ALICE, {file.hash}, NOON + 2 * HOUR)
        self.assertEqual(await self.files.sweep(ALICE, (), NOON + HOUR), 0)
        self.assertEqual(await self.files.sweep(ALICE, (), NOON + 3 * HOUR), 1)

    async def test_a_damaged_manifest_is_none(self) -> None:
        """
        A manifest whose bytes are not those of its digest is not handed out.
        """
        digest = await self.files.put_manifest(ALICE, b"{}", NOON)
        (self.directory / ALICE / "manifests" / digest).write_bytes(b"[]")
        self.assertIsNone(await self.files.manifest(ALICE, digest))

    async def test_a_full_disk_is_told(self) -> None:
        """
        No space is `STORAGE_FULL`, and leaves nothing half written behind.
        """
        full = OSError(errno.ENOSPC, "No space left on device")
        calls = [None] * 3 + [full]
        with mock.patch("os.fsync", side_effect=calls), self.assertRaises(Problem) as caught:
            await self.files.put(ALICE, [received(b"x")], NOON)
        self.assertIs(caught.exception.kind, Kind.STORAGE_FULL)
        self.assertEqual(self.on_disk(), [])


class SweepTests(SessionTestCase):
    """
    Sweeping with the catalog's word on what is wanted.
    """

    def sweeper(self) -> SiteSweeper:
        """
        One that is not started.
        """
        return SiteSweeper(
            reactor=reactor,
            catalog=self.catalog,
            bundles=self.bundles,
            files=self.asset_files,
            clock=self.clock,
            in_thread=deferToThread,
        )

    async def held(self, *contents: bytes) -> int:
        """
        How many of these are still there.
        """
        hashes = {hash_of(INDEX, content) for content in contents}
        return len(await self.asset_files.held(ALICE, hashes, self.clock.moment - 2 * GRACE))

    async def test_files_live_as_long_as_a_version_needs_them(self) -> None:
        """
        An old version's files stay; those of a deleted function, and those that no upload ever
        referred to, go once they are old enough.
        """
        for content in (b"one", b"two"):
            token = await self.whole({INDEX: content})
            self.assertEqual((await self.deploy({"jwt": token})).status, 200)
        await self.whole({INDEX: b"never deployed"})
        sweeper = self.sweeper()
        self.assertEqual(await sweeper.sweep(), 0)
        self.clock.moment += GRACE + HOUR
        self.assertEqual(await sweeper.sweep(), 1 + 3)  # with the three manifests
        self.assertEqual(await self.held(b"one", b"two", b"never deployed"), 2)
        path = f"/accounts/{ALICE}/workers/scripts/site"
        self.assertEqual((await self.ask("DELETE", path)).status, 200)
        self.assertEqual(await sweeper.sweep(), 2)
        self.assertEqual(await self.held(b"one", b"two"), 0)

    async def test_a_damaged_site_stops_the_sweep_of_its_account(self) -> None:
        """
        When it cannot be known what a version needs, nothing of that account is removed.
        """
        await self.deploy({"jwt": await self.whole({INDEX: b"x"})})
        ((_, digests),) = (await self.catalog.sites()).items()
        for digest in digests:
            (self.bundle_directory / digest[:2] / digest).write_bytes(b"{}")
        self.clock.moment += GRACE + HOUR
        self.assertEqual(await self.sweeper().sweep(), 0)
        self.assertEqual(await self.held(b"x"), 1)

    async def test_the_stage_sweeps_at_once_and_stops(self) -> None:
        """
        Starting sweeps; stopping while nothing runs, or in the middle, is clean.
        """
        await self.whole({INDEX: b"x"})
        self.clock.moment += GRACE + HOUR
        sweeper = self.sweeper()
        await sweeper.start()
        while await self.held(b"x"):
            await deferToThread(lambda: None)
        await sweeper.stop()
        await sweeper.start()
        await sweeper.stop()
