"""What a cell is given to run, and what happens when the stored code is damaged."""

import attrs
from twisted.logger import Logger

from workerd_faas.domain.errors import Kind, Problem
from workerd_faas.domain.model import Version
from workerd_faas.domain.routing import RoutingTable
from workerd_faas.usecases.ports import Bundles, Catalog, Origins, VersionLoader
from workerd_faas.usecases.secrets import SecretValues
from workerd_faas.usecases.ties.ports import TieStore
from workerd_faas.wire.bundle import load_document


@attrs.define(kw_only=True, eq=False)
class StoredVersions:
    """
    Load documents from the catalog and the bundles: `usecases.ports.VersionLoader`.

    A damaged bundle is never handed out. Its version is quarantined: where the current deployment
    needs it, the last deployment without a damaged version serves in its place until the next
    deploy or start.
    """

    log = Logger()

    catalog: Catalog
    secrets: SecretValues
    bundles: Bundles
    routes: RoutingTable
    ties: TieStore
    origins: Origins | None = None
    _damaged: set[str] = attrs.Factory(set)

    async def load_document(self, account_id: str | None, version_id: str) -> bytes:
        """
        See `usecases.ports.VersionLoader.load_document`.
        """
        version = await self.catalog.version_to_run(account_id, version_id)
        try:
            bundle = await self.bundles.get(version.bundle)
            site = None if version.assets is None else await self.bundles.get(version.assets)
        except Problem as problem:
            if problem.kind is Kind.BUNDLE_CORRUPT:
                await self._quarantine(version)
            raise
        self._damaged.discard(version.id)
        bindings = await self.secrets.reveal(version.bindings)
        if self.origins is not None:
            bindings = await self.origins.revealed(version.account_id, bindings)
        return load_document(
            attrs.evolve(version, bindings=bindings),
            bundle,
            site,
            tail_consumers=await self.ties.consumers(version.function),
        )

    async def _quarantine(self, version: Version) -> None:
        self._damaged.add(version.id)
        history = await self.catalog.deployments(version.account_id, version.function, 100)
        sound = (d for d in history if not self._damaged & {s.version_id for s in d.splits})
        serving = next(sound, None)
        if serving is None or serving is history[0]:
            return
        self.routes.deployed(version.function, serving.splits)
        self.log.error(
            "{function} of {account}: version {version} is damaged, serving deployment "
            "{deployment} in its place",
            function=version.function,
            account=version.account_id,
            version=version.id,
            deployment=serving.id,
        )


_check: type[VersionLoader] = StoredVersions
