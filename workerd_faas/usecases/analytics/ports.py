"""What data points need of the store."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Protocol

from workerd_faas.domain.data_points import DataPoint


class PointStore(Protocol):
    """
    Stored data points. Each method is one transaction.
    """

    async def add(self, points: Sequence[DataPoint], most: int) -> None:
        """
        Store them, and let go of the oldest of each account that has more than `most`.
        """

    async def datasets(self, account_id: str) -> Mapping[str, int]:
        """
        The account's datasets with how many points each has, by name.
        """

    async def count(
        self, account_id: str, dataset: str, since: datetime | None, until: datetime | None
    ) -> int:
        """
        How many points a dataset has, from `since` on and before `until`.
        """

    async def newest(self, account_id: str, dataset: str, limit: int) -> Sequence[DataPoint]:
        """
        The newest first.
        """
