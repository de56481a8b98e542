"""What everything else stands on: settings, directories, the database, what is pure."""

import os
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import attrs
from twisted.internet.threads import deferToThreadPool

from workerd_faas.directories import DataDirectory, RunDirectory, run_directory
from workerd_faas.domain.admission import Admission
from workerd_faas.domain.limits import UploadLimits
from workerd_faas.domain.routing import RoutingTable
from workerd_faas.ingress.descriptors import raise_limit
from workerd_faas.lifecycle import OwnedJobs
from workerd_faas.runtime import binary, walls
from workerd_faas.settings.model import Settings
from workerd_faas.store import keyfile
from workerd_faas.store.bundles import BundleDirectory
from workerd_faas.store.catalog import SQLCatalog
from workerd_faas.store.database import SQLiteDatabase
from workerd_faas.store.hyperdrive import SQLConfigurations
from workerd_faas.store.identity import SQLIdentity
from workerd_faas.store.ties import SQLTies
from workerd_faas.store.unversioned import SQLUnversioned
from workerd_faas.store.vault import FernetVault
from workerd_faas.usecases.secrets import SecretValues


@attrs.frozen
class UTCClock:
    """
    The time of day: `usecases.ports.WallClock`.
    """

    def now(self) -> datetime:
        """
        See `usecases.ports.WallClock.now`.
        """
        return datetime.now(UTC)


class Ground:
    """
    Attributes are named for what they are; nothing of it runs yet.

    Raises:
        OSError, StartRefused, NoWorkerd, NoWall, KeyFileUnusable: see `daemon.build`.
    """

    def __init__(self, reactor: Any, settings: Settings) -> None:
        raise_limit()
        self.reactor = reactor
        self.settings = settings
        self.clock = UTCClock()
        self.data = DataDirectory(settings.data_dir)
        self.data.make()
        self.data.check()  # Before anything is made in it.
        self.own = RunDirectory.claim(run_directory(self.data, os.environ))
        self.run = self.own.path
        self.api_socket = self.run / "api"
        self.workerd = binary.find(settings.workerd)
        self.jobs = OwnedJobs()
        self.routes = RoutingTable()
        self.admission = Admission(settings.limits.traffic)
        self.limits = UploadLimits(code=settings.max_code_size)
        self.walls = walls.build(
            walls.Sandbox(settings.sandbox), settings.cell_uids, settings.data_dir
        )
        self.database = SQLiteDatabase(reactor, self.data.database)
        self.catalog = SQLCatalog(self.database)
        self.identity = SQLIdentity(self.database)
        self.bundles = BundleDirectory(reactor, self.data.bundles)
        self.ties = SQLTies(self.database)
        self.unversioned = SQLUnversioned(self.database)
        self.vault = FernetVault(self._secrets_keys())
        self.secrets = SecretValues(catalog=self.catalog, vault=self.vault)
        self.configurations = SQLConfigurations(self.database, self.vault)

    @property
    def secret(self) -> str:
        """
        What all keys are derived from.
        """
        return self.settings.jwt_secret or self.data.secret("dev-jwt-secret")

    def made(self, name: str) -> Path:
        """
        A directory of ours below the runtime directory.
        """
        directory = self.run / name
        directory.mkdir(mode=0o700, exist_ok=True)
        return directory

    def in_thread(self, work: Callable[[], Any]) -> Awaitable[Any]:
        """
        `usecases.ports.InThread`.
        """
        return deferToThreadPool(self.reactor, self.reactor.getThreadPool(), work)

    def _secrets_keys(self) -> Callable[[], Sequence[str]]:
        given = self.settings.secrets_keys
        if given:
            return lambda: given
        file = self.data.secrets_key
        keyfile.read_keys(file)  # a file that is no good keeps the daemon from starting
        return lambda: keyfile.read_keys(file)
