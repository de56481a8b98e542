"""Static files of functions."""

from workerd_faas.assembly.ground import Ground
from workerd_faas.runtime.site_files import SiteFiles, find_asset_worker
from workerd_faas.store.assets import AssetDirectory
from workerd_faas.usecases.identity.keys import derive_key
from workerd_faas.usecases.sites.sessions import AssetSessions
from workerd_faas.usecases.sites.sweeping import SiteSweeper
from workerd_faas.usecases.sites.tokens import SessionTokens
from workerd_faas.usecases.sites.versions import Sites


class SiteParts:
    """
    Attributes:
        store: Files, by their hashes.
        served: What cells serve them by; None: it is not installed.
        versions: Sites of versions.
        sessions: Uploads.
        sweeper: Removes what no version has any more.
    """

    def __init__(self, ground: Ground) -> None:
        self.store = AssetDirectory(
            ground.reactor, ground.data.assets, ground.settings.limits.sites
        )
        worker = find_asset_worker()
        self.served = (
            None if worker is None else SiteFiles(directory=ground.data.assets, worker=worker)
        )
        key = derive_key(ground.secret.encode(), "workerd-faas assets session")
        tokens = SessionTokens(key)
        self.versions = Sites(
            files=self.store,
            bundles=ground.bundles,
            tokens=tokens,
            clock=ground.clock,
            in_thread=ground.in_thread,
        )
        self.sessions = AssetSessions(
            files=self.store,
            tokens=tokens,
            work=ground.jobs,
            clock=ground.clock,
            in_thread=ground.in_thread,
            owner=ground.routes.owner,
            servable=worker is not None,
        )
        self.sweeper = SiteSweeper(
            reactor=ground.reactor,
            catalog=ground.catalog,
            bundles=ground.bundles,
            files=self.store,
            clock=ground.clock,
            in_thread=ground.in_thread,
        )
