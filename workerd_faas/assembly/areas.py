"""Every route of the API."""

from importlib.metadata import version

from workerd_faas.api.analytics import AnalyticsRoutes
from workerd_faas.api.app import Routes
from workerd_faas.api.assets import AssetRoutes, session_holders
from workerd_faas.api.device import DeviceRoutes
from workerd_faas.api.environments import EnvironmentRoutes
from workerd_faas.api.grants import GrantRoutes
from workerd_faas.api.home import HomeRoutes
from workerd_faas.api.hyperdrive import HyperdriveRoutes
from workerd_faas.api.oauth import OAuthRoutes
from workerd_faas.api.older import OlderWranglerRoutes
from workerd_faas.api.policies import PolicyRoutes
from workerd_faas.api.queue_messages import MessageRoutes
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
from workerd_faas.assembly.cells import CellParts
from workerd_faas.assembly.ground import Ground
from workerd_faas.assembly.login import LoginParts
from workerd_faas.assembly.logs import LogParts
from workerd_faas.assembly.sites import SiteParts
from workerd_faas.assembly.storage import StorageParts
from workerd_faas.limits import (
    standings,
)
from workerd_faas.oidc.devprovider.routes import DevProviderRoutes
from workerd_faas.store.use import SQLUses
from workerd_faas.usecases.health import Health
from workerd_faas.usecases.hyperdrive.verbs import (
    Hyperdrives,
)
from workerd_faas.usecases.identity.devices import Devices
from workerd_faas.usecases.identity.machine_tokens import MachineTokens
from workerd_faas.usecases.identity.sessions import Sessions
from workerd_faas.usecases.logs.reading import LogReader
from workerd_faas.usecases.restarts.verbs import CellVerbs
from workerd_faas.usecases.schedules.verbs import Schedules
from workerd_faas.usecases.storage.messages import Messages
from workerd_faas.usecases.storage.use import StorageUse
from workerd_faas.usecases.storage.values import Values
from workerd_faas.usecases.ties.verbs import TieVerbs
from workerd_faas.usecases.unversioned.verbs import UnversionedVerbs
from workerd_faas.usecases.workers import Workers


def areas(
    ground: Ground,
    logs: LogParts,
    sites: SiteParts,
    storage: StorageParts,
    cells: CellParts,
    login: LoginParts,
    workers: Workers,
) -> list[Routes]:
    """
    All areas of the API.
    """
    urls = ground.settings.public
    ties = TieVerbs(catalog=ground.catalog, ties=cells.ties, work=ground.jobs)
    unversioned = UnversionedVerbs(store=ground.unversioned, work=ground.jobs)
    health = Health(reactor=ground.reactor, database=ground.database, runtime=cells.health)
    found: list[Routes] = [
        HomeRoutes(urls=urls, version=version("workerd-faas"), health=health),
        OAuthRoutes(issuer=urls.api, logins=login.logins, grants=login.grants),
        DeviceRoutes(
            issuer=urls.api,
            devices=Devices(
                issuer=urls.api, logins=login.logins, store=ground.identity, clock=ground.clock
            ),
        ),
        UserRoutes(
            auth=login.auth,
            tokens=MachineTokens(store=ground.identity, clock=ground.clock),
            sessions=Sessions(store=ground.identity, clock=ground.clock),
        ),
        ScriptRoutes(
            auth=login.auth,
            workers=workers,
            urls=urls,
            limits=ground.limits,
            in_thread=ground.in_thread,
        ),
        TailRoutes(
            reactor=ground.reactor,
            auth=login.auth,
            workers=workers,
            tails=logs.tails,
            reader=LogReader(store=logs.store, stacks=logs.stacks),
            urls=urls,
        ),
        AssetRoutes(
            auth=login.auth,
            sessions=sites.sessions,
            limits=sites.sessions.limits,
            in_thread=ground.in_thread,
        ),
        AnalyticsRoutes(auth=login.auth, points=cells.points),
        StandingRoutes(
            auth=login.auth,
            standings=standings(
                cells.custody, ground.routes, ground.admission, ground.settings.limits
            ),
        ),
        PolicyRoutes(auth=login.auth, policies=cells.policies),
        RestartRoutes(
            auth=login.auth,
            cells=CellVerbs(restarts=cells.restarts, routes=ground.routes, work=ground.jobs),
        ),
        HyperdriveRoutes(
            auth=login.auth,
            hyperdrives=Hyperdrives(
                store=ground.configurations,
                openings=cells.openings,
                work=ground.jobs,
                clock=ground.clock,
            ),
        ),
        SecretRoutes(auth=login.auth, workers=workers, urls=urls),
        OlderWranglerRoutes(auth=login.auth, workers=workers, urls=urls, limits=ground.limits),
        WranglerRoutes(
            auth=login.auth, workers=workers, ties=ties, urls=urls, unversioned=unversioned
        ),
        EnvironmentRoutes(
            auth=login.auth, workers=workers, ties=ties, urls=urls, unversioned=unversioned
        ),
        GrantRoutes(auth=login.auth, grants=cells.call_grants),
        TriggerRoutes(
            auth=login.auth,
            schedules=Schedules(
                catalog=ground.catalog, scheduler=cells.scheduler, work=ground.jobs
            ),
        ),
    ]
    found += _storage_areas(ground, storage, login)
    if login.dev_provider is not None:
        found.append(DevProviderRoutes(login.dev_provider))
    return found


def _storage_areas(ground: Ground, storage: StorageParts, login: LoginParts) -> list[Routes]:
    return [
        KVRoutes(
            auth=login.auth, inventory=storage.inventory, values=Values(inventory=storage.inventory)
        ),
        D1Routes(
            auth=login.auth,
            inventory=storage.inventory,
            databases=storage.databases,
            urls=ground.settings.public,
            in_thread=ground.in_thread,
        ),
        QueueRoutes(
            auth=login.auth,
            inventory=storage.inventory,
            queues=storage.queues,
            use=StorageUse(uses=SQLUses(ground.database), resources=storage.resources),
        ),
        MessageRoutes(auth=login.auth, messages=Messages(inventory=storage.inventory)),
    ]


def known_by(sites: SiteParts, storage: StorageParts, login: LoginParts) -> list[Knows]:
    """
    By what those are known who may send large bodies.
    """
    return [
        bearers(login.auth),
        session_holders(sites.sessions),
        transfer_holders(storage.databases),
    ]
