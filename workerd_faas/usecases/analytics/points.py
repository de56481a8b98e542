"""Data points on their way to the store: gathered, so that many cost one transaction a second."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from workerd_faas.domain.data_points import DATASET, DataPoint, read_values
from workerd_faas.domain.errors import Problem
from workerd_faas.domain.model import Principal
from workerd_faas.usecases.access import account_for
from workerd_faas.usecases.analytics.ports import PointStore
from workerd_faas.usecases.ports import PointSink, WallClock

KEPT: Final = 100_000
"""Points of an account; the oldest go first."""

WAITING: Final = 5_000
"""Points of an account that wait to be stored; beyond that they are dropped and counted."""

GATHER: Final = 1.0
"""Seconds."""


@attrs.define(kw_only=True, eq=False)
class DataPoints:
    """
    `usecases.ports.PointSink`, and what can be asked about what was stored.

    Attributes:
        reactor: Provides IReactorTime.
    """

    log = Logger()

    store: PointStore
    clock: WallClock
    reactor: Any
    _waiting: dict[str, list[DataPoint]] = attrs.Factory(dict)
    _dropped: dict[str, int] = attrs.Factory(dict)
    _call: IDelayedCall | None = None
    _storing: "Deferred[None] | None" = None

    async def start(self) -> None:
        """
        See `lifecycle.Stage.start`.
        """

    async def stop(self) -> None:
        """
        Store what waits.
        """
        if self._call is not None:
            self._call.cancel()
            self._call = None
        storing = self._storing
        if storing is not None:
            over: Deferred[None] = Deferred()
            storing.addCallback(over.callback)
            await over
        await self._store()

    def point(self, account_id: str, function: str, dataset: str, sent: Mapping[str, Any]) -> None:
        """
        See `usecases.ports.PointSink.point`.
        """
        if not DATASET.fullmatch(dataset):
            raise ValueError("dataset")
        index, blobs, doubles = read_values(sent)
        waiting = self._waiting.setdefault(account_id, [])
        if len(waiting) >= WAITING:
            self._dropped[account_id] = self._dropped.get(account_id, 0) + 1
            return
        waiting.append(
            DataPoint(
                account_id=account_id,
                dataset=dataset,
                function=function,
                at=self.clock.now(),
                index=index,
                blobs=blobs,
                doubles=doubles,
            )
        )
        if self._call is None and self._storing is None:
            self._call = self.reactor.callLater(GATHER, self._due)

    def _due(self) -> None:
        self._call = None
        self._storing = Deferred.fromCoroutine(self._store())
        self._storing.addErrback(self._unexpected)
        self._storing.addCallback(self._stored)

    def _stored(self, _: object) -> None:
        self._storing = None
        if self._waiting and self._call is None:
            self._call = self.reactor.callLater(GATHER, self._due)

    async def _store(self) -> None:
        waiting, self._waiting = self._waiting, {}
        dropped, self._dropped = self._dropped, {}
        for account_id, count in dropped.items():
            self.log.warn(
                "{count} data points of {account} dropped", count=count, account=account_id
            )
        if not waiting:
            return
        try:
            await self.store.add([p for points in waiting.values() for p in points], KEPT)
        except Problem as problem:
            self.log.error(
                "{count} data points are lost: {problem}",
                count=sum(map(len, waiting.values())),
                problem=str(problem),
            )

    def _unexpected(self, failure: Failure) -> None:
        self.log.failure("storing data points", failure=failure)

    async def datasets(self, principal: Principal, account_id: str) -> Mapping[str, int]:
        """
        The account's datasets with how many points each has.

        Raises:
            Problem: `FORBIDDEN`.
        """
        account_for(principal, account_id)
        return await self.store.datasets(account_id)

    async def count(
        self,
        principal: Principal,
        account_id: str,
        dataset: str,
        since: datetime | None,
        until: datetime | None,
    ) -> int:
        """
        How many points a dataset has in a time.

        Raises:
            Problem: `FORBIDDEN`.
        """
        account_for(principal, account_id)
        return await self.store.count(account_id, dataset, since, until)

    async def newest(
        self, principal: Principal, account_id: str, dataset: str, limit: int
    ) -> Sequence[DataPoint]:
        """
        The newest points first.

        Raises:
            Problem: `FORBIDDEN`.
        """
        account_for(principal, account_id)
        return await self.store.newest(account_id, dataset, limit)


_check: type[PointSink] = DataPoints
