"""What can be done with schedules."""

from collections.abc import Iterable, Sequence

import attrs

from workerd_faas.domain.schedules import Schedule, read_crons
from workerd_faas.usecases.access import account_for
from workerd_faas.usecases.ports import Catalog, OwnedWork
from workerd_faas.usecases.schedules.scheduler import Scheduler
from workerd_faas.usecases.target import Target


@attrs.frozen(kw_only=True)
class Schedules:
    """
    Setting and seeing the schedules of a function.
    """

    catalog: Catalog
    scheduler: Scheduler
    work: OwnedWork

    async def replace(self, target: Target, crons: Iterable[str]) -> Sequence[Schedule]:
        """
        Let the function have exactly these schedules, none for an empty list. Those that it has
        already keep their history.

        Raises:
            Problem: `INVALID_SCHEDULE`, `SCRIPT_NOT_FOUND`, `FORBIDDEN`.
        """
        account_for(target.principal, target.account_id)
        wanted = read_crons(crons)
        return await self.work.finish(
            lambda: self.scheduler.replace(target.account_id, target.function, wanted)
        )

    async def of(self, target: Target) -> Sequence[Schedule]:
        """
        The function's schedules, the older ones first.

        Raises:
            Problem: `SCRIPT_NOT_FOUND`, `FORBIDDEN`.
        """
        account_for(target.principal, target.account_id)
        await self.catalog.function(target.account_id, target.function)
        return self.scheduler.of(target.account_id, target.function)
