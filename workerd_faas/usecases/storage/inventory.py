"""The accounts' namespaces, databases and queues: made, renamed, listed, removed."""

import uuid
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

import attrs
from twisted.logger import Logger

from workerd_faas.domain.errors import Kind, Problem
from workerd_faas.domain.model import Principal
from workerd_faas.domain.resources import Resource, ResourceKind, check_resource_name
from workerd_faas.usecases.access import account_for
from workerd_faas.usecases.ports import OwnedWork, WallClock
from workerd_faas.usecases.serial import SerialByName
from workerd_faas.usecases.storage.ports import (
    Resources,
    StateAnswer,
    StateCells,
    StateQuestion,
)

T = TypeVar("T")

MAX_RESOURCES = 1000
"""Of one kind in one account, as at Cloudflare."""

_FULL = b"SQLITE_FULL"
"""In what a state cell says when there is no space left on the disk."""

_ROOTS = {ResourceKind.KV: "/kv", ResourceKind.D1: "/d1", ResourceKind.QUEUE: "/queue"}


@attrs.frozen(kw_only=True)
class Inventory:
    """
    What is true of all three kinds. Changes are owned by `work`, so that a client that hangs up
    cannot interrupt them.

    Attributes:
        turns: By account: for whoever must not meet a removal that is half done.
    """

    log = Logger()

    resources: Resources
    cells: StateCells
    work: OwnedWork
    clock: WallClock
    turns: SerialByName = attrs.Factory(SerialByName)

    async def all(
        self, principal: Principal, account_id: str, kind: ResourceKind
    ) -> Sequence[Resource]:
        """
        By name.

        Raises:
            Problem: `FORBIDDEN`.
        """
        account_for(principal, account_id)
        return await self.resources.all(account_id, kind)

    async def find(
        self, principal: Principal, account_id: str, kind: ResourceKind, id_or_name: str
    ) -> Resource:
        """
        The one of this id or else of this name.

        Raises:
            Problem: `FORBIDDEN`, or that there is none.
        """
        account_for(principal, account_id)
        named = await self.resources.named(account_id, kind, id_or_name)
        if named is not None:
            return named
        return await self.resources.get(account_id, kind, id_or_name)

    async def create(
        self,
        principal: Principal,
        account_id: str,
        kind: ResourceKind,
        name: Any,
        settings: dict[str, Any] | None = None,
    ) -> Resource:
        """
        Raises:
            Problem: `FORBIDDEN`, `BAD_REQUEST`, or that there is one of this name.
        """
        account_for(principal, account_id)
        made = Resource(
            id=str(uuid.uuid4()) if kind is ResourceKind.D1 else uuid.uuid4().hex,
            account_id=account_id,
            kind=kind,
            name=check_resource_name(kind, name),
            created_at=self.clock.now(),
            modified_at=self.clock.now(),
            settings=settings or {},
        )
        if len(await self.resources.all(account_id, kind)) >= MAX_RESOURCES:
            raise Problem(
                kind=Kind.BAD_REQUEST,
                message=f"Your account has {MAX_RESOURCES} of this kind already.",
            )
        return await self.resources.add(made)

    async def change(
        self,
        principal: Principal,
        account_id: str,
        kind: ResourceKind,
        resource_id: str,
        *,
        name: Any = None,
        settings: dict[str, Any] | None = None,
    ) -> Resource:
        """
        Give it another name or other settings.

        Raises:
            Problem: `FORBIDDEN`, `BAD_REQUEST`, that there is none, or that the name is taken.
        """
        account_for(principal, account_id)
        found = await self.resources.get(account_id, kind, resource_id)
        changed = attrs.evolve(
            found,
            name=found.name if name is None else check_resource_name(kind, name),
            settings={**found.settings, **(settings or {})},
            modified_at=self.clock.now(),
        )
        return await self.resources.rename(changed)

    async def remove(
        self, principal: Principal, account_id: str, kind: ResourceKind, resource_id: str
    ) -> Resource:
        """
        Remove it and all that is in it.

        Raises:
            Problem: `FORBIDDEN`, or that there is none; `UNAVAILABLE` when its content could not
                be removed: then it is still there.
        """
        account_for(principal, account_id)

        async def work() -> Resource:
            found = await self.resources.get(account_id, kind, resource_id)
            await self._destroy(found)
            await self.resources.remove(account_id, kind, resource_id)
            self.log.info(
                "{kind} {id} of {account} deleted by {author}",
                kind=kind.noun,
                id=resource_id,
                account=account_id,
                author=principal.subject,
            )
            return found

        return await self.owned(lambda: self.turns.run(account_id, work))

    async def owned(self, work: Callable[[], Awaitable[T]]) -> T:
        """
        Run work that the client cannot interrupt.
        """
        return await self.work.finish(work)

    async def _destroy(self, found: Resource) -> None:
        question = StateQuestion(
            kind="manage", id=found.id, method="DELETE", target=_ROOTS[found.kind]
        )
        answer = await self.cells.ask(found.account_id, question)
        if answer.status != 200:
            raise refused(answer)


def refused(answer: StateAnswer) -> Problem:
    """
    The problem that an answer of a state cell tells, where none was expected.
    """
    if _FULL in answer.body:
        return Problem(
            kind=Kind.STORAGE_FULL,
            message="There is no space left for this on the server's disk; nothing was changed.",
        )
    return Problem(
        kind=Kind.UNAVAILABLE,
        message=f"The account's storage did not do this (it answered {answer.status}).",
        retry_after=1,
    )
