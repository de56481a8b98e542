"""What restarting cells needs of others."""

from typing import Protocol

import attrs


@attrs.frozen(kw_only=True)
class Restarted:
    """
    Attributes:
        replaced: How many places have a new cell, or had none that runs.
        failed: How many go on with the old one, since no new one came up.
    """

    replaced: int
    failed: int


class Restarts(Protocol):
    """
    Replaces cells so that no request fails.
    """

    async def of_account(self, account_id: str) -> Restarted:
        """
        All cells that run an account's functions or keep its state; also the one that all share.

        Raises:
            Problem: `TOO_MANY_REQUESTS`.
        """

    async def of_function(self, account_id: str, function: str) -> Restarted:
        """
        The cells in which a function runs, and with it others of its account unless it is alone.

        Raises:
            Problem: `TOO_MANY_REQUESTS`.
        """
