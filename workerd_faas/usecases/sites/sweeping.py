"""Removing the files of sites that no version refers to any more."""

from collections.abc import Collection
from datetime import timedelta
from typing import Any, Final

import attrs
from twisted.logger import Logger

from workerd_faas.domain.errors import Problem
from workerd_faas.usecases.ports import AssetFiles, Bundles, Catalog, InThread, WallClock
from workerd_faas.usecases.repeat import Repeat
from workerd_faas.usecases.sites.tokens import LIFETIME
from workerd_faas.wire.site.document import files_of

GRACE: Final = 3 * LIFETIME
"""A file that a session counted on is needed until its upload, at most two lifetimes of a token
later; a little more, so that nobody has to count exactly."""

EVERY: Final = timedelta(hours=6)


@attrs.define(kw_only=True, eq=False)
class SiteSweeper:
    """
    A stage that sweeps at the start and every few hours.

    Attributes:
        reactor: Provides IReactorTime.
    """

    reactor: Any
    catalog: Catalog
    bundles: Bundles
    files: AssetFiles
    clock: WallClock
    in_thread: InThread
    _sweeps: Repeat = attrs.field(init=False)

    log = Logger()

    @_sweeps.default
    def _every(self) -> Repeat:
        seconds = EVERY.total_seconds()
        what = "sweeping files of sites"
        return Repeat(reactor=self.reactor, seconds=seconds, work=self.sweep, what=what)

    async def start(self) -> None:
        """
        See `lifecycle.Stage.start`.
        """
        self._sweeps.start(now=True)

    async def stop(self) -> None:
        """
        See `lifecycle.Stage.stop`.
        """
        self._sweeps.stop()

    async def sweep(self) -> int:
        """
        Remove what is not needed; how many files went.
        """
        before = self.clock.now() - GRACE
        removed = 0
        for account_id in await self.files.accounts():
            # Asked for each account anew: what is deployed meanwhile is young, and so is safe.
            digests = (await self.catalog.sites()).get(account_id, ())
            try:
                wanted = await self._wanted(digests)
            except Problem as problem:
                self.log.error(
                    "files of {account} are not swept: {problem}",
                    account=account_id,
                    problem=str(problem),
                )
                continue
            removed += await self.files.sweep(account_id, wanted, before)
        if removed:
            self.log.info("{count} files of sites removed that no version needs", count=removed)
        return removed

    async def _wanted(self, digests: Collection[str]) -> frozenset[str]:
        wanted: frozenset[str] = frozenset()
        for digest in digests:
            site = await self.bundles.get(digest)
            wanted |= await self.in_thread(lambda site=site: files_of(site))  # type: ignore[misc]
        return wanted
