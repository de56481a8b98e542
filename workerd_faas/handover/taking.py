"""
The daemon that comes: prepares all that needs neither the data directory nor the ports' clients,
says so, waits for both, and serves.
"""

import json
import os
import socket
from collections.abc import Awaitable, Callable, Mapping, MutableMapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import attrs
from twisted.logger import Logger

from workerd_faas.handover.channel import (
    MAIN,
    PREPARED,
    READY,
    REFUSED,
    VARIABLE,
    YOURS,
    Channel,
    Silent,
)
from workerd_faas.ingress.listen import ListenError
from workerd_faas.ingress.passing import Passage
from workerd_faas.lifecycle import Stage, StartRefused

_YOURS_SECONDS: Final = 600.0
"""The old daemon bounds everything that it waits for meanwhile, and ends us if it gives up."""

_MAIN_SECONDS: Final = 10.0


@attrs.frozen(kw_only=True)
class Inheritance:
    """
    What a daemon that takes over was started with.

    Attributes:
        channel: A descriptor.
        ports: Descriptors of listening sockets, by endpoint.
    """

    channel: int
    ports: Mapping[str, int]

    @classmethod
    def of(cls, environ: MutableMapping[str, str]) -> "Inheritance | None":
        """
        Take it out of the environment, which cells and later daemons must not see it in.
        """
        text = environ.pop(VARIABLE, None)
        if text is None:
            return None
        document = json.loads(text)
        return cls(channel=document["channel"], ports=document["ports"])


@attrs.frozen(kw_only=True)
class Places:
    """
    Where this daemon takes over.

    Attributes:
        open_ports: Opens our ports, given those that listen already.
        requests: Begins to serve the requests that are passed on.
        state: Begins to serve what is asked of accounts' state.
        directory: Where the two passages go.
    """

    open_ports: Callable[[Mapping[str, int]], Awaitable[None]]
    requests: Callable[[Passage], Awaitable[None]]
    state: Callable[[Passage], Awaitable[None]]
    directory: Path


@attrs.define(eq=False, kw_only=True)
class Preparing:
    """
    The first stage of a daemon that takes over.
    """

    log = Logger()

    reactor: Any
    inheritance: Inheritance
    places: Places
    channel: Channel | None = None
    requests: Passage | None = None
    state: Passage | None = None

    async def start(self) -> None:
        """
        See `lifecycle.Stage.start`.
        """
        descriptor = socket.socket(fileno=self.inheritance.channel)
        with descriptor:
            descriptor.setblocking(False)
            self.channel = channel = Channel.adopt(self.reactor, descriptor.fileno())
        try:
            await self.places.open_ports(self.inheritance.ports)
            self.requests = Passage.open(self.places.directory / "requests")
            self.state = Passage.open(self.places.directory / "state")
        except (ListenError, OSError) as error:
            channel.say(REFUSED, reason=str(error))
            raise StartRefused(str(error)) from error
        channel.say(PREPARED, requests=str(self.requests.path), state=str(self.state.path))
        try:
            await channel.hear(YOURS, _YOURS_SECONDS)
        except Silent as silence:
            if not channel.lost:
                raise StartRefused(f"the old daemon does not hand over: {silence}") from None
            # It is dead, and so has let go of everything.
            self.log.warn("the daemon before this one is gone")

    async def stop(self) -> None:
        """
        See `lifecycle.Stage.stop`.
        """
        for passage in (self.requests, self.state):
            if passage is not None:
                passage.close()
        if self.channel is not None:
            self.channel.close()


@attrs.define(eq=False, kw_only=True)
class Serving:
    """
    The last stage of a daemon that takes over.
    """

    preparing: Preparing

    async def start(self) -> None:
        """
        See `lifecycle.Stage.start`.
        """
        taken = self.preparing
        assert taken.channel is not None
        assert taken.requests is not None
        assert taken.state is not None
        await taken.places.state(taken.state)
        await taken.places.requests(taken.requests)
        taken.channel.say(READY)
        # If it is dead or stuck we serve all the same, and whoever watches over us finds out.
        with suppress(Silent):
            await taken.channel.hear(MAIN, _MAIN_SECONDS)

    async def stop(self) -> None:
        """
        See `lifecycle.Stage.stop`.
        """


def taking_over(
    stages: Sequence[tuple[str, Stage]], *, reactor: Any, places: Places
) -> list[tuple[str, Stage]]:
    """
    The stages of a daemon that may have been started to take over.
    """
    inheritance = Inheritance.of(os.environ)
    if inheritance is None:
        return list(stages)
    preparing = Preparing(reactor=reactor, inheritance=inheritance, places=places)
    return [
        ("preparation", preparing),
        *stages,
        ("taking over", Serving(preparing=preparing)),
    ]
