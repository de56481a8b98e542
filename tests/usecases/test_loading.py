"""What cells are given, and damaged bundles."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cryptography.fernet import Fernet
from twisted.internet import reactor as global_reactor
from twisted.internet.defer import Deferred
from twisted.logger import LogLevel, globalLogPublisher
from twisted.trial.unittest import TestCase

from workerd_faas.domain.errors import Kind, Problem
from workerd_faas.domain.model import (
    Deployment,
    Module,
    ModuleKind,
    Split,
    Version,
    new_version_id,
)
from workerd_faas.domain.routing import RoutingTable
from workerd_faas.store.bundles import BundleDirectory
from workerd_faas.store.catalog import SQLCatalog
from workerd_faas.store.database import SQLiteDatabase
from workerd_faas.store.ties import SQLTies
from workerd_faas.store.vault import FernetVault
from workerd_faas.usecases.loading import StoredVersions
from workerd_faas.usecases.secrets import SecretValues
from workerd_faas.wire.bundle import encode_bundle

reactor: Any = global_reactor
NOW = datetime(2026, 11, 23, tzinfo=UTC)


class StoredVersionsTests(TestCase):
    """
    With a real store.
    """

    timeout = 120

    async def setUp(self) -> None:  # type: ignore[override]
        """
        Make the store.
        """
        self.directory = Path(self.mktemp())
        self.directory.mkdir(parents=True)
        database = SQLiteDatabase(reactor, self.directory / "faas.db")
        await database.start()
        self.addCleanup(lambda: Deferred.fromCoroutine(database.stop()))
        self.catalog = SQLCatalog(database)
        self.bundles = BundleDirectory(reactor, self.directory / "bundles")
        self.routes = RoutingTable()
        self.versions = StoredVersions(
            catalog=self.catalog,
            secrets=SecretValues(
                catalog=self.catalog, vault=FernetVault(lambda: [Fernet.generate_key().decode()])
            ),
            bundles=self.bundles,
            routes=self.routes,
            ties=SQLTies(database),
        )
        self.events: list[Any] = []
        observer: Any = self.events.append
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)

    async def deployed(self, code: bytes) -> Version:
        """
        A version of `hello` with this code, at 100 %.
        """
        module = Module(name="index.js", kind=ModuleKind.ESM, content=code)
        version = Version(
            id=new_version_id(),
            function="hello",
            account_id="acc",
            number=0,
            created_at=NOW,
            author="a",
            source="api",
            bundle=await self.bundles.put(encode_bundle("index.js", [module])),
            size=len(code),
            main_module="index.js",
            compatibility_date="2026-01-01",
        )
        deployment = Deployment(
            id=new_version_id(),
            function="hello",
            created_at=NOW,
            author="a",
            source="api",
            splits=(Split(version_id=version.id, percentage=100),),
        )
        await self.catalog.add_version(version, deployment=deployment)
        self.routes.load(await self.catalog.routes())
        return version

    def damage(self, version: Version) -> None:
        """
        Flip a bit of the version's bundle.
        """
        path = self.directory / "bundles" / version.bundle[:2] / version.bundle
        data = bytearray(path.read_bytes())
        data[-1] ^= 1
        path.write_bytes(data)

    async def refused(self, version: Version) -> Kind:
        """
        The kind of problem that loading ends in.
        """
        with self.assertRaises(Problem) as caught:
            await self.versions.load_document("acc", version.id)
        kind: Kind = caught.exception.kind
        return kind

    async def test_a_version_is_for_its_account_only(self) -> None:
        """
        Another account's cell is told that there is no such version.
        """
        version = await self.deployed(b"export default {}")
        document = await self.versions.load_document("acc", version.id)
        self.assertTrue(document.endswith(b"export default {}"))
        self.assertEqual(document, await self.versions.load_document(None, version.id))
        with self.assertRaises(Problem) as caught:
            await self.versions.load_document("other", version.id)
        self.assertIs(caught.exception.kind, Kind.VERSION_NOT_FOUND)

    async def test_a_damaged_version_gives_way_to_the_last_good_one(self) -> None:
        """
        When the deployed version's bundle is damaged, the newest sound deployment serves.
        """
        one = await self.deployed(b"1")
        two = await self.deployed(b"2")
        three = await self.deployed(b"3")
        self.damage(three)
        self.assertIs(await self.refused(three), Kind.BUNDLE_CORRUPT)
        self.assertEqual(self.routes.resolve("hello", None, 0).version_id, two.id)
        self.damage(two)
        self.assertIs(await self.refused(two), Kind.BUNDLE_CORRUPT)
        self.assertEqual(self.routes.resolve("hello", None, 0).version_id, one.id)
        errors = [e for e in self.events if e["log_level"] is LogLevel.error]
        self.assertTrue(any(e.get("version") == three.id for e in errors))

    async def test_a_damaged_old_version_changes_no_route(self) -> None:
        """
        A damaged version that is not deployed is refused, and the deployment goes on.
        """
        one = await self.deployed(b"1")
        two = await self.deployed(b"2")
        self.damage(one)
        self.assertIs(await self.refused(one), Kind.BUNDLE_CORRUPT)
        self.assertEqual(self.routes.resolve("hello", None, 0).version_id, two.id)
