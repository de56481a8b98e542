"""What an upload binds must be its account's own; names become ids here."""

import uuid
from collections.abc import Sequence
from typing import Any, Final

import attrs

from workerd_faas.domain.errors import Kind, Problem
from workerd_faas.domain.model import PARTS, Binding, BindingKind, Code, Module, ModuleKind
from workerd_faas.domain.resources import Resource, ResourceKind
from workerd_faas.usecases.ports import WallClock
from workerd_faas.usecases.storage.ports import Resources, StorageBindings

DEFAULT_DATABASE: Final = "D1"
"""What a function's own database is called in `env`, unless it uses the name itself."""

_STORAGE: Final = frozenset({BindingKind.KV_NAMESPACE, BindingKind.D1, BindingKind.QUEUE})

_INSIDE: Final = _STORAGE | PARTS.keys() | {BindingKind.RATELIMIT, BindingKind.ANALYTICS_ENGINE}
"""Bindings that are made in the function's isolate, through the `env` that modules can import."""

_FLAG: Final = "disallow_importable_env"

_JSON_FLAG: Final = "queues_json_messages"
_JSON_DATE: Final = "2024-03-18"


class NoStorage:
    """
    `usecases.storage.ports.StorageBindings` where there is none: nothing can be bound.
    """

    async def bound(self, account_id: str, function: str, code: Code) -> tuple[Binding, ...]:
        """
        See `StorageBindings.bound`.
        """
        inside = next((each for each in code.bindings if each.kind in _STORAGE), None)
        if inside is not None:
            raise Problem(
                kind=Kind.UNSUPPORTED,
                message=f"The binding {inside.name!r} does not work here: there is no storage.",
            )
        return code.bindings


@attrs.frozen(kw_only=True)
class OwnStorage:
    """
    `usecases.storage.ports.StorageBindings` on the account's resources.
    """

    resources: Resources
    clock: WallClock

    async def bound(self, account_id: str, function: str, code: Code) -> tuple[Binding, ...]:
        """
        See `StorageBindings.bound`.
        """
        bindings = [await self._checked(account_id, binding) for binding in code.bindings]
        if _wants_default(code):
            bindings.append(await self._default(account_id, function))
        bindings = [_with_format(binding, code) for binding in bindings]
        inside = next((each for each in bindings if each.kind in _INSIDE), None)
        if inside is not None and _FLAG in code.compatibility_flags:
            raise Problem(
                kind=Kind.UNSUPPORTED,
                message=f"The binding {inside.name!r} does not work here with the compatibility "
                f"flag {_FLAG!r}: leave the flag out.",
            )
        return tuple(bindings)

    async def _checked(self, account_id: str, binding: Binding) -> Binding:
        value: dict[str, Any] = binding.value
        if binding.kind is BindingKind.KV_NAMESPACE:
            await self._owned(account_id, binding, ResourceKind.KV, value["namespace_id"])
        elif binding.kind is BindingKind.D1:
            await self._owned(account_id, binding, ResourceKind.D1, value["id"])
        elif binding.kind is BindingKind.QUEUE:
            name = value["queue_name"]
            queue = await self.resources.named(account_id, ResourceKind.QUEUE, name)
            if queue is None:
                raise _missing(binding, ResourceKind.QUEUE, name)
            delay = value.get("delivery_delay", queue.settings.get("delivery_delay", 0))
            return attrs.evolve(binding, value={**value, "id": queue.id, "delay": delay})
        return binding

    async def _owned(
        self, account_id: str, binding: Binding, kind: ResourceKind, resource_id: str
    ) -> None:
        try:
            await self.resources.get(account_id, kind, resource_id)
        except Problem as problem:
            if problem.kind not in (Kind.NAMESPACE_NOT_FOUND, Kind.DATABASE_NOT_FOUND):
                raise
            raise _missing(binding, kind, resource_id) from None

    async def _default(self, account_id: str, function: str) -> Binding:
        now = self.clock.now()
        database = await self.resources.default_database(
            Resource(
                id=str(uuid.uuid4()),
                account_id=account_id,
                kind=ResourceKind.D1,
                name=f"{function}-d1",
                function=function,
                created_at=now,
                modified_at=now,
            )
        )
        value = {"id": database.id, "default": True}
        return Binding(name=DEFAULT_DATABASE, kind=BindingKind.D1, value=value)


def _with_format(binding: Binding, code: Code) -> Binding:
    """
    Of a queue: how messages are sent that do not say how.
    """
    if binding.kind is not BindingKind.QUEUE:
        return binding
    as_json = _JSON_FLAG in code.compatibility_flags or (
        code.compatibility_date >= _JSON_DATE and f"no_{_JSON_FLAG}" not in code.compatibility_flags
    )
    return attrs.evolve(binding, value={**binding.value, "format": "json" if as_json else "v8"})


def _wants_default(code: Code) -> bool:
    """
    A function that says `D1` nowhere cannot mean `env.D1`, and need not pay for it.
    """
    return all(binding.name != DEFAULT_DATABASE for binding in code.bindings) and _says(
        code.modules, DEFAULT_DATABASE.encode()
    )


def _says(modules: Sequence[Module], word: bytes) -> bool:
    scripts = (ModuleKind.ESM, ModuleKind.COMMONJS)
    return any(module.kind in scripts and word in module.content for module in modules)


def _missing(binding: Binding, kind: ResourceKind, what: str) -> Problem:
    return Problem(
        kind=Kind.BINDING_INVALID,
        message=f"The binding {binding.name!r}: your account has no {kind.noun} {what[:100]!r}. "
        "Name one of its own; a KV namespace or D1 database without an id in the configuration is "
        "made by the deploy.",
    )


_check: type[StorageBindings] = OwnStorage
_check_none: type[StorageBindings] = NoStorage
