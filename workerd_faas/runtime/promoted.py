"""
From a load document to a service of a cell's own configuration, so that no router and no loader
stands before the function (`js/promoted.js`). Pure.
"""

import json
from collections.abc import Mapping
from typing import Final

import attrs

from workerd_faas.domain.model import JSON, BindingKind, Module, ModuleKind
from workerd_faas.domain.modules import RESERVED_PREFIX
from workerd_faas.domain.routing import Route
from workerd_faas.runtime import javascript
from workerd_faas.wire.bundle import MalformedBundle, decode_load_document

_MOST_CODE: Final = 4 << 20
"""Bytes of modules: all of a configuration is read when a process starts."""

_OURS: Final = {
    "client_promoted.js": f"{RESERVED_PREFIX}_watch.js",
    "client_collect.js": f"{RESERVED_PREFIX}_collect.js",
    "client_witness.js": f"{RESERVED_PREFIX}_witness.js",
    "errors.js": f"{RESERVED_PREFIX}_errors.js",
}

_KINDS: Final = frozenset(
    {
        ModuleKind.ESM, ModuleKind.COMMONJS, ModuleKind.TEXT, ModuleKind.DATA, ModuleKind.JSON,
        ModuleKind.WASM,
    }
)  # fmt: skip


@attrs.frozen(kw_only=True)
class Promoted:
    """
    A version as a service.

    Attributes:
        modules: The main one first.
        env: What its code is given, as JSON.
    """

    account_id: str
    function: str
    version_id: str
    modules: tuple[Module, ...]
    compatibility_date: str
    compatibility_flags: tuple[str, ...]
    env: Mapping[str, JSON] = attrs.field(repr=False)

    @property
    def route(self) -> Route:
        """
        Which requests it is for.
        """
        return Route(self.account_id, self.function, self.version_id)

    @property
    def key(self) -> str:
        """
        What the place of its process is called.
        """
        return f"{self.account_id}/{self.function}@{self.version_id}"


def promoted(document: bytes, account_id: str, version_id: str) -> Promoted | None:
    """
    What a version is as a service. None if only the router can run it: it has a site, objects in
    its `env`, tail consumers, a main module that is none, or more code than a configuration should
    have.
    """
    try:
        header, modules = decode_load_document(document)
    except MalformedBundle:
        return None
    kept = tuple(module for module in modules if module.kind in _KINDS)
    main = next((module for module in kept if module.name == header["main"]), None)
    metadata = BindingKind.VERSION_METADATA.value
    if (
        main is None
        or main.kind is not ModuleKind.ESM
        or "site" in header
        or "tail_consumers" in header
        or any(binding["type"] != metadata for binding in header["bindings"])
        or sum(len(module.content) for module in kept) > _MOST_CODE
        or not all(map(_is_text, kept))
    ):
        return None
    metadata_of = {binding["name"]: header["version"] for binding in header["bindings"]}
    return Promoted(
        account_id=account_id,
        function=header["function"],
        version_id=version_id,
        modules=(*_ours(main.name), *kept),
        compatibility_date=header["compatibility_date"],
        compatibility_flags=_with_storage(header["compatibility_flags"]),
        env={**header["env"], **metadata_of},
    )


def _is_text(module: Module) -> bool:
    """
    Whether it can stand in a configuration.
    """
    if module.kind in {ModuleKind.DATA, ModuleKind.WASM}:
        return True
    try:
        return "\0" not in module.content.decode()
    except UnicodeDecodeError:
        return False


def _ours(main: str) -> tuple[Module, ...]:
    (_, shim), *others = javascript.sources(javascript.PROMOTED)
    texts = {f"{RESERVED_PREFIX}.js": shim.replace('"MAIN"', json.dumps(f"./{main}"))}
    texts |= {_OURS[name]: text for name, text in others}
    return tuple(
        Module(name=name, kind=ModuleKind.ESM, content=text.encode())
        for name, text in texts.items()
    )


def _with_storage(flags: list[str]) -> tuple[str, ...]:
    """
    The witness needs AsyncLocalStorage.
    """
    return tuple(dict.fromkeys((*flags, "nodejs_als")))
