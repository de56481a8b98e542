"""The one module that knows every class: it makes the objects and gives them to one another."""

import os
import signal
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import attrs
from twisted.application.service import IService
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThreadPool

from workerd_faas.api.analytics import AnalyticsRoutes
from workerd_faas.api.app import Api, Routes
from workerd_faas.api.assets import AssetRoutes, session_holders
from workerd_faas.api.device import DeviceRoutes
from workerd_faas.api.grants import GrantRoutes
from workerd_faas.api.home import HomeRoutes
from workerd_faas.api.hyperdrive import HyperdriveRoutes
from workerd_faas.api.oauth import OAuthRoutes
from workerd_faas.api.older import OlderWranglerRoutes
from workerd_faas.api.policies import PolicyRoutes
from workerd_faas.api.request import Knows, bearers
from workerd_faas.api.restarts import RestartRoutes
from workerd_faas.api.scripts import ScriptRoutes
from workerd_faas.api.secrets import SecretRoutes
from workerd_faas.api.standings import StandingRoutes
from workerd_faas.api.storage_d1 import D1Routes, transfer_holders
from workerd_faas.api.storage_kv import KVRoutes
from workerd_faas.api.storage_queues import QueueRoutes
from workerd_faas.api.tails import TailRoutes
from workerd_faas.api.triggers import TriggerRoutes
from workerd_faas.api.user import UserRoutes
from workerd_faas.api.wrangler import WranglerRoutes
from workerd_faas.directories import DataDirectory, DirectoryStage, RunDirectory, run_directory
from workerd_faas.domain.admission import Admission
from workerd_faas.domain.identity import LoginPolicy
from workerd_faas.domain.limits import UploadLimits
from workerd_faas.domain.routing import RoutingTable
from workerd_faas.domain.upstream import Upstream
from workerd_faas.handover.giving import Giving
from workerd_faas.handover.parts import Parts
from workerd_faas.handover.taking import Places, taking_over
from workerd_faas.ingress.call_doors import call_doors
from workerd_faas.ingress.descriptors import raise_limit
from workerd_faas.ingress.passing import PassedCells
from workerd_faas.ingress.service import Ingress
from workerd_faas.ingress.state_doors import state_doors
from workerd_faas.lifecycle import OwnedJobs, ServiceManager, Stage, StagedService, StartRefused
from workerd_faas.limits import (
    fleet_options,
    keep_custody,
    relay_limits,
    standings,
)
from workerd_faas.logs import json_observer
from workerd_faas.oidc.devprovider.backchannel import socket_agent
from workerd_faas.oidc.devprovider.provider import DevProvider, NotLocal
from workerd_faas.oidc.devprovider.routes import DevProviderRoutes
from workerd_faas.oidc.http import provider_agent
from workerd_faas.oidc.metadata import ProviderSettings
from workerd_faas.oidc.relyingparty import RelyingParty
from workerd_faas.operator_socket import OperatorSocket
from workerd_faas.reload import Reload
from workerd_faas.runtime import binary, leftovers, walls
from workerd_faas.runtime.check import CheckCells, CheckOptions
from workerd_faas.runtime.fleet import Fleet
from workerd_faas.runtime.resolver import MachineResolver
from workerd_faas.runtime.restarts import CellRestarts
from workerd_faas.runtime.scheduled import CellCalls
from workerd_faas.runtime.site_files import SiteFiles, find_asset_worker
from workerd_faas.runtime.state.dispatch import CellDispatch
from workerd_faas.runtime.state.fleet import StateFleet, StateOptions
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
from workerd_faas.store.assets import AssetDirectory
from workerd_faas.store.bundles import BundleDirectory
from workerd_faas.store.catalog import SQLCatalog
from workerd_faas.store.data_points import SQLPoints
from workerd_faas.store.database import SQLiteDatabase
from workerd_faas.store.grants import SQLGrants
from workerd_faas.store.hyperdrive import SQLConfigurations
from workerd_faas.store.identity import SQLIdentity
from workerd_faas.store.logs import SQLLogs
from workerd_faas.store.policies import SQLPolicies
from workerd_faas.store.resources import SQLResources
from workerd_faas.store.schedules import SQLSchedules
from workerd_faas.store.ties import SQLTies
from workerd_faas.store.use import SQLUses
from workerd_faas.store.vault import FernetVault
from workerd_faas.usecases.analytics.points import DataPoints
from workerd_faas.usecases.health import Health
from workerd_faas.usecases.hyperdrive.openings import Openings
from workerd_faas.usecases.hyperdrive.verbs import (
    BoundDatabases,
    DatabaseOrigins,
    Hyperdrives,
)
from workerd_faas.usecases.identity.access_tokens import AccessTokens
from workerd_faas.usecases.identity.authenticator import BearerAuthenticator
from workerd_faas.usecases.identity.devices import Devices
from workerd_faas.usecases.identity.grants import Grants
from workerd_faas.usecases.identity.keys import Keys, derive_key
from workerd_faas.usecases.identity.logins import Logins
from workerd_faas.usecases.identity.machine_tokens import MachineTokens
from workerd_faas.usecases.identity.sessions import Sessions
from workerd_faas.usecases.loading import StoredVersions
from workerd_faas.usecases.logs.journal import FunctionLog
from workerd_faas.usecases.logs.reading import LogReader
from workerd_faas.usecases.logs.stacks import Stacks
from workerd_faas.usecases.logs.tails import Tails
from workerd_faas.usecases.making import VersionMaker
from workerd_faas.usecases.policies.policies import Policies
from workerd_faas.usecases.reading import Reader
from workerd_faas.usecases.restarts.verbs import CellVerbs
from workerd_faas.usecases.schedules.scheduler import Scheduler
from workerd_faas.usecases.schedules.verbs import Schedules
from workerd_faas.usecases.secrets import SecretValues
from workerd_faas.usecases.sites.sessions import AssetSessions
from workerd_faas.usecases.sites.sweeping import SiteSweeper
from workerd_faas.usecases.sites.tokens import SessionTokens
from workerd_faas.usecases.sites.versions import Sites
from workerd_faas.usecases.storage.bindings import OwnStorage
from workerd_faas.usecases.storage.databases import Databases
from workerd_faas.usecases.storage.instants import Instants
from workerd_faas.usecases.storage.inventory import Inventory
from workerd_faas.usecases.storage.queues import ConsumerTable, QueueDeliveries, Queues
from workerd_faas.usecases.storage.use import StorageUse
from workerd_faas.usecases.storage.values import Values
from workerd_faas.usecases.ties.grants import CallGrants, GrantTable
from workerd_faas.usecases.ties.targets import AccountTargets
from workerd_faas.usecases.ties.ties import Ties
from workerd_faas.usecases.ties.verbs import TieVerbs
from workerd_faas.usecases.workers import Workers

DEV_PROVIDER: Final = "/dev-provider"


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
        return _Assembly(reactor, settings).service(command, read or (lambda: settings))
    except (
        OSError,
        NotLocal,
        StartRefused,
        binary.NoWorkerd,
        walls.NoWall,
        keyfile.KeyFileUnusable,
    ) as error:
        raise SystemExit(f"workerd-faas cannot start: {error}") from error


class _Assembly:
    """
    The objects of one daemon, in the order in which they need one another.
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
        self.tie_store = SQLTies(self.database)
        self.vault = FernetVault(self._secrets_keys())
        self.secrets = SecretValues(catalog=self.catalog, vault=self.vault)
        self.points = DataPoints(store=SQLPoints(self.database), clock=self.clock, reactor=reactor)
        self.configurations = SQLConfigurations(self.database, self.vault)
        self._make_logs()
        self._make_sites()
        self._make_storage()
        self._make_runtime()
        self.workers = self._workers()
        self._make_login()
        api = Api(self._areas())
        self.api_site = api.site(reactor, max_upload=self.limits.body, known_by=self._known_by())

    def _workers(self) -> Workers:
        return Workers(
            catalog=self.catalog,
            read=Reader(catalog=self.catalog, bundles=self.bundles),
            making=VersionMaker(
                bundles=self.bundles,
                secrets=self.secrets,
                sites=self.sites,
                ties=self.ties,
                checker=self.checks,
                clock=self.clock,
                limits=self.limits,
                storage=BoundDatabases(
                    store=self.configurations,
                    others=OwnStorage(resources=self.resources, clock=self.clock),
                ),
            ),
            secrets=self.secrets,
            ties=self.ties,
            cells=self.fleet,
            routes=self.routes,
            work=self.jobs,
            clock=self.clock,
            deleted=self._deleted,
            changed=self.openings.follow,
        )

    async def _deleted(self, account_id: str, function: str) -> None:
        await self.events.forget(account_id, function)
        await self.queues.function_removed(account_id, function)
        self.granted.removed(account_id, function)

    def _make_logs(self) -> None:
        settings = self.settings
        self.log_store = SQLLogs(
            reactor=self.reactor,
            path=self.data.logs,
            clock=self.clock,
            keep_seconds=settings.function_log_time,
            keep_bytes=settings.function_log_size,
        )
        self.stacks = Stacks(catalog=self.catalog, bundles=self.bundles, in_thread=self._in_thread)
        self.tails = Tails(reactor=self.reactor, clock=self.clock, shown=self.stacks.shown)
        self.events = FunctionLog(
            reactor=self.reactor,
            clock=self.clock,
            tails=self.tails,
            store=self.log_store,
            echo=settings.dev,
        )
        self.log_store.lost = lambda route, count: self.events.lost(route, count, 0)

    def _make_sites(self) -> None:
        self.asset_files = AssetDirectory(self.reactor, self.data.assets)
        worker = find_asset_worker()
        self.site_files = (
            None if worker is None else SiteFiles(directory=self.data.assets, worker=worker)
        )
        key = derive_key(self._secret().encode(), "workerd-faas assets session")
        tokens = SessionTokens(key)
        self.sites = Sites(
            files=self.asset_files,
            bundles=self.bundles,
            tokens=tokens,
            clock=self.clock,
            in_thread=self._in_thread,
        )
        self.asset_sessions = AssetSessions(
            files=self.asset_files,
            tokens=tokens,
            work=self.jobs,
            clock=self.clock,
            in_thread=self._in_thread,
            owner=self.routes.owner,
            servable=worker is not None,
        )
        self.site_sweeper = SiteSweeper(
            reactor=self.reactor,
            catalog=self.catalog,
            bundles=self.bundles,
            files=self.asset_files,
            clock=self.clock,
            in_thread=self._in_thread,
        )

    def _make_storage(self) -> None:
        self.resources = SQLResources(self.database)
        self.consumers = ConsumerTable()
        self.deliveries = QueueDeliveries(
            table=self.consumers,
            routes=self.routes,
            dispatch=CellDispatch(reactor=self.reactor, cells=lambda: self.fleet),
            pause=lambda seconds: deferLater(self.reactor, seconds),
        )
        self.state_cells = StateFleet(
            reactor=self.reactor,
            binary=self.workerd.path,
            directory=_made(self.run / "s"),
            data=self.data.state,
            consumers=self.consumers.configuration,
            deliveries=self.deliveries,
            walls=self.walls,
            options=StateOptions(
                max_cells=self.settings.max_cells, idle=self.settings.cell_idle_timeout
            ),
        )
        self.state = PassedCells(self.state_cells)
        self.doors = state_doors(reactor=self.reactor, cells=self.state)
        self.inventory = Inventory(
            resources=self.resources, cells=self.state_cells, work=self.jobs, clock=self.clock
        )
        self.databases = Databases(
            inventory=self.inventory, directory=self.data.transfers, reactor=self.reactor
        )
        self.queues = Queues(
            inventory=self.inventory, table=self.consumers, owner=self.routes.owner
        )

    def _operator_socket(self) -> OperatorSocket:
        return OperatorSocket(
            reactor=self.reactor,
            path=self.run / "operator",
            link=self.data.operator,
            instants=Instants(holds=self.state_cells, turns=self.inventory.turns),
        )

    def _storage_areas(self) -> list[Routes]:
        return [
            KVRoutes(
                auth=self.auth, inventory=self.inventory, values=Values(inventory=self.inventory)
            ),
            D1Routes(
                auth=self.auth,
                inventory=self.inventory,
                databases=self.databases,
                urls=self.settings.public,
                in_thread=self._in_thread,
            ),
            QueueRoutes(
                auth=self.auth,
                inventory=self.inventory,
                queues=self.queues,
                use=StorageUse(uses=SQLUses(self.database), resources=self.resources),
            ),
        ]

    def _secret(self) -> str:
        return self.settings.jwt_secret or self.data.secret("dev-jwt-secret")

    def _make_runtime(self) -> None:
        settings = self.settings
        workerd = self.workerd.path
        self.fleet = Fleet(
            reactor=self.reactor,
            binary=workerd,
            directory=_made(self.run / "f"),
            loader=StoredVersions(
                catalog=self.catalog,
                secrets=self.secrets,
                bundles=self.bundles,
                routes=self.routes,
                ties=self.tie_store,
                origins=DatabaseOrigins(store=self.configurations),
            ),
            events=self.events,
            targets=AccountTargets(self.routes),
            sites=self.site_files,
            doors=self.doors,
            points=self.points,
            walls=self.walls,
            options=fleet_options(settings),
        )
        self.custody = keep_custody(self.fleet, self.routes)
        self.openings = Openings(
            store=self.configurations,
            resolver=MachineResolver(self.reactor),
            gates=self.fleet,
            reactor=self.reactor,
        )
        self.tails.changed = self.fleet.tails_changed
        self._make_ties()
        self._make_policies()
        self.scheduler = Scheduler(
            reactor=self.reactor,
            clock=self.clock,
            store=SQLSchedules(self.database),
            calls=CellCalls(
                reactor=self.reactor,
                cells=self.fleet,
                routes=self.routes,
                events=self.events,
                clock=self.clock,
            ),
            drain=settings.drain_timeout,
        )
        self.checks = CheckCells(
            reactor=self.reactor,
            binary=workerd,
            directory=_made(self.run / "c"),
            options=CheckOptions(load=settings.check_timeout),
            walls=self.walls,
        )
        self.restarts = CellRestarts(fleet=self.fleet, state=self.state_cells, checks=self.checks)

    def _make_policies(self) -> None:
        self.policies = Policies(
            store=SQLPolicies(self.database),
            for_all=self.fleet.rules.for_all,
            keeper=self.fleet,
            reactor=self.reactor,
        )
        self.doors.shares = self.call_doors.shares = self.fleet.rules.shares

    def _make_ties(self) -> None:
        self.granted = GrantTable(self.routes)
        self.call_grants = CallGrants(
            catalog=self.catalog,
            store=SQLGrants(self.database),
            table=self.granted,
            work=self.jobs,
            clock=self.clock,
        )
        self.fleet.calls = self.call_doors = call_doors(
            reactor=self.reactor,
            cells=self.fleet,
            routes=self.routes,
            rights=self.granted,
            limits=relay_limits(self.settings.limits),
            admission=self.admission,
        )
        self.ties = Ties(
            store=self.tie_store,
            routes=self.routes,
            notices=self.fleet,
            granting=self.granted.granting,
        )

    def _secrets_keys(self) -> Callable[[], Sequence[str]]:
        given = self.settings.secrets_keys
        if given:
            return lambda: given
        file = self.data.secrets_key
        keyfile.read_keys(file)  # a file that is no good keeps the daemon from starting
        return lambda: keyfile.read_keys(file)

    def _make_login(self) -> None:
        settings = self.settings
        keys = Keys.from_secret(self._secret().encode())
        policy = LoginPolicy(rules=frozenset(settings.login_allow))
        issuer = settings.public.api
        self.dev_provider = None if settings.provider else self._dev_provider(issuer)
        self.relying_party = RelyingParty(
            settings=self._provider_settings(issuer),
            agent=(
                provider_agent(self.reactor)
                if self.dev_provider is None
                else socket_agent(self.reactor, self.api_socket)
            ),
            reactor=self.reactor,
            clock=self.clock,
        )
        access_tokens = AccessTokens(key=keys.access_token, issuer=issuer)
        self.auth = BearerAuthenticator(
            store=self.identity, access_tokens=access_tokens, policy=policy, clock=self.clock
        )
        self.logins = Logins(
            issuer=issuer,
            key=keys.login,
            provider=self.relying_party,
            store=self.identity,
            policy=policy,
            clock=self.clock,
        )
        self.grants = Grants(
            store=self.identity,
            access_tokens=access_tokens,
            succession_key=keys.succession,
            policy=policy,
            clock=self.clock,
        )

    def _dev_provider(self, issuer: str) -> DevProvider:
        return DevProvider(
            issuer=issuer + DEV_PROVIDER,
            client_id="workerd-faas",
            client_secret=self.data.secret("dev-client-secret"),
            redirect_uri=self.settings.redirect_uri,
            interfaces=[
                endpoint.arguments["interface"]
                for endpoint in self.settings.listen
                if "interface" in endpoint.arguments
            ],
            reactor=self.reactor,
            clock=self.clock,
        )

    def _provider_settings(self, issuer: str) -> ProviderSettings:
        provider = self.settings.provider
        if provider is None:
            return ProviderSettings(
                issuer=issuer + DEV_PROVIDER,
                client_id="workerd-faas",
                client_secret=self.data.secret("dev-client-secret"),
                redirect_uri=self.settings.redirect_uri,
            )
        return ProviderSettings(
            issuer=provider.issuer,
            client_id=provider.client_id,
            client_secret=provider.client_secret,
            redirect_uri=self.settings.redirect_uri,
            authorization_endpoint=provider.authorization_endpoint,
            token_endpoint=provider.token_endpoint,
            userinfo_endpoint=provider.userinfo_endpoint,
        )

    def _areas(self) -> list[Routes]:
        urls = self.settings.public
        health = Health(reactor=self.reactor, database=self.database, runtime=self._runtime_health)
        areas: list[Routes] = [
            HomeRoutes(urls=urls, version=version("workerd-faas"), health=health),
            OAuthRoutes(issuer=urls.api, logins=self.logins, grants=self.grants),
            DeviceRoutes(
                issuer=urls.api,
                devices=Devices(
                    issuer=urls.api, logins=self.logins, store=self.identity, clock=self.clock
                ),
            ),
            UserRoutes(
                auth=self.auth,
                tokens=MachineTokens(store=self.identity, clock=self.clock),
                sessions=Sessions(store=self.identity, clock=self.clock),
            ),
            ScriptRoutes(
                auth=self.auth,
                workers=self.workers,
                urls=urls,
                limits=self.limits,
                in_thread=self._in_thread,
            ),
            TailRoutes(
                reactor=self.reactor,
                auth=self.auth,
                workers=self.workers,
                tails=self.tails,
                reader=LogReader(store=self.log_store, stacks=self.stacks),
                urls=urls,
            ),
            AssetRoutes(
                auth=self.auth,
                sessions=self.asset_sessions,
                limits=self.asset_sessions.limits,
                in_thread=self._in_thread,
            ),
            AnalyticsRoutes(auth=self.auth, points=self.points),
            StandingRoutes(
                auth=self.auth,
                standings=standings(
                    self.custody, self.routes, self.admission, self.settings.limits
                ),
            ),
            PolicyRoutes(auth=self.auth, policies=self.policies),
            RestartRoutes(
                auth=self.auth,
                cells=CellVerbs(restarts=self.restarts, routes=self.routes, work=self.jobs),
            ),
            HyperdriveRoutes(
                auth=self.auth,
                hyperdrives=Hyperdrives(
                    store=self.configurations,
                    openings=self.openings,
                    work=self.jobs,
                    clock=self.clock,
                ),
            ),
            SecretRoutes(auth=self.auth, workers=self.workers, urls=urls),
            OlderWranglerRoutes(
                auth=self.auth, workers=self.workers, urls=urls, limits=self.limits
            ),
            WranglerRoutes(
                auth=self.auth,
                workers=self.workers,
                ties=TieVerbs(catalog=self.catalog, ties=self.ties, work=self.jobs),
                urls=urls,
            ),
            GrantRoutes(auth=self.auth, grants=self.call_grants),
            TriggerRoutes(
                auth=self.auth,
                schedules=Schedules(catalog=self.catalog, scheduler=self.scheduler, work=self.jobs),
            ),
        ]
        areas += self._storage_areas()
        if self.dev_provider is not None:
            areas.append(DevProviderRoutes(self.dev_provider))
        return areas

    def _known_by(self) -> list[Knows]:
        return [
            bearers(self.auth),
            session_holders(self.asset_sessions),
            transfer_holders(self.databases),
        ]

    def _in_thread(self, work: Callable[[], Any]) -> Awaitable[Any]:
        return deferToThreadPool(self.reactor, self.reactor.getThreadPool(), work)

    def _runtime_health(self) -> Mapping[str, Any]:
        status = self.fleet.status()
        return {
            "ok": status.startable and self.checks.startable,
            "cells": len(status.cells),
            "max_cells": status.max_cells,
            "waiting": status.waiting,
            "started": status.started,
            "crashed": status.crashed,
            **self.scheduler.status(),
            "backing_off": len(status.breakers),
            **self.custody.counts(),
        }

    def service(self, command: Sequence[str] | None, read: Callable[[], Settings]) -> IService:
        """
        The stages in their order.
        """
        settings = self.settings
        ingress = Ingress(
            reactor=self.reactor,
            listen=[endpoint.text for endpoint in settings.listen],
            base_domain=settings.base_domain,
            routes=self.routes,
            cells=self.fleet,
            api=Upstream(str(self.api_socket), "api"),
            use_forwarded_host=settings.use_forwarded_host,
            trusted_proxies=settings.trusted_proxies,
            limits=relay_limits(settings.limits),
            admission=self.admission,
            access_log=settings.access_log,
        )
        directory = DirectoryStage(self.data, self.own, leftovers.clear)
        queues, schedules = Meanwhile(self.queues), Meanwhile(self.scheduler)
        stages: list[tuple[str, Stage]] = [
            ("directory", directory),
            ("store", StoreStage(self.database, self.catalog, self.bundles, self.routes)),
            ("log store", self.log_store),
            ("log", self.events),
            ("checks", self.checks),
            ("database files", self.databases),
            ("state cells", self.state_cells),
            ("operator", self._operator_socket()),
            ("doors", self.doors),
            ("grants", self.call_grants),
            ("calls between accounts", self.call_doors),
            ("data points", self.points),
            ("cells", self.fleet),
            ("policies", self.policies),
            ("openings", self.openings),
            ("queues", queues),
            ("schedules", schedules),
            ("jobs", self.jobs),
            ("sites", self.site_sweeper),
            ("login", LoginStage(self.relying_party)),
            (
                "api",
                ApiStage(self.reactor, self.api_site, self.api_socket, self.restarts.unreachable),
            ),
        ]
        if settings.dev:
            stages.append(
                ("welcome", WelcomeStage(self.catalog, self.identity, self.workers, self.clock))
            )
        stages.append(("ingress", IngressStage(ingress, settings)))
        stages.append(("background", StopMeanwhile((queues, schedules))))
        # Stopped first: those who watch would else be waited for.
        stages.append(("tails", self.tails))
        manager = ServiceManager.from_environment(self.reactor, os.environ)
        observer = json_observer(sys.stdout) if settings.log_format == "json" else None
        giving = Giving(
            reactor=self.reactor,
            command=command,
            descriptors=lambda: ingress.descriptors,
            parts=Parts(
                ingress=ingress,
                tails=self.tails,
                jobs=self.jobs,
                scheduler=self.scheduler,
                queues=self.queues,
                sweeper=self.site_sweeper,
                state_cells=self.state_cells,
                state=self.state,
                directory=directory,
                catalog=self.catalog,
                routes=self.routes,
                drain=settings.drain_timeout,
            )(),
            manager=manager,
            note=self.data.upgrade,
        )
        stages = taking_over(
            stages,
            reactor=self.reactor,
            places=Places(
                open_ports=ingress.open,
                requests=ingress.serve_passed,
                state=self.doors.serve_passed,
                directory=self.run,
            ),
        )
        reload = Reload(
            settings=settings,
            workerd=self.workerd,
            read=read,
            find=binary.find,
            in_thread=self._in_thread,
            certificates=ingress.reload,
            cells=self.restarts,
        )
        stages += [("reload", reload), ("hand-over", giving)]
        signals: dict[int, Callable[[], None]] = {
            signal.SIGHUP: reload.begin,
            signal.SIGUSR2: giving.begin,
        }
        return StagedService(self.reactor, stages, manager, observer, signals)


def _made(directory: Path) -> Path:
    directory.mkdir(mode=0o700, exist_ok=True)
    return directory
