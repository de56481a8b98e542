"""What can be done with the ties of a function, and seen of them."""

from collections.abc import Sequence

import attrs

from workerd_faas.usecases.access import account_for
from workerd_faas.usecases.ports import Catalog, OwnedWork
from workerd_faas.usecases.target import Target
from workerd_faas.usecases.ties.ports import References
from workerd_faas.usecases.ties.ties import Ties


@attrs.frozen(kw_only=True)
class TieVerbs:
    """
    Tail consumers of a function, and who needs it.
    """

    catalog: Catalog
    ties: Ties
    work: OwnedWork

    async def set_consumers(self, target: Target, consumers: Sequence[str]) -> None:
        """
        Let exactly these functions receive the function's tail events.

        Raises:
            Problem: `TARGET_NOT_FOUND`, `UNSUPPORTED`, `SCRIPT_NOT_FOUND`, `FORBIDDEN`.
        """
        await self._check(target)
        self.ties.check_consumers(target.account_id, target.function, consumers)
        await self.work.finish(
            lambda: self.ties.set_consumers(target.account_id, target.function, consumers)
        )

    async def consumers(self, target: Target) -> Sequence[str]:
        """
        Who receives the function's tail events, by name.

        Raises:
            Problem: `SCRIPT_NOT_FOUND`, `FORBIDDEN`.
        """
        await self._check(target)
        return await self.ties.store.consumers(target.function)

    async def references(self, target: Target) -> References:
        """
        Which of the account's functions need this one.

        Raises:
            Problem: `SCRIPT_NOT_FOUND`, `FORBIDDEN`.
        """
        await self._check(target)
        return await self.ties.store.references(target.account_id, target.function)

    async def _check(self, target: Target) -> None:
        account_for(target.principal, target.account_id)
        await self.catalog.function(target.account_id, target.function)
