"""The stages of the daemon that are more than one object's own start and stop."""

import resource
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import attrs
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.interfaces import IListeningPort
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.web.server import Site

from workerd_faas import welcome
from workerd_faas.domain.routing import RoutingTable
from workerd_faas.ingress import descriptors
from workerd_faas.ingress.limits import RelayLimits
from workerd_faas.ingress.listen import ListenError
from workerd_faas.ingress.service import Ingress
from workerd_faas.lifecycle import Stage, StartRefused
from workerd_faas.oidc.relyingparty import RelyingParty
from workerd_faas.settings.model import Settings
from workerd_faas.store.bundles import BundleDirectory
from workerd_faas.store.catalog import SQLCatalog
from workerd_faas.store.database import DatabaseUnusable, SQLiteDatabase
from workerd_faas.store.identity import SQLIdentity
from workerd_faas.usecases.ports import WallClock
from workerd_faas.usecases.upload import Upload
from workerd_faas.usecases.workers import Workers

WATCH_SECONDS: Final = 1.0

RUN_PARTS: Final = ("c", "f", "s")
"""The directories of check cells, function cells and state cells."""

EXAMPLES_ACCOUNT = "examples"
"""The operator-made account that the example function belongs to."""


@attrs.frozen
class StoreStage:
    """
    Opens the database, fills the routing table and removes bundles that nobody refers to.
    """

    database: SQLiteDatabase
    catalog: SQLCatalog
    bundles: BundleDirectory
    routes: RoutingTable

    log = Logger()

    async def start(self) -> None:
        """
        See `lifecycle.Stage.start`.
        """
        try:
            await self.database.start()
        except DatabaseUnusable as error:
            raise StartRefused(str(error)) from error
        self.routes.load(await self.catalog.routes())
        # Nothing is uploaded yet, so what no version refers to is left from an earlier run.
        swept = await self.bundles.sweep(await self.catalog.bundles())
        if swept:
            self.log.info("{count} unreferenced bundle files removed", count=swept)

    async def stop(self) -> None:
        """
        See `lifecycle.Stage.stop`.
        """
        await self.database.stop()


@attrs.define(eq=False)
class Meanwhile:
    """
    A stage whose stop may begin before its turn, so that it takes no time of its own.
    """

    stage: Stage
    _stopping: "Deferred[None] | None" = None

    def begin_stop(self) -> None:
        """
        Stop without waiting.
        """
        if self._stopping is None:
            self._stopping = Deferred.fromCoroutine(_stopped(self.stage))

    async def start(self) -> None:
        """
        See `lifecycle.Stage.start`.
        """
        await self.stage.start()

    async def stop(self) -> None:
        """
        See `lifecycle.Stage.stop`.
        """
        self.begin_stop()
        assert self._stopping is not None
        await self._stopping


async def _stopped(stage: Stage) -> None:
    await stage.stop()


@attrs.frozen
class StopMeanwhile:
    """
    Where the stops begin.
    """

    stages: tuple[Meanwhile, ...]

    async def start(self) -> None:
        """
        See `lifecycle.Stage.start`.
        """

    async def stop(self) -> None:
        """
        See `lifecycle.Stage.stop`.
        """
        for stage in self.stages:
            stage.begin_stop()


@attrs.frozen
class LoginStage:
    """
    The identity provider is asked at the first login, not at the start.
    """

    relying_party: RelyingParty

    async def start(self) -> None:
        """
        See `lifecycle.Stage.start`.
        """

    async def stop(self) -> None:
        """
        See `lifecycle.Stage.stop`.
        """
        self.relying_party.stop()


@attrs.define
class ApiStage:
    """
    The API on its unix socket, where the relay finds it.

    Attributes:
        lost: Called when the runtime directory had to be made anew: no socket in it is left.
    """

    reactor: Any
    site: Site
    path: Path
    lost: Callable[[], None]
    _port: IListeningPort | None = None
    _watch: LoopingCall | None = None

    log = Logger()

    async def start(self) -> None:
        """
        See `lifecycle.Stage.start`.
        """
        self._listen()
        self._watch = LoopingCall(self._look)
        self._watch.clock = self.reactor
        self._watch.start(WATCH_SECONDS, now=False)

    async def stop(self) -> None:
        """
        See `lifecycle.Stage.stop`.
        """
        if self._watch is not None and self._watch.running:
            self._watch.stop()
        if self._port is not None:
            await _closed(self._port)

    def _listen(self) -> None:
        self.path.unlink(missing_ok=True)
        self._port = self.reactor.listenUNIX(str(self.path), self.site, mode=0o600)

    def _look(self) -> None:
        """
        Somebody may clear the directory away.
        """
        if self.path.exists():
            return
        self.log.error("{path} has been removed: made anew", path=str(self.path.parent))
        before, self._port = self._port, None
        if before is not None:
            Deferred.fromCoroutine(_closed(before)).addErrback(
                lambda failure: self.log.failure("closing the API's socket", failure)
            )
        with self.log.failureHandler("making the runtime directory anew"):
            for name in ("", *RUN_PARTS):
                (self.path.parent / name).mkdir(mode=0o700, parents=True, exist_ok=True)
            self._listen()
            self.lost()


async def _closed(port: IListeningPort) -> None:
    with suppress(FileNotFoundError):  # its file has been removed by somebody
        await maybeDeferred(port.stopListening)


@attrs.frozen
class WelcomeStage:
    """
    An installation for development that has no function yet gets one to look at.
    """

    catalog: SQLCatalog
    identity: SQLIdentity
    workers: Workers
    clock: WallClock

    async def start(self) -> None:
        """
        See `lifecycle.Stage.start`.
        """
        if await self.catalog.routes():
            return
        account = await self.identity.operator_account(EXAMPLES_ACCOUNT, self.clock.now())

        async def read() -> Upload:
            return welcome.upload()

        await self.workers.upload(welcome.target(account), read, source="api", deploy=True)

    async def stop(self) -> None:
        """
        See `lifecycle.Stage.stop`.
        """


@attrs.frozen
class IngressStage:
    """
    Opens the public port last and says where everything is.
    """

    ingress: Ingress
    settings: Settings

    log = Logger()

    async def start(self) -> None:
        """
        See `lifecycle.Stage.start`.
        """
        try:
            await self.ingress.start()
        except ListenError as error:
            raise StartRefused(str(error)) from error
        public = self.settings.public
        for warning in self.settings.warnings:
            self.log.warn("{warning}", warning=warning)
        soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        too_few = descriptors.few(soft, RelayLimits().connections)
        if too_few is not None and not self.settings.dev:
            self.log.warn("file descriptors: {warning}", warning=too_few)
        self.log.info(
            "{api} serves functions at {functions}",
            api=public.api,
            functions=public.function("<function>"),
        )
        if self.settings.dev:
            self.log.info(
                "example: {example} (or: curl -H 'Host: {host}' {api})",
                example=public.function(welcome.NAME),
                host=f"{welcome.NAME}.{public.base_domain}",
                api=public.api,
            )

    async def stop(self) -> None:
        """
        See `lifecycle.Stage.stop`.
        """
        await self.ingress.drain(self.settings.drain_timeout)
        await self.ingress.stop()
