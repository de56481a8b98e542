"""The whole daemon: all parts, and the order in which they start and stop."""

import os
import signal
import sys
from collections.abc import Callable, Sequence
from typing import Any

from twisted.application.service import IService

from workerd_faas.api.app import Api
from workerd_faas.assembly.areas import areas, known_by
from workerd_faas.assembly.cells import CellParts
from workerd_faas.assembly.ground import Ground
from workerd_faas.assembly.login import LoginParts
from workerd_faas.assembly.logs import LogParts
from workerd_faas.assembly.sites import SiteParts
from workerd_faas.assembly.storage import StorageParts
from workerd_faas.directories import DirectoryStage
from workerd_faas.domain.upstream import Upstream
from workerd_faas.handover.giving import Giving
from workerd_faas.handover.parts import Parts
from workerd_faas.handover.taking import Places, taking_over
from workerd_faas.ingress.service import Ingress
from workerd_faas.lifecycle import ServiceManager, Stage, StagedService, StartRefused
from workerd_faas.limits import (
    relay_limits,
)
from workerd_faas.logs import json_observer
from workerd_faas.oidc.devprovider.provider import NotLocal
from workerd_faas.reload import Reload
from workerd_faas.runtime import binary, leftovers, walls
from workerd_faas.settings.model import Settings
from workerd_faas.stages import (
    ApiStage,
    IngressStage,
    LoginStage,
    Meanwhile,
    StopMeanwhile,
    StoreStage,
    WelcomeStage,
)
from workerd_faas.store import keyfile


def build(
    reactor: Any,
    settings: Settings,
    command: Sequence[str] | None = None,
    read: Callable[[], Settings] | None = None,
) -> IService:
    """
    The daemon as a service. Nothing runs before the service is started.

    Args:
        command: How to start the same daemon again; None: it cannot be handed over.
        read: Reads the settings again; None: they stay as they are.

    Raises:
        SystemExit: something that the daemon cannot do without is not there; says what.
    """
    try:
        return _Daemon(reactor, settings).service(command, read or (lambda: settings))
    except (
        OSError,
        NotLocal,
        StartRefused,
        binary.NoWorkerd,
        walls.NoWall,
        keyfile.KeyFileUnusable,
    ) as error:
        raise SystemExit(f"workerd-faas cannot start: {error}") from error


class _Daemon:
    """
    The objects of one daemon, in the order in which they need one another.
    """

    def __init__(self, reactor: Any, settings: Settings) -> None:
        self.ground = ground = Ground(reactor, settings)
        self.logs = LogParts(ground)
        self.sites = SiteParts(ground)
        self.storage = StorageParts(ground, lambda: self.cells.fleet)
        self.cells = CellParts(ground, self.logs, self.sites, self.storage)
        self.login = LoginParts(ground)
        self.workers = self.cells.workers(ground, self.logs, self.sites, self.storage)
        api = Api(
            areas(
                ground,
                self.logs,
                self.sites,
                self.storage,
                self.cells,
                self.login,
                self.workers,
            )
        )
        self.api_site = api.site(
            reactor,
            max_upload=ground.limits.body,
            known_by=known_by(self.sites, self.storage, self.login),
        )

    def service(self, command: Sequence[str] | None, read: Callable[[], Settings]) -> IService:
        """
        The stages in their order.
        """
        ground, settings = self.ground, self.ground.settings
        ingress = Ingress(
            reactor=ground.reactor,
            listen=[endpoint.text for endpoint in settings.listen],
            base_domain=settings.base_domain,
            routes=ground.routes,
            cells=self.cells.fleet,
            api=Upstream(str(ground.api_socket), "api"),
            use_forwarded_host=settings.use_forwarded_host,
            trusted_proxies=settings.trusted_proxies,
            limits=relay_limits(settings.limits),
            admission=ground.admission,
            access_log=settings.access_log,
        )
        directory = DirectoryStage(ground.data, ground.own, leftovers.clear)
        queues, schedules = Meanwhile(self.storage.queues), Meanwhile(self.cells.scheduler)
        stages: list[tuple[str, Stage]] = [
            ("directory", directory),
            ("store", StoreStage(ground.database, ground.catalog, ground.bundles, ground.routes)),
            ("log store", self.logs.store),
            ("log", self.logs.events),
            ("checks", self.cells.checks),
            ("database files", self.storage.databases),
            ("state cells", self.storage.cells),
            ("operator", self.storage.operator_socket(ground)),
            ("doors", self.storage.doors),
            ("grants", self.cells.call_grants),
            ("calls between accounts", self.cells.call_doors),
            ("data points", self.cells.points),
            ("cells", self.cells.fleet),
            ("policies", self.cells.policies),
            ("openings", self.cells.openings),
            ("queues", queues),
            ("schedules", schedules),
            ("jobs", ground.jobs),
            ("sites", self.sites.sweeper),
            ("login", LoginStage(self.login.relying_party)),
            (
                "api",
                ApiStage(
                    ground.reactor,
                    self.api_site,
                    ground.api_socket,
                    self.cells.restarts.unreachable,
                ),
            ),
        ]
        if settings.dev:
            stages.append(
                (
                    "welcome",
                    WelcomeStage(ground.catalog, ground.identity, self.workers, ground.clock),
                )
            )
        stages.append(("ingress", IngressStage(ingress, settings)))
        stages.append(("background", StopMeanwhile((queues, schedules))))
        # Stopped first: those who watch would else be waited for.
        stages.append(("tails", self.logs.tails))
        manager = ServiceManager.from_environment(ground.reactor, os.environ)
        observer = json_observer(sys.stdout) if settings.log_format == "json" else None
        giving = Giving(
            reactor=ground.reactor,
            command=command,
            descriptors=lambda: ingress.descriptors,
            parts=Parts(
                ingress=ingress,
                tails=self.logs.tails,
                jobs=ground.jobs,
                scheduler=self.cells.scheduler,
                queues=self.storage.queues,
                sweeper=self.sites.sweeper,
                state_cells=self.storage.cells,
                state=self.storage.state,
                directory=directory,
                catalog=ground.catalog,
                routes=ground.routes,
                drain=settings.drain_timeout,
            )(),
            manager=manager,
            note=ground.data.upgrade,
        )
        stages = taking_over(
            stages,
            reactor=ground.reactor,
            places=Places(
                open_ports=ingress.open,
                requests=ingress.serve_passed,
                state=self.storage.doors.serve_passed,
                directory=ground.run,
            ),
        )
        reload = Reload(
            settings=settings,
            workerd=ground.workerd,
            read=read,
            find=binary.find,
            in_thread=ground.in_thread,
            certificates=ingress.reload,
            cells=self.cells.restarts,
        )
        stages += [("reload", reload), ("hand-over", giving)]
        signals: dict[int, Callable[[], None]] = {
            signal.SIGHUP: reload.begin,
            signal.SIGUSR2: giving.begin,
        }
        return StagedService(ground.reactor, stages, manager, observer, signals)
