"""What settings beside versions need of the store."""

from typing import Protocol

from workerd_faas.domain.unversioned import Unversioned, UnversionedChange


class UnversionedStore(Protocol):
    """
    Each method is one transaction.
    """

    async def of(self, account_id: str, function: str) -> Unversioned:
        """
        Raises:
            Problem: `SCRIPT_NOT_FOUND`.
        """

    async def change(
        self, account_id: str, function: str, change: UnversionedChange
    ) -> Unversioned:
        """
        Returns:
            What there is after it.

        Raises:
            Problem: `SCRIPT_NOT_FOUND`.
        """
