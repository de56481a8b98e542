"""One instant of an account's storage, while somebody copies it."""

from collections.abc import Callable

import attrs
from twisted.internet.defer import Deferred

from workerd_faas.usecases.serial import SerialByName
from workerd_faas.usecases.storage.ports import Holds


@attrs.frozen(kw_only=True)
class Instants:
    """
    Attributes:
        holds: Stops the account's process.
        turns: Removals of this account's namespaces, databases and queues, which are two steps.
    """

    holds: Holds
    turns: SerialByName

    async def during(self, account_id: str, over: Callable[[], "Deferred[None]"]) -> bool:
        """
        Keep the account's storage as it is until what `over` returns has fired; `over` is called
        when it is so. False: it did not stay so.

        Raises:
            Problem: `UNAVAILABLE`.
        """

        async def work() -> bool:
            await self.holds.hold(account_id)
            try:
                await over()
            finally:
                still = self.holds.release(account_id)
            return still

        return await self.turns.run(account_id, work)
