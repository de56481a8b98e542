"""Large values are on the disk before they are acknowledged."""

import json
from pathlib import Path

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from tests.runtime.support import ACCOUNT
from tests.state.support import StateCase, manage
from workerd_faas.runtime.state.fleet import StateFleet
from workerd_faas.runtime.state.syncing import BlobSync, make_folder
from workerd_faas.usecases.storage.ports import StateAnswer, StateQuestion

NAME = f"{'a' * 64}/b/{'b' * 64}"
LARGE = b"v" * 100_000


class SyncTests(SynchronousTestCase):
    """
    Of one file.
    """

    def test_the_file_and_its_folders_are_synced(self) -> None:
        """
        The file first, then each folder that names the one before it; what is not there is told,
        and nothing outside of the folder is touched.
        """
        folder = Path(self.mktemp())
        file = folder / NAME
        file.parent.mkdir(parents=True)
        file.write_bytes(b"value")
        synced: list[str] = []

        def sync(descriptor: int) -> None:
            synced.append(str(Path(f"/proc/self/fd/{descriptor}").readlink()))

        blobs = BlobSync(reactor=None, folder=folder, sync=sync)
        self.assertTrue(blobs._sync(file))
        whole = folder.resolve()
        expected = [whole / NAME, whole / ("a" * 64) / "b", whole / ("a" * 64), whole]
        self.assertEqual(synced, [str(path) for path in expected])
        self.assertFalse(blobs._sync(folder / NAME.replace("b" * 64, "c" * 64)))
        for name in ("", "../../etc/passwd", f"/{NAME}", f"{NAME}/..", f"{NAME}\n"):
            self.assertFalse(self.successResultOf(self.asked(blobs, name)), name)

    def test_new_folders_are_synced(self) -> None:
        """
        Each folder above a new one is synced once the new one is in it; one that is there is left
        alone.
        """
        base = Path(self.mktemp()).resolve()
        base.mkdir()
        synced: list[tuple[str, list[str]]] = []

        def sync(descriptor: int) -> None:
            path = Path(f"/proc/self/fd/{descriptor}").readlink()
            synced.append((str(path), sorted(each.name for each in path.iterdir())))

        self.assertTrue(make_folder(base / "state" / "account" / "objects", sync))
        state = base / "state"
        self.assertEqual(
            synced,
            [
                (str(base), ["state"]),
                (str(state), ["account"]),
                (str(state / "account"), ["objects"]),
            ],
        )
        self.assertEqual((state / "account").stat().st_mode & 0o777, 0o700)
        (base / "link").symlink_to(base)
        self.assertTrue(make_folder(base / "link" / "other", sync))
        synced.clear()
        self.assertFalse(make_folder(state / "account" / "objects", sync))
        self.assertEqual(synced, [])

    def asked(self, blobs: BlobSync, name: str) -> "Deferred[bool]":
        """
        As the cell asks.
        """
        return Deferred.fromCoroutine(blobs(name))


class CellTests(StateCase):
    """
    In a state cell.
    """

    async def put(self, state: StateFleet, content: bytes) -> StateAnswer:
        """
        Store a value.
        """
        question = StateQuestion(kind="kv", id="ns", method="PUT", target="/key", body=content)
        return await state.ask(ACCOUNT, question)

    async def test_large_values_are_synced(self) -> None:
        """
        Those that are files are synced whole before the answer, also those of a bulk; and one that
        cannot be is not stored.
        """
        sizes: list[int] = []
        failing = False
        original = BlobSync._sync

        def sync(blobs: BlobSync, file: Path) -> bool:
            if failing:
                raise OSError("the disk fails")
            sizes.append(file.stat().st_size)
            return original(blobs, file)

        self.patch(BlobSync, "_sync", sync)
        state = await self.state_fleet()
        for content, expected in ((b"small", []), (LARGE, [len(LARGE)])):
            self.assertEqual((await self.put(state, content)).status, 200)
            self.assertEqual(sizes, expected)
        pairs = [{"key": "other", "value": "v" * 200_000}]
        await manage(state, "PUT", "/kv/bulk", "ns", pairs)
        self.assertEqual(sizes, [len(LARGE), 200_000])
        failing = True
        refused = await self.put(state, LARGE + b"more")
        self.assertEqual(refused.status, 500)
        self.assertIn("could not be synced", json.loads(refused.body)["error"])
        question = StateQuestion(kind="kv", id="ns", method="GET", target="/key")
        self.assertEqual((await state.ask(ACCOUNT, question)).body, LARGE)
        self.flushLoggedErrors(OSError)
