"""Bundles on disk."""

import errno
import hashlib
import os
from pathlib import Path
from unittest import mock

from twisted.internet import reactor
from twisted.trial.unittest import TestCase

from workerd_faas.domain.errors import Kind, Problem
from workerd_faas.store.bundles import BundleDirectory


class BundleDirectoryTests(TestCase):
    """
    Each test has an empty directory.
    """

    timeout = 120

    def setUp(self) -> None:
        """
        Make the directory's name; it is created by the first put.
        """
        self.directory = Path(self.mktemp())
        self.bundles = BundleDirectory(reactor, self.directory)

    def files(self) -> list[Path]:
        """
        All files below the directory.
        """
        return [path for path in self.directory.rglob("*") if path.is_file()]

    async def test_bytes_come_back_by_their_hash(self) -> None:
        """
        What was put is got by its SHA-256, and putting it again keeps one file.
        """
        digest = await self.bundles.put(b"content")
        self.assertEqual(digest, hashlib.sha256(b"content").hexdigest())
        self.assertEqual(await self.bundles.put(b"content"), digest)
        self.assertEqual(await self.bundles.get(digest), b"content")
        self.assertEqual([path.name for path in self.files()], [digest])

    async def test_file_and_directories_are_synced_before_the_answer(self) -> None:
        """
        The file is synced before its rename, the directory after it.
        """
        steps: list[str] = []
        real_fsync, real_rename = os.fsync, Path.rename

        def fsync(descriptor: int) -> None:
            path = Path(f"/proc/self/fd/{descriptor}").readlink()
            steps.append("sync directory" if path.is_dir() else "sync file")
            real_fsync(descriptor)

        def rename(path: Path, target: Path) -> Path:
            steps.append("rename")
            return real_rename(path, target)

        with mock.patch("os.fsync", fsync), mock.patch.object(Path, "rename", rename):
            await self.bundles.put(b"content")
        self.assertEqual(steps[-3:], ["sync file", "rename", "sync directory"])
        self.assertIn("sync directory", steps[:-3])  # the one that the new folder is in

    async def test_a_flipped_bit_is_found(self) -> None:
        """
        A damaged or missing bundle is never handed out.
        """
        digest = await self.bundles.put(b"content")
        (path,) = self.files()
        path.write_bytes(b"c0ntent")
        for _ in range(2):
            with self.assertRaises(Problem) as caught:
                await self.bundles.get(digest)
            self.assertIs(caught.exception.kind, Kind.BUNDLE_CORRUPT)
            path.unlink(missing_ok=True)

    async def test_putting_again_repairs(self) -> None:
        """
        The same upload replaces a damaged file.
        """
        digest = await self.bundles.put(b"content")
        self.files()[0].write_bytes(b"")
        await self.bundles.put(b"content")
        self.assertEqual(await self.bundles.get(digest), b"content")

    async def test_a_full_disk_is_a_clear_problem_without_leftovers(self) -> None:
        """
        ENOSPC while writing is STORAGE_FULL, and no half file stays.
        """
        full = OSError(errno.ENOSPC, "No space left on device")
        with mock.patch("os.fsync", side_effect=[None, full]), self.assertRaises(Problem) as caught:
            await self.bundles.put(b"content")
        self.assertIs(caught.exception.kind, Kind.STORAGE_FULL)
        self.assertEqual(self.files(), [])
        digest = await self.bundles.put(b"content")
        self.assertEqual(await self.bundles.get(digest), b"content")

    async def test_a_sweep_removes_only_what_nobody_wants(self) -> None:
        """
        Unreferenced bundles and leftovers of interrupted writes go, the others stay.
        """
        wanted, unwanted = await self.bundles.put(b"1"), await self.bundles.put(b"2")
        (self.directory / wanted[:2] / f"{wanted}.0123.new").write_bytes(b"half")
        self.assertEqual(await self.bundles.sweep({wanted}), 2)
        self.assertEqual([path.name for path in self.files()], [wanted])
        self.assertNotEqual(wanted, unwanted)
