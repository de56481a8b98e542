"""Names of hosts to addresses, with the machine's own resolver."""

import ipaddress
from collections.abc import Sequence
from typing import Any, Final

import attrs
from twisted.internet.defer import Deferred, TimeoutError
from twisted.internet.interfaces import IAddress, IHostResolution, IResolutionReceiver
from twisted.logger import Logger
from zope.interface import implementer

from workerd_faas.runtime.egress import Address
from workerd_faas.usecases.hyperdrive.ports import Resolver

_SECONDS: Final = 5.0


@implementer(IResolutionReceiver)
@attrs.define(eq=False)
class _Receiver:
    done: "Deferred[list[str]]"
    found: list[str] = attrs.Factory(list)

    def resolutionBegan(self, resolutionInProgress: IHostResolution) -> None:
        """
        See `IResolutionReceiver`.
        """

    def addressResolved(self, address: IAddress) -> None:
        """
        See `IResolutionReceiver`.
        """
        self.found.append(getattr(address, "host", ""))

    def resolutionComplete(self) -> None:
        """
        See `IResolutionReceiver`.
        """
        # After a time-out somebody may still answer.
        if not self.done.called:
            self.done.callback(self.found)


@attrs.frozen
class MachineResolver:
    """
    `usecases.hyperdrive.ports.Resolver`.

    Attributes:
        reactor: Provides IReactorPluggableNameResolver and IReactorTime.
    """

    log = Logger()

    _reactor: Any

    async def addresses(self, host: str) -> Sequence[Address]:
        """
        See `Resolver.addresses`.
        """
        try:
            return (_unmapped(ipaddress.ip_address(host)),)
        except ValueError:
            pass
        done: Deferred[list[str]] = Deferred()
        done.addTimeout(_SECONDS, self._reactor)
        self._reactor.nameResolver.resolveHostName(_Receiver(done), host)
        try:
            found = await done
        except TimeoutError:
            self.log.warn("{host} could not be resolved in time", host=host)
            return ()
        return tuple(dict.fromkeys(_unmapped(ipaddress.ip_address(text)) for text in found))


def _unmapped(address: Address) -> Address:
    """
    An IPv4 address that is written as an IPv6 one is that IPv4 address.
    """
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


_check: type[Resolver] = MachineResolver
