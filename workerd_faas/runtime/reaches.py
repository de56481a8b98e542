"""Which addresses the cells reach: rules, what is opened for single accounts, what this host is."""

import ipaddress
from collections.abc import Iterable, Mapping

import attrs

from workerd_faas.runtime import egress
from workerd_faas.runtime.rules import Rules

Openings = Mapping[str, frozenset[egress.Address]]
"""By account, addresses that its functions reach besides what all do."""


@attrs.define(eq=False, kw_only=True)
class Reaches:
    """
    An account of None stands for the shared cell.

    Attributes:
        rules: Who reaches what.
        databases: Networks of databases that can be opened for single accounts.
        deny: Addresses of this host that its interfaces do not show.
        openings: What is opened now.
    """

    rules: Rules
    databases: tuple[egress.Network, ...] = ()
    deny: tuple[egress.Address, ...] = ()
    openings: Openings = attrs.Factory(dict)
    _own_seen: frozenset[egress.Network] = frozenset()

    def of(self, account_id: str | None) -> egress.Egress:
        """
        What a cell of this account is told.
        """
        return egress.policy(
            self._named(account_id),
            self._own_addresses(),
            public=self.rules.reach(account_id).public,
        )

    def may_open(self, address: egress.Address) -> bool:
        """
        Whether an address may be opened for an account.
        """
        named = (*self.rules.for_all.egress.networks, *self.databases)
        return egress.may_reach(address, named, self._own_addresses())

    def opened(self, account_id: str | None) -> frozenset[egress.Address]:
        """
        What a cell of this account reaches by what is opened alone.
        """
        reach = self.rules.reach(account_id)
        if reach.nothing:
            return frozenset()
        own = self._own_addresses()
        return frozenset(
            each
            for account, addresses in self.openings.items()
            if account == account_id or (account_id is None and self.rules.shares(account))
            for each in addresses
            if not egress.may_reach(each, reach.networks, own, public=reach.public)
        )

    def new_addresses(self) -> list[egress.Network]:
        """
        Addresses that this host has got since the last call; the first one tells none.
        """
        before, self._own_seen = self._own_seen, frozenset(self._own_addresses())
        return [block for block in self._own_seen if block not in before] if before else []

    def reaches(self, account_id: str | None, blocks: Iterable[egress.Network]) -> bool:
        """
        Whether a cell of this account reaches some of these, as long as they are nobody's own.
        """
        named, public = self._named(account_id), self.rules.reach(account_id).public
        return any(
            egress.may_reach(edge, named, (), public=public)
            for block in blocks
            for edge in (block[0], block[-1])
        )

    def _named(self, account_id: str | None) -> tuple[egress.Network, ...]:
        """
        What a cell of this account reaches besides public addresses.
        """
        opened = (ipaddress.ip_network(each) for each in self.opened(account_id))
        return (*self.rules.reach(account_id).networks, *opened)

    def _own_addresses(self) -> tuple[egress.Network, ...]:
        # Anew for each cell: a host's addresses change.
        named = (ipaddress.ip_network(address) for address in self.deny)
        return (*egress.own_addresses(), *named)
