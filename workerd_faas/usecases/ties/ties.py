"""
Functions that are tied to one another: who calls whom by a `service` binding, and who receives
whose tail events. Both ends belong to one account: another account's code never runs in its cells.
"""

from collections.abc import Iterable, Sequence

import attrs

from workerd_faas.domain.errors import Kind, Problem
from workerd_faas.domain.model import Binding, BindingKind
from workerd_faas.domain.routing import RoutingTable
from workerd_faas.usecases.ports import CellNotices
from workerd_faas.usecases.ties.ports import TieStore


@attrs.frozen(kw_only=True)
class Ties:
    """
    What the ties of functions mean while they are uploaded, deployed and run.
    """

    store: TieStore
    routes: RoutingTable
    notices: CellNotices

    def check(
        self,
        account_id: str,
        function: str,
        bindings: Iterable[Binding],
        consumers: Sequence[str] | None,
    ) -> None:
        """
        Raises:
            Problem: `TARGET_NOT_FOUND`, `UNSUPPORTED` when an upload is tied to a function that it
                cannot be tied to.
        """
        self.check_bindings(account_id, function, bindings)
        self.check_consumers(account_id, function, consumers or ())

    async def changed(self, account_id: str, function: str) -> None:
        """
        Another version may serve the function now: returns when all who call it know.
        """
        await self.notices.function_changed(account_id, function, reload=False)

    def check_bindings(self, account_id: str, function: str, bindings: Iterable[Binding]) -> None:
        """
        Raises:
            Problem: `TARGET_NOT_FOUND` when a binding is to a function that the account does not
                have. The function itself may be its own target.
        """
        for binding in bindings:
            if binding.kind is not BindingKind.SERVICE:
                continue
            target = binding.value["service"]
            if target != function and self.routes.owner(target) != account_id:
                raise Problem(
                    kind=Kind.TARGET_NOT_FOUND,
                    message=f"Could not resolve service binding {binding.name!r}. "
                    f"Target script {target!r} not found on this account: deploy it first.",
                )

    def check_consumers(self, account_id: str, function: str, consumers: Iterable[str]) -> None:
        """
        Raises:
            Problem: `TARGET_NOT_FOUND` when a consumer is no function of the account;
                `UNSUPPORTED` when it is the function itself.
        """
        for consumer in consumers:
            if consumer == function:
                raise Problem(
                    kind=Kind.UNSUPPORTED,
                    message=f"The Worker {function!r} cannot be its own tail consumer.",
                )
            if self.routes.owner(consumer) != account_id:
                raise Problem(
                    kind=Kind.TARGET_NOT_FOUND,
                    message=f"Could not resolve tail consumer {consumer!r}: "
                    "no such script on this account. Deploy it first.",
                )

    async def set_consumers(self, account_id: str, function: str, consumers: Sequence[str]) -> None:
        """
        Let these functions receive the tail events of another, from the next invocation on.

        Raises:
            Problem: `SCRIPT_NOT_FOUND`.
        """
        before = await self.store.consumers(function)
        await self.store.set_consumers(account_id, function, consumers)
        if set(before) != set(consumers):
            await self.notices.function_changed(account_id, function, reload=True)
