"""Stack traces in the user's own files, for versions that were uploaded with source maps."""

import json
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

import attrs

from workerd_faas.domain.errors import Problem
from workerd_faas.domain.invocation import Invocation, with_stacks
from workerd_faas.domain.model import ModuleKind
from workerd_faas.usecases.ports import Bundles, Catalog
from workerd_faas.usecases.serial import SerialByName
from workerd_faas.wire.bundle import decode_bundle
from workerd_faas.wire.sourcemap import SourceMap, parse_maps, replace_positions

MAX_MAPPINGS: Final = 4 << 20
"""Characters of mappings in one source map; reading so many takes two seconds of a thread."""

LONG: Final = 16 << 10
"""Characters of a document from which on it is not read on the reactor's thread."""

MAX_KEPT: Final = 64 << 20
"""Bytes that the source maps which are kept in memory take."""

InThread = Callable[[Callable[[], Any]], Awaitable[Any]]


@attrs.define(eq=False, kw_only=True)
class Stacks:
    """
    Reads the source maps of a version when one of its stack traces is first shown, and keeps those
    that were used last.

    Attributes:
        in_thread: Runs work off the reactor thread.
    """

    catalog: Catalog
    bundles: Bundles
    in_thread: InThread
    _known: "OrderedDict[str, Mapping[str, SourceMap]]" = attrs.Factory(OrderedDict)
    _reading: SerialByName = attrs.Factory(SerialByName)

    async def shown(self, invocation: Invocation) -> str:
        """
        The invocation's document with stack traces as far as they can be read back; the document
        itself when they cannot.
        """
        if not invocation.has_stacks:
            return invocation.document
        route = invocation.route
        maps = await self._maps(route.account_id, route.version_id)
        if not maps:
            return invocation.document
        if len(invocation.document) <= LONG:
            return _shown(invocation, maps)
        shown: str = await self.in_thread(lambda: _shown(invocation, maps))
        return shown

    async def _maps(self, account_id: str, version_id: str) -> Mapping[str, SourceMap]:
        found = self._known.get(version_id)
        if found is None:
            # One version at a time, so that many do not fill the memory at once.
            found = await self._reading.run("", lambda: self._read(account_id, version_id))
        if version_id in self._known:
            self._known.move_to_end(version_id)
        return found

    async def _read(self, account_id: str, version_id: str) -> Mapping[str, SourceMap]:
        if version_id in self._known:
            return self._known[version_id]
        try:
            version = await self.catalog.version_to_run(account_id, version_id)
            bundle = await self.bundles.get(version.bundle)
        except Problem:
            return {}  # deleted or damaged: there may be better news the next time
        maps: Mapping[str, SourceMap] = await self.in_thread(lambda: _maps_in(bundle))
        self._known[version_id] = maps
        while len(self._known) > 1 and self._kept() > MAX_KEPT:
            self._known.popitem(last=False)
        return maps

    def _kept(self) -> int:
        # One without mappings costs something too.
        return sum(4096 + sum(m.size for m in maps.values()) for maps in self._known.values())


def _shown(invocation: Invocation, maps: Mapping[str, SourceMap]) -> str:
    event = invocation.event
    with_stacks(event, lambda stack: replace_positions(stack, maps))
    return json.dumps(event, separators=(",", ":"))


def _maps_in(bundle: bytes) -> Mapping[str, SourceMap]:
    maps = {
        module.name.removesuffix(".map"): module.content
        for module in decode_bundle(bundle).modules
        if module.kind is ModuleKind.SOURCE_MAP
    }
    return parse_maps(maps, max_mappings=MAX_MAPPINGS)
