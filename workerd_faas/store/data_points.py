"""Data points in SQL."""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from sqlite3 import Cursor
from typing import Final

import attrs

from workerd_faas.domain.data_points import DataPoint
from workerd_faas.domain.model import timestamp
from workerd_faas.usecases import ports
from workerd_faas.usecases.analytics.ports import PointStore

_COLUMNS: Final = 'account_id, dataset, function, at, "index", blobs, doubles'


@attrs.frozen
class SQLPoints:
    """
    `usecases.analytics.ports.PointStore` on a `Database`.
    """

    _database: ports.Database

    async def add(self, points: Sequence[DataPoint], most: int) -> None:
        """
        See `PointStore.add`.
        """
        rows = [
            (
                point.account_id,
                point.dataset,
                point.function,
                timestamp(point.at),
                point.index,
                json.dumps(point.blobs),
                json.dumps(point.doubles),
            )
            for point in points
        ]
        accounts = {point.account_id for point in points}

        def work(cursor: Cursor) -> None:
            cursor.executemany(
                f"INSERT INTO data_points ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?)", rows
            )
            for account_id in accounts:
                cursor.execute(
                    "DELETE FROM data_points WHERE account_id = ?1 AND number <="
                    " (SELECT number FROM data_points WHERE account_id = ?1"
                    " ORDER BY number DESC LIMIT 1 OFFSET ?2)",
                    (account_id, most),
                )

        await self._database.run(work)

    async def datasets(self, account_id: str) -> Mapping[str, int]:
        """
        See `PointStore.datasets`.
        """

        def work(cursor: Cursor) -> Mapping[str, int]:
            cursor.execute(
                "SELECT dataset, count(*) FROM data_points WHERE account_id = ?"
                " GROUP BY dataset ORDER BY dataset",
                (account_id,),
            )
            return dict(cursor.fetchall())

        return await self._database.run(work)

    async def count(
        self, account_id: str, dataset: str, since: datetime | None, until: datetime | None
    ) -> int:
        """
        See `PointStore.count`.
        """

        def work(cursor: Cursor) -> int:
            cursor.execute(
                "SELECT count(*) FROM data_points WHERE account_id = ? AND dataset = ?"
                " AND at >= ? AND at < ?",
                (
                    account_id,
                    dataset,
                    "" if since is None else timestamp(since),
                    "~" if until is None else timestamp(until),
                ),
            )
            (count,) = cursor.fetchone()
            assert isinstance(count, int)
            return count

        return await self._database.run(work)

    async def newest(self, account_id: str, dataset: str, limit: int) -> Sequence[DataPoint]:
        """
        See `PointStore.newest`.
        """

        def work(cursor: Cursor) -> Sequence[DataPoint]:
            cursor.execute(
                f"SELECT {_COLUMNS} FROM data_points WHERE account_id = ? AND dataset = ?"
                " ORDER BY at DESC, number DESC LIMIT ?",
                (account_id, dataset, limit),
            )
            return [
                DataPoint(
                    account_id=owner,
                    dataset=name,
                    function=function,
                    at=datetime.fromisoformat(at),
                    index=index,
                    blobs=tuple(json.loads(blobs)),
                    doubles=tuple(json.loads(doubles)),
                )
                for owner, name, function, at, index, blobs, doubles in cursor
            ]

        return await self._database.run(work)


_check: type[PointStore] = SQLPoints
