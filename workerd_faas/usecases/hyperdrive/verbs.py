"""What can be done with configurations of databases."""

import uuid
from collections.abc import Mapping, Sequence
from typing import Any

import attrs
from twisted.logger import Logger

from workerd_faas.domain.errors import Kind, Problem
from workerd_faas.domain.hyperdrive import Configuration, Origin, read_wish
from workerd_faas.domain.model import Binding, BindingKind, Code, Principal
from workerd_faas.usecases.access import account_for
from workerd_faas.usecases.hyperdrive.openings import Openings
from workerd_faas.usecases.hyperdrive.ports import Configurations
from workerd_faas.usecases.ports import Origins, OwnedWork, WallClock
from workerd_faas.usecases.serial import SerialByName
from workerd_faas.usecases.storage.ports import StorageBindings


@attrs.frozen(kw_only=True)
class Hyperdrives:
    """
    Make, list, show, change and remove them; what is deployed follows at once.
    """

    log = Logger()

    store: Configurations
    openings: Openings
    work: OwnedWork
    clock: WallClock
    _serial: SerialByName = attrs.Factory(SerialByName)

    async def create(
        self, principal: Principal, account_id: str, document: Mapping[str, Any]
    ) -> Configuration:
        """
        Raises:
            Problem: `BAD_REQUEST`, `UNSUPPORTED`, `HYPERDRIVE_EXISTS`, `FORBIDDEN`, the last also
                for an address that the operator does not allow.
        """
        account_for(principal, account_id)
        wish = read_wish(document)
        if wish.name is None:
            raise Problem(kind=Kind.BAD_REQUEST, message="A Hyperdrive configuration needs 'name'.")
        now = self.clock.now()
        made = Configuration(
            id=uuid.uuid4().hex,
            account_id=account_id,
            name=wish.name,
            origin=wish.complete(None),
            settings=wish.settings,
            created_at=now,
            modified_at=now,
        )
        await self._check_host(made.origin)
        await self.store.add(made)
        return made

    async def get(self, principal: Principal, account_id: str, id_: str) -> Configuration:
        """
        Raises:
            Problem: `HYPERDRIVE_NOT_FOUND`, `FORBIDDEN`.
        """
        account_for(principal, account_id)
        return await self.store.get(account_id, id_)

    async def all_of(self, principal: Principal, account_id: str) -> Sequence[Configuration]:
        """
        By name.

        Raises:
            Problem: `FORBIDDEN`.
        """
        account_for(principal, account_id)
        return await self.store.all_of(account_id)

    async def update(
        self,
        principal: Principal,
        account_id: str,
        id_: str,
        document: Mapping[str, Any],
        *,
        whole: bool,
    ) -> Configuration:
        """
        Change what is sent, or (`whole`) everything.

        Raises:
            Problem: as `create`, and `HYPERDRIVE_NOT_FOUND`.
        """
        account_for(principal, account_id)
        wish = read_wish(document)

        async def change() -> Configuration:
            before = await self.store.get(account_id, id_)
            after = attrs.evolve(
                before,
                name=wish.name or before.name,
                origin=wish.complete(None if whole else before.origin),
                settings=wish.settings if whole else {**before.settings, **wish.settings},
                modified_at=self.clock.now(),
            )
            await self._check_host(after.origin)
            await self.store.replace(after)
            await self.openings.refresh(account_id)
            await self.openings.gates.renew(account_id)
            return after

        return await self.work.finish(lambda: self._serial.run(id_, change))

    async def remove(self, principal: Principal, account_id: str, id_: str) -> None:
        """
        Raises:
            Problem: `HYPERDRIVE_NOT_FOUND`, `HYPERDRIVE_IN_USE`, `FORBIDDEN`.
        """
        account_for(principal, account_id)
        await self.store.remove(account_id, id_)

    async def _check_host(self, origin: Origin) -> None:
        if not await self.openings.allowed(origin.host):
            raise Problem(
                kind=Kind.FORBIDDEN,
                message=f"The host {origin.host!r} has no address that functions may reach: "
                "for a private one the operator names its network in HYPERDRIVE_ALLOW.",
            )


@attrs.frozen(kw_only=True)
class BoundDatabases:
    """
    `usecases.storage.ports.StorageBindings` that also knows `hyperdrive`, and what cells get of it.
    """

    store: Configurations
    others: StorageBindings

    async def bound(self, account_id: str, function: str, code: Code) -> tuple[Binding, ...]:
        """
        See `StorageBindings.bound`.
        """
        for binding in code.bindings:
            if binding.kind is BindingKind.HYPERDRIVE:
                await self._checked(account_id, binding)
        return await self.others.bound(account_id, function, code)

    async def _checked(self, account_id: str, binding: Binding) -> None:
        try:
            await self.store.get(account_id, binding.value["id"])
        except Problem as problem:
            if problem.kind is not Kind.HYPERDRIVE_NOT_FOUND:
                raise
            raise Problem(
                kind=Kind.BINDING_INVALID,
                message=f"The binding {binding.name!r}: your account has no Hyperdrive "
                f"configuration {binding.value['id'][:100]!r}.",
            ) from None


@attrs.frozen(kw_only=True)
class DatabaseOrigins:
    """
    `usecases.ports.Origins`.
    """

    store: Configurations

    async def revealed(self, account_id: str, bindings: Sequence[Binding]) -> tuple[Binding, ...]:
        """
        See `usecases.ports.Origins.revealed`.
        """
        return tuple([await self._revealed(account_id, binding) for binding in bindings])

    async def _revealed(self, account_id: str, binding: Binding) -> Binding:
        if binding.kind is not BindingKind.HYPERDRIVE:
            return binding
        stored = await self.store.get(account_id, binding.value["id"])
        return attrs.evolve(binding, value=dict(stored.origin.environment))


_check: type[StorageBindings] = BoundDatabases
_check_origins: type[Origins] = DatabaseOrigins
