"""What policies of accounts need of the store and of cells."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Protocol

from workerd_faas.domain.policies import AccountPolicy, KnownAccount


class PolicyStore(Protocol):
    """
    Policies by account. Each method is one transaction.
    """

    async def changes(self) -> int:
        """
        A number that is another one once somebody else has written to the database.
        """

    async def all(self) -> Mapping[str, AccountPolicy]:
        """
        Those of all accounts that have one.
        """

    async def accounts(self) -> Sequence[KnownAccount]:
        """
        All accounts, by name.
        """

    async def find(self, name: str) -> KnownAccount:
        """
        The account that an operator means.

        Args:
            name: Its id, or what the operator called it.

        Raises:
            Problem: `NOT_FOUND`.
        """

    async def put(self, account_id: str, policy: AccountPolicy, now: datetime) -> None:
        """
        Give an account exactly this policy.

        Raises:
            Problem: `NOT_FOUND`: there is no such account.
        """


class Keeper(Protocol):
    """
    Who holds to policies.
    """

    async def follow_policies(self, policies: Mapping[str, AccountPolicy]) -> None:
        """
        These are all there are; returns when no new request runs under another one.
        """
