"""
Functions that are tied to one another: who calls whom by a `service` binding, and who receives
whose tail events. Another account's code never runs in an account's cells: tail consumers are its
own, and what it calls by grant runs where it belongs.
"""

import json
from collections.abc import Callable, Iterable, Sequence
from typing import Final

import attrs

from workerd_faas.domain.errors import Kind, Problem
from workerd_faas.domain.model import Binding, BindingKind
from workerd_faas.domain.routing import RoutingTable
from workerd_faas.usecases.ports import CellNotices
from workerd_faas.usecases.ties.ports import TieStore

MAX_PROPS: Final = 8 * 1024
"""Bytes of `props` that are sent with each call to another account."""

Granting = Callable[[str, str], str | None]
"""For an account and a function of another one: its owner, if that lets the account call it."""


def _nobody(_account_id: str, _function: str) -> str | None:
    return None


@attrs.frozen(kw_only=True)
class Ties:
    """
    What the ties of functions mean while they are uploaded, deployed and run.
    """

    store: TieStore
    routes: RoutingTable
    notices: CellNotices
    granting: Granting = _nobody

    def tied(
        self,
        account_id: str,
        function: str,
        bindings: Iterable[Binding],
        consumers: Sequence[str] | None,
    ) -> tuple[Binding, ...]:
        """
        The bindings of an upload, tied to the functions that they name.

        Raises:
            Problem: `TARGET_NOT_FOUND`, `UNSUPPORTED` when an upload is tied to a function that it
                cannot be tied to.
        """
        self.check_consumers(account_id, function, consumers or ())
        return tuple(
            self._tied(account_id, function, binding)
            if binding.kind is BindingKind.SERVICE
            else binding
            for binding in bindings
        )

    async def changed(self, account_id: str, function: str) -> None:
        """
        Another version may serve the function now: returns when all who call it know.
        """
        await self.notices.function_changed(account_id, function, reload=False)

    def _tied(self, account_id: str, function: str, binding: Binding) -> Binding:
        """
        A binding to the account's own function (which may be the one that has it), or to one that
        is granted: that has the `owner` for whom it was made, since names change hands.
        """
        target = binding.value["service"]
        own = {key: value for key, value in binding.value.items() if key != "owner"}
        if target == function or self.routes.owner(target) == account_id:
            return attrs.evolve(binding, value=own)
        owner = self.granting(account_id, target)
        if owner is None:
            raise Problem(
                kind=Kind.TARGET_NOT_FOUND,
                message=f"Could not resolve service binding {binding.name!r}. "
                f"Target script {target!r} not found on this account: deploy it first.",
            )
        if len(json.dumps(own.get("props")).encode()) > MAX_PROPS:
            raise Problem(
                kind=Kind.UNSUPPORTED,
                message=f"The 'props' of the binding {binding.name!r} take more than {MAX_PROPS} "
                "bytes, which a call to another account's function cannot bring.",
            )
        return attrs.evolve(binding, value={**own, "owner": owner})

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
