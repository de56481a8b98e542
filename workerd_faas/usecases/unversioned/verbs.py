"""Reading and changing settings beside versions."""

import attrs

from workerd_faas.domain.unversioned import Unversioned, UnversionedChange
from workerd_faas.usecases.access import account_for
from workerd_faas.usecases.ports import OwnedWork
from workerd_faas.usecases.target import Target
from workerd_faas.usecases.unversioned.ports import UnversionedStore


@attrs.frozen(kw_only=True)
class UnversionedVerbs:
    """
    For those who may see and change the function.
    """

    store: UnversionedStore
    work: OwnedWork

    async def of(self, target: Target) -> Unversioned:
        """
        Raises:
            Problem: `SCRIPT_NOT_FOUND`, `FORBIDDEN`.
        """
        account_for(target.principal, target.account_id)
        return await self.store.of(target.account_id, target.function)

    async def change(self, target: Target, change: UnversionedChange) -> Unversioned:
        """
        Raises:
            Problem: `SCRIPT_NOT_FOUND`, `FORBIDDEN`.
        """
        account_for(target.principal, target.account_id)
        return await self.work.finish(
            lambda: self.store.change(target.account_id, target.function, change)
        )
