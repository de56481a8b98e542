"""The API on a loopback port, with a real store and fakes for login and cells."""

import json
from pathlib import Path
from typing import Any

import attrs
import treq
from twisted.internet import reactor as global_reactor
from twisted.internet.defer import Deferred, maybeDeferred, succeed
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase
from twisted.web.client import Agent
from twisted.web.http_headers import Headers

from workerd_faas.api.app import Api
from workerd_faas.api.assets import AssetRoutes
from workerd_faas.api.home import HomeRoutes
from workerd_faas.api.older import OlderWranglerRoutes
from workerd_faas.api.request import bearers
from workerd_faas.api.scripts import ScriptRoutes
from workerd_faas.api.secrets import SecretRoutes
from workerd_faas.api.tails import TailRoutes
from workerd_faas.api.wrangler import WranglerRoutes
from workerd_faas.domain.limits import AssetQuota, UploadLimits
from workerd_faas.domain.model import PublicUrls
from workerd_faas.domain.routing import RoutingTable
from workerd_faas.lifecycle import OwnedJobs
from workerd_faas.store.assets import AssetDirectory
from workerd_faas.store.bundles import BundleDirectory
from workerd_faas.store.catalog import SQLCatalog
from workerd_faas.store.database import SQLiteDatabase
from workerd_faas.store.logs import SQLLogs
from workerd_faas.store.ties import SQLTies
from workerd_faas.store.unversioned import SQLUnversioned
from workerd_faas.store.vault import FernetVault
from workerd_faas.testing.fakes import (
    AcceptingChecker,
    KnownBearers,
    RecordingCells,
    SteppingClock,
)
from workerd_faas.usecases.logs.journal import FunctionLog
from workerd_faas.usecases.logs.reading import LogReader
from workerd_faas.usecases.logs.stacks import Stacks
from workerd_faas.usecases.logs.tails import Tails
from workerd_faas.usecases.making import VersionMaker
from workerd_faas.usecases.ports import Checker
from workerd_faas.usecases.reading import Reader
from workerd_faas.usecases.secrets import SecretValues
from workerd_faas.usecases.sites.sessions import AssetSessions
from workerd_faas.usecases.sites.tokens import SessionTokens
from workerd_faas.usecases.sites.versions import Sites
from workerd_faas.usecases.ties.ties import Ties
from workerd_faas.usecases.ties.verbs import TieVerbs
from workerd_faas.usecases.unversioned.verbs import UnversionedVerbs
from workerd_faas.usecases.workers import Workers

reactor: Any = global_reactor

KEY = "mC8TK0q9jzO3Gm6pY0mUHOSTQ7wlFhRkTu9Yc2o7cBs="
"""Encrypts secrets in tests."""

ESM = "application/javascript+module"
INDEX = ("index.js", ESM, b"export default {}")
SCRIPTS = f"/accounts/{'a' * 32}/workers/scripts"


@attrs.frozen
class Answer:
    """
    What the API answered.
    """

    status: int
    headers: Any
    body: bytes

    @property
    def document(self) -> Any:
        """
        The JSON of it.
        """
        return json.loads(self.body)

    @property
    def result(self) -> Any:
        """
        The result of a success.
        """
        assert self.document["success"] is True, self.document
        return self.document["result"]

    @property
    def error(self) -> tuple[int, int, str]:
        """
        Status, code and message of a failure.
        """
        assert self.document["success"] is False, self.document
        (error,) = self.document["errors"]
        return self.status, error["code"], error["message"]


def form(*modules: tuple[str, str, bytes], **metadata: Any) -> tuple[str, bytes]:
    """
    Content type and body of an upload, as undici writes it. A key of the metadata that is None is
    left out.
    """
    document = {"main_module": "index.js", "compatibility_date": "2026-01-01", **metadata}
    document = {key: value for key, value in document.items() if value is not None}
    lines = [
        b'--BB\r\nContent-Disposition: form-data; name="metadata"\r\n\r\n',
        json.dumps(document).encode(),
    ]
    for name, content_type, content in modules or (INDEX,):
        lines.append(
            f'\r\n--BB\r\nContent-Disposition: form-data; name="{name}"; filename="{name}"\r\n'
            f"Content-Type: {content_type}\r\n\r\n".encode()
        )
        lines.append(content)
    return "multipart/form-data; boundary=BB", b"".join([*lines, b"\r\n--BB--\r\n"])


class PlatformTestCase(TestCase):
    """
    Each test has a platform of its own.
    """

    timeout = 120
    limits = UploadLimits(code=100_000, metadata=10_000, modules=20)
    quota = AssetQuota()

    def make_checker(self) -> Checker:
        """
        What checks uploads.
        """
        return AcceptingChecker()

    async def setUp(self) -> None:  # type: ignore[override]
        """
        Start the API.
        """
        directory = Path(self.mktemp())
        directory.mkdir(parents=True)
        self.database = SQLiteDatabase(reactor, directory / "faas.db")
        await self.database.start()
        self.addCleanup(lambda: Deferred.fromCoroutine(self.database.stop()))
        self.bundle_directory = directory / "bundles"
        self.cells, self.routes = RecordingCells(), RoutingTable()
        self.catalog = SQLCatalog(self.database)
        self.checker = self.make_checker()
        self.bundles = BundleDirectory(reactor, self.bundle_directory)
        self.secrets = SecretValues(catalog=self.catalog, vault=FernetVault(lambda: [KEY]))
        self.clock, jobs = SteppingClock(), OwnedJobs()
        await self._start_log(directory)
        self.asset_files = AssetDirectory(reactor, directory / "assets", self.quota)
        tokens = SessionTokens(b"a key of 32 bytes for tests only")
        self.asset_sessions = AssetSessions(
            files=self.asset_files,
            tokens=tokens,
            work=jobs,
            clock=self.clock,
            in_thread=deferToThread,
            owner=self.routes.owner,
        )
        ties = Ties(store=SQLTies(self.database), routes=self.routes, notices=self.cells)
        self.making = VersionMaker(
            bundles=self.bundles,
            secrets=self.secrets,
            sites=Sites(
                files=self.asset_files,
                bundles=self.bundles,
                tokens=tokens,
                clock=self.clock,
                in_thread=deferToThread,
            ),
            ties=ties,
            checker=self.checker,
            clock=self.clock,
            limits=self.limits,
        )
        unversioned = SQLUnversioned(self.database)
        self.workers = Workers(
            catalog=self.catalog,
            read=Reader(catalog=self.catalog, bundles=self.bundles),
            making=self.making,
            secrets=self.secrets,
            ties=ties,
            unversioned=unversioned,
            cells=self.cells,
            routes=self.routes,
            work=jobs,
            clock=self.clock,
            deleted=self.log.forget,
        )
        urls = PublicUrls(scheme="http", base_domain="faas.test", port=8080)
        self.health: dict[str, Any] = {"database": {"ok": True}}
        self.auth = KnownBearers()
        self.bearers = self.auth.principals
        self.api = api = Api(
            [
                HomeRoutes(urls=urls, version="1.2.3", health=lambda: succeed(self.health)),
                AssetRoutes(
                    auth=self.auth,
                    sessions=self.asset_sessions,
                    limits=self.asset_sessions.limits,
                    in_thread=deferToThread,
                ),
                SecretRoutes(auth=self.auth, workers=self.workers, urls=urls),
                OlderWranglerRoutes(
                    auth=self.auth, workers=self.workers, urls=urls, limits=self.limits
                ),
                WranglerRoutes(
                    auth=self.auth,
                    workers=self.workers,
                    ties=TieVerbs(catalog=self.catalog, ties=ties, work=jobs),
                    unversioned=UnversionedVerbs(store=unversioned, work=jobs),
                    urls=urls,
                ),
                ScriptRoutes(
                    auth=self.auth,
                    workers=self.workers,
                    urls=urls,
                    limits=self.limits,
                    in_thread=deferToThread,
                ),
                TailRoutes(
                    reactor=reactor,
                    auth=self.auth,
                    workers=self.workers,
                    tails=self.log.tails,
                    reader=LogReader(store=self.log_store, stacks=self.stacks),
                    urls=urls,
                ),
            ]
        )
        site = api.site(reactor, max_upload=self.limits.body, known_by=[bearers(self.auth)])
        self.port = reactor.listenTCP(0, site, interface="127.0.0.1")
        self.addCleanup(lambda: maybeDeferred(self.port.stopListening))

    async def _start_log(self, directory: Path) -> None:
        self.log_store = SQLLogs(
            reactor=reactor,
            path=directory / "logs.db",
            clock=self.clock,
            keep_seconds=86400.0 * 365 * 100,
            keep_bytes=1 << 20,
        )
        await self.log_store.start()
        self.addCleanup(lambda: Deferred.fromCoroutine(self.log_store.stop()))
        self.stacks = Stacks(catalog=self.catalog, bundles=self.bundles, in_thread=deferToThread)
        tails = Tails(reactor=reactor, clock=self.clock, shown=self.stacks.shown)
        self.addCleanup(lambda: Deferred.fromCoroutine(tails.stop()))
        self.log = FunctionLog(reactor=reactor, clock=self.clock, tails=tails, store=self.log_store)

    async def ask(
        self,
        method: str,
        path: str,
        *,
        bearer: str | None = "alice",
        json_body: Any = None,
        body: bytes | None = None,
        headers: dict[str, str] | None = None,
    ) -> Answer:
        """
        One request on a connection of its own.
        """
        sent = dict(headers or {})
        if bearer is not None:
            sent["Authorization"] = f"Bearer {bearer}"
        if json_body is not None:
            body = json.dumps(json_body).encode()
        response = await treq.request(
            method,
            f"http://127.0.0.1:{self.port.getHost().port}{path}",
            headers=Headers({name: [value] for name, value in sent.items()}),
            data=body,
            agent=Agent(reactor),
        )
        content = await response.content()
        return Answer(response.code, response.headers, content)

    async def upload(
        self,
        path: str,
        *modules: tuple[str, str, bytes],
        bearer: str = "alice",
        method: str | None = None,
        **metadata: Any,
    ) -> Answer:
        """
        Upload to `…/scripts<path>`, by POST to a versions path and by PUT otherwise.
        """
        content_type, body = form(*modules, **metadata)
        return await self.ask(
            method or ("POST" if path.endswith("/versions") else "PUT"),
            SCRIPTS.replace("a" * 32, bearer[0] * 32) + path,
            bearer=bearer,
            body=body,
            headers={"Content-Type": content_type},
        )
