"""
Which databases the functions of an account may reach: those that a deployed version binds, at
addresses that the operator allows.

A host's name is resolved here and its addresses are judged, so that a name in somebody else's hands
opens nothing that the operator has not allowed.
"""

from typing import Any, Final

import attrs
from twisted.internet.defer import Deferred, gatherResults
from twisted.logger import Logger

from workerd_faas.domain.errors import Problem
from workerd_faas.usecases.hyperdrive.ports import Address, Configurations, Gates, Resolver
from workerd_faas.usecases.repeat import Repeat
from workerd_faas.usecases.serial import SerialByName

EVERY: Final = 60.0
"""Seconds between two looks at names, which may lead elsewhere by then."""

KNOWN_MOST: Final = 10_000
"""Hosts whose last addresses are remembered."""


@attrs.define(kw_only=True, eq=False)
class Openings:
    """
    Keeps the gates in step with deployments, configurations and names.

    Attributes:
        reactor: Provides IReactorTime.
    """

    log = Logger()

    store: Configurations
    resolver: Resolver
    gates: Gates
    reactor: Any
    _open: dict[str, frozenset[Address]] = attrs.Factory(dict)
    _known: dict[str, tuple[Address, ...]] = attrs.Factory(dict)
    _serial: SerialByName = attrs.Factory(SerialByName)
    _looks: Repeat = attrs.field(init=False)

    @_looks.default
    def _every(self) -> Repeat:
        return Repeat(
            reactor=self.reactor, seconds=EVERY, work=self._follow_all, what="looking at openings"
        )

    async def start(self) -> None:
        """
        Open what deployed versions need, and look again at names from time to time.
        """
        await self._follow_all()
        self._looks.start()

    async def stop(self) -> None:
        """
        Look no more.
        """
        self._looks.stop()

    async def _follow_all(self) -> None:
        accounts = {*self._open, *await self.store.accounts_in_use()}
        # One account's slow names must not keep the others waiting.
        await gatherResults([Deferred.fromCoroutine(self.follow(each)) for each in accounts])

    async def follow(self, account_id: str) -> None:
        """
        As `refresh`, for what has happened already: a database that cannot be asked is logged, and
        asked again later.
        """
        try:
            await self.refresh(account_id)
        except Problem as problem:
            self.log.error("openings are as they were: {problem}", problem=str(problem))

    async def refresh(self, account_id: str) -> None:
        """
        Look at an account anew; returns when its gates are so.

        Raises:
            Problem: the database cannot be asked; then they are as they were.
        """
        await self._serial.run(account_id, lambda: self._refresh(account_id))

    async def _refresh(self, account_id: str) -> None:
        hosts = await self.store.hosts_in_use(account_id)
        found = frozenset([each for host in hosts for each in await self.allowed(host)])
        if found != self._open.get(account_id, frozenset()):
            self._open[account_id] = found
            await self.gates.open_for(account_id, found)

    async def allowed(self, host: str) -> tuple[Address, ...]:
        """
        The addresses of a host that may be opened.
        """
        found = tuple(await self.resolver.addresses(host))
        # While a name cannot be resolved, what it led to stays open.
        found = found or self._known.get(host, ())
        if found:
            self._known.pop(host, None)
            self._known[host] = found
            if len(self._known) > KNOWN_MOST:
                del self._known[next(iter(self._known))]
        return tuple(address for address in found if self.gates.may_open(address))
