"""What ties between functions need of the store."""

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

import attrs


@attrs.frozen(kw_only=True)
class References:
    """
    Which functions need another one, by name.

    Attributes:
        callers: Those that call it, in a version that serves now.
        producers: Those whose tail events it receives.
    """

    callers: tuple[str, ...]
    producers: tuple[str, ...]


class TieStore(Protocol):
    """
    Ties that are not part of versions. Each method is one transaction.
    """

    async def consumers(self, function: str) -> Sequence[str]:
        """
        Who receives the tail events of a function, by name.
        """

    async def set_consumers(self, account_id: str, function: str, consumers: Sequence[str]) -> None:
        """
        Let a function have exactly these consumers.

        Raises:
            Problem: `SCRIPT_NOT_FOUND`.
        """

    async def references(self, account_id: str, function: str) -> References:
        """
        Who needs a function, among the account's others.
        """


@attrs.frozen(kw_only=True)
class Grant:
    """
    An account whose functions may call a function of another one.

    Attributes:
        author: Who granted it.
    """

    account_id: str
    created_at: datetime
    author: str


class GrantStore(Protocol):
    """
    Grants. Each method is one transaction.
    """

    async def all(self) -> Sequence[tuple[str, str, str]]:
        """
        Every grant: the function's owner, the function, the account.
        """

    async def of(self, account_id: str, function: str) -> Sequence[Grant]:
        """
        The grants of a function, the oldest first.
        """

    async def add(self, account_id: str, function: str, grant: Grant, most: int) -> Grant:
        """
        Add one, or return the one that is there for this account.

        Args:
            most: How many a function can have.

        Raises:
            Problem: `SCRIPT_NOT_FOUND`; `BAD_REQUEST` when there are too many.
        """

    async def remove(self, account_id: str, function: str, grantee: str) -> None:
        """
        Take one away.

        Raises:
            Problem: `GRANT_NOT_FOUND`.
        """
