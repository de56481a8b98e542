"""What configurations of databases need of the store, of name resolution and of cells."""

import ipaddress
from collections.abc import Sequence
from typing import Protocol

from workerd_faas.domain.hyperdrive import Configuration

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class Configurations(Protocol):
    """
    Stored configurations. Each method is one transaction.
    """

    async def add(self, configuration: Configuration) -> None:
        """
        Raises:
            Problem: `HYPERDRIVE_EXISTS` when the account has one of this name.
        """

    async def get(self, account_id: str, id_: str) -> Configuration:
        """
        Raises:
            Problem: `HYPERDRIVE_NOT_FOUND`, also for another account's; `SECRET_UNREADABLE`.
        """

    async def all_of(self, account_id: str) -> Sequence[Configuration]:
        """
        By name.
        """

    async def replace(self, configuration: Configuration) -> None:
        """
        Raises:
            Problem: `HYPERDRIVE_NOT_FOUND`, `HYPERDRIVE_EXISTS`.
        """

    async def remove(self, account_id: str, id_: str) -> None:
        """
        Raises:
            Problem: `HYPERDRIVE_NOT_FOUND`; `HYPERDRIVE_IN_USE` while a deployed version binds it.
        """

    async def accounts_in_use(self) -> Sequence[str]:
        """
        The accounts with a deployed version that binds a configuration.
        """

    async def hosts_in_use(self, account_id: str) -> frozenset[str]:
        """
        The hosts of the configurations that the account's deployed versions bind.
        """


class Resolver(Protocol):
    """
    Names of hosts to addresses.
    """

    async def addresses(self, host: str) -> Sequence[Address]:
        """
        All addresses of a host, or the address that `host` is; none if it cannot be resolved.
        """


class Gates(Protocol):
    """
    What functions may reach.
    """

    def may_open(self, address: Address) -> bool:
        """
        Whether the operator lets functions reach this address by a configuration.
        """

    async def open_for(self, account_id: str, addresses: frozenset[Address]) -> None:
        """
        From now on the functions of this account reach these addresses, and no others that are not
        open to all; returns when the cells that run do so.
        """

    async def renew(self, account_id: str) -> None:
        """
        Have the account's functions load anew what they are given; returns when they have it.
        """
