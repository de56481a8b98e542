"""Whether the platform serves, part by part."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

import attrs
from twisted.internet.defer import Deferred, TimeoutError
from twisted.internet.interfaces import IReactorTime

from workerd_faas.domain.errors import Problem
from workerd_faas.usecases.ports import Database

PATIENCE: Final = 2.0
"""Seconds that the database has to answer."""


@attrs.frozen(kw_only=True)
class Health:
    """
    Asks the parts that can fail.

    Attributes:
        runtime: Gives the state of the cells, without waiting; `ok` is part of it.
    """

    reactor: IReactorTime
    database: Database
    runtime: Callable[[], Mapping[str, Any]]

    def __call__(self) -> Awaitable[Mapping[str, Any]]:
        """
        Each part by its name, with a boolean `ok`.
        """
        return self._parts()

    async def _parts(self) -> Mapping[str, Any]:
        return {"database": await self._database(), "runtime": self.runtime()}

    async def _database(self) -> Mapping[str, Any]:
        asked: Deferred[Any] = Deferred.fromCoroutine(
            self.database.run(lambda cursor: cursor.execute("SELECT 1").fetchone())
        )
        try:
            # The connection's thread may be busy with a long transaction: that is not health.
            await asked.addTimeout(PATIENCE, self.reactor)
        except (Problem, TimeoutError):
            return {"ok": False, "problem": "the database does not answer"}
        return {"ok": True}
