"""Which functions use which storage: who sends to a queue, what would go with a function."""

from collections.abc import Mapping, Sequence
from contextlib import suppress

import attrs

from workerd_faas.domain.errors import Problem
from workerd_faas.domain.model import Principal
from workerd_faas.domain.resources import Resource, ResourceKind
from workerd_faas.usecases.access import account_for
from workerd_faas.usecases.storage.ports import Resources, Uses


@attrs.frozen(kw_only=True)
class Used:
    """
    Storage that a function uses.

    Attributes:
        others: Functions that use it too.
    """

    resource: Resource
    others: Sequence[str]


@attrs.frozen(kw_only=True)
class StorageUse:
    """
    Answers these questions.
    """

    uses: Uses
    resources: Resources

    async def producers(self, account_id: str) -> Mapping[str, Sequence[str]]:
        """
        Functions whose deployed versions send to a queue, by the queue's id.
        """
        found: dict[str, list[str]] = {}
        for use in await self.uses.all(account_id):
            if use.kind is ResourceKind.QUEUE and use.deployed:
                found.setdefault(use.resource_id, []).append(use.function)
        return found

    async def of_function(
        self, principal: Principal, account_id: str, function: str
    ) -> Sequence[Used]:
        """
        What any version of a function binds, and is there.

        Raises:
            Problem: `FORBIDDEN`.
        """
        account_for(principal, account_id)
        uses = await self.uses.all(account_id)
        found = []
        for use in uses:
            if use.function != function:
                continue
            others = [
                other.function
                for other in uses
                if other.resource_id == use.resource_id and other.function != function
            ]
            with suppress(Problem):  # It was deleted.
                resource = await self.resources.get(account_id, use.kind, use.resource_id)
                found.append(Used(resource=resource, others=others))
        return found
