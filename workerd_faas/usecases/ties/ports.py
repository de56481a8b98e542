"""What ties between functions need of the store."""

from collections.abc import Sequence
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
