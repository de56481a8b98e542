"""What there is: functions, versions, deployments, aliases, for those who may see them."""

from collections.abc import Sequence
from typing import Final

import attrs

from workerd_faas.domain.model import (
    Alias,
    Deployment,
    Function,
    Module,
    Principal,
    Version,
)
from workerd_faas.usecases.access import account_for
from workerd_faas.usecases.ports import Bundles, Catalog
from workerd_faas.usecases.target import Target
from workerd_faas.wire.bundle import decode_bundle

MAX_LISTED: Final = 100


@attrs.frozen(kw_only=True)
class Reader:
    """
    The questions that change nothing.
    """

    catalog: Catalog
    bundles: Bundles

    async def function(self, target: Target) -> Function:
        """
        Raises:
            Problem: `SCRIPT_NOT_FOUND`, `FORBIDDEN`.
        """
        account_for(target.principal, target.account_id)
        return await self.catalog.function(target.account_id, target.function)

    async def functions(
        self, principal: Principal, account_id: str
    ) -> Sequence[tuple[Function, Deployment | None]]:
        """
        Raises:
            Problem: `FORBIDDEN`.
        """
        account_for(principal, account_id)
        return await self.catalog.functions(account_id)

    async def version(self, target: Target, version_id: str) -> Version:
        """
        Raises:
            Problem: `SCRIPT_NOT_FOUND`, `VERSION_NOT_FOUND`, `FORBIDDEN`.
        """
        account_for(target.principal, target.account_id)
        return await self.catalog.version(target.account_id, target.function, version_id)

    async def content(self, target: Target, version_id: str | None) -> tuple[str, Sequence[Module]]:
        """
        The name of the main module and all modules as they were uploaded, source maps too, of this
        version or (None) the newest.

        Raises:
            Problem: `SCRIPT_NOT_FOUND`, `VERSION_NOT_FOUND`, `FORBIDDEN`, `BUNDLE_CORRUPT`.
        """
        if version_id is None:
            found = (await self.versions(target))[0]
        else:
            found = await self.version(target, version_id)
        modules = decode_bundle(await self.bundles.get(found.bundle)).modules
        return found.main_module, modules

    async def versions(self, target: Target) -> Sequence[Version]:
        """
        The newest first, at most `MAX_LISTED`.

        Raises:
            Problem: `SCRIPT_NOT_FOUND`, `FORBIDDEN`.
        """
        account_for(target.principal, target.account_id)
        return await self.catalog.versions(target.account_id, target.function, MAX_LISTED)

    async def deployments(self, target: Target) -> Sequence[Deployment]:
        """
        The current one first, at most `MAX_LISTED`.

        Raises:
            Problem: `SCRIPT_NOT_FOUND`, `FORBIDDEN`.
        """
        account_for(target.principal, target.account_id)
        return await self.catalog.deployments(target.account_id, target.function, MAX_LISTED)

    async def aliases(self, target: Target) -> Sequence[Alias]:
        """
        Raises:
            Problem: `SCRIPT_NOT_FOUND`, `FORBIDDEN`.
        """
        account_for(target.principal, target.account_id)
        return await self.catalog.aliases(target.account_id, target.function)
