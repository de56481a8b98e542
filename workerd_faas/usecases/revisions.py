"""
From the newest version's bindings to those of a version that shares its code. Pure.

Only bindings with a value of their own can be set so: one that names something (storage, another
function) is looked up when code is uploaded, and there alone.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from workerd_faas.domain.errors import Kind, Problem
from workerd_faas.domain.model import Binding
from workerd_faas.wire.metadata import parse_bindings


def patched(
    bindings: Sequence[Binding], changes: Mapping[str, Binding | None]
) -> tuple[Binding, ...]:
    """
    The bindings with these set, or (None) taken away if they are there.

    Raises:
        Problem: `UNSUPPORTED` for one that an upload has to bring.
    """
    there = {binding.name: binding for binding in bindings}
    for name, binding in changes.items():
        if binding is None:
            there.pop(name, None)
        elif there.get(name) != binding:
            there[name] = _settable(binding)
    return tuple(there.values())


def replaced(bindings: Sequence[Binding], listed: Any) -> tuple[Binding, ...]:
    """
    The bindings of a whole new list, as older Wranglers send it: an entry that has only a name and
    a type stands for the binding that is there.

    Raises:
        Problem: `INVALID_METADATA`, `INHERIT_MISSING`; `UNSUPPORTED` for a binding that an upload
            has to bring.
    """
    there = {binding.name: binding for binding in bindings}
    entries = listed if isinstance(listed, list) else [listed]
    new, inherit = parse_bindings([_entry(each, there) for each in entries])
    for name in inherit:
        if name not in there:
            raise Problem(kind=Kind.INHERIT_MISSING, message=f"inherit binding '{name}' is invalid")
    kept = tuple(there[name] for name in inherit)
    return (*kept, *(each if there.get(each.name) == each else _settable(each) for each in new))


def _entry(entry: Any, there: Mapping[str, Binding]) -> Any:
    if isinstance(entry, dict) and entry.keys() == {"name", "type"}:
        found = there.get(entry["name"]) if isinstance(entry["name"], str) else None
        if found is not None and found.kind.value == entry["type"]:
            return {"name": found.name, "type": "inherit"}
    return entry


def _settable(binding: Binding) -> Binding:
    if not binding.kind.is_value:
        raise Problem(
            kind=Kind.UNSUPPORTED,
            message=f"The binding {binding.name!r} of the type {binding.kind.value} comes with an "
            "upload: it cannot be set on its own.",
        )
    return binding
