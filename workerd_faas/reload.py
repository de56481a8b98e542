"""
What SIGHUP does: certificates and some settings are read again, and every cell is replaced.

Nothing that is wrong takes effect, and no request fails. Settings that cannot change in a running
daemon are named in the log: they take a hand-over or a restart.
"""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final

import attrs
from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from workerd_faas.domain.errors import Problem
from workerd_faas.limits import fleet_options
from workerd_faas.runtime.binary import NoWorkerd, Workerd
from workerd_faas.runtime.restarts import CellRestarts
from workerd_faas.settings.load import SettingsError
from workerd_faas.settings.model import Settings

CHANGEABLE: Final = ("workerd", "cell_memory", "cells_memory", "max_cells", "cell_idle_timeout")
"""Settings that take effect at once, by their names in `Settings`."""

_NO_SETTINGS: Final = frozenset({"warnings", "public"})
"""Attributes that follow from others."""


@attrs.define(eq=False, kw_only=True)
class Reload:
    """
    A stage, which SIGHUP calls.

    Attributes:
        settings: Those in force.
        workerd: The one in use.
        read: Reads the settings as the start did. Blocks.
        find: Finds the workerd that a setting names, or that is there. Blocks.
        certificates: Reads them again.
    """

    log = Logger()

    settings: Settings
    workerd: Workerd
    read: Callable[[], Settings]
    find: Callable[[Path | None], Workerd]
    in_thread: Callable[[Callable[[], Any]], Awaitable[Any]]
    certificates: Callable[[], None]
    cells: CellRestarts
    _work: "Deferred[None] | None" = None
    _again: bool = False
    _stopped: bool = True

    async def start(self) -> None:
        """
        See `lifecycle.Stage.start`.
        """
        self._stopped = False

    async def stop(self) -> None:
        """
        See `lifecycle.Stage.stop`.
        """
        self._stopped = True
        if self._work is not None:
            self._work.cancel()

    def begin(self) -> None:
        """
        Do it, once more after the present one if one is under way.
        """
        if self._stopped:
            return
        if self._work is not None:
            self._again = True
            return
        self._again = False
        self._work = Deferred.fromCoroutine(self._reload())
        self._work.addErrback(self._failed)
        self._work.addCallback(self._over)

    def _failed(self, failure: Failure) -> None:
        if failure.check(CancelledError) is None:
            self.log.failure("reloading", failure)

    def _over(self, _: object) -> None:
        self._work = None
        if self._again:
            self.begin()

    async def _reload(self) -> None:
        self.log.info("reloading: certificates, settings, workerd and cells")
        self.certificates()
        settings = await self._settings()
        workerd = await self._workerd(settings)
        try:
            await self.cells.rebuild(workerd.path, fleet_options(settings))
        except Problem as problem:
            self.log.error("cells stay as they are: {problem}", problem=problem.message)
            return
        if workerd != self.workerd:
            self.log.info(
                "workerd is {new} at {path}, was {old}",
                new=workerd.version,
                old=self.workerd.version,
                path=str(workerd.path),
            )
        self.settings, self.workerd = settings, workerd
        done = await self.cells.all()
        self.log.info(
            "reloaded: {replaced} cells replaced, {failed} go on as they were",
            replaced=done.replaced,
            failed=done.failed,
        )

    async def _settings(self) -> Settings:
        """
        Those in force, with what may change as it is now.
        """
        try:
            wanted: Settings = await self.in_thread(self.read)
        except SettingsError as error:
            self.log.error("settings stay as they are: {error}", error=str(error))
            return self.settings
        changed = [
            name
            for name in attrs.fields_dict(Settings)
            if name not in _NO_SETTINGS and getattr(wanted, name) != getattr(self.settings, name)
        ]
        now = {name: getattr(wanted, name) for name in changed if name in CHANGEABLE}
        later = [name.upper() for name in changed if name not in CHANGEABLE]
        if now:
            self.log.info("settings changed: {names}", names=", ".join(now).upper())
        if later:
            self.log.warn(
                "settings that take `workerd-faas upgrade` or a restart: {names}",
                names=", ".join(later),
            )
        return attrs.evolve(self.settings, **now)

    async def _workerd(self, settings: Settings) -> Workerd:
        try:
            found: Workerd = await self.in_thread(lambda: self.find(settings.workerd))
        except NoWorkerd as error:
            self.log.error("workerd stays as it is: {error}", error=str(error))
            return self.workerd
        return found
