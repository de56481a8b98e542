"""
Clients that vanish while nothing is read from them.

A paused transport watches nothing, so the reset of a client that has gone unnoticed could keep a
cell occupied for as long as that cell does not read; and nothing is read any more from a client
that has sent its FIN. Such sockets are therefore polled at each tick; there are few of them.
"""

import asyncio
import select
import socket
from typing import Protocol


class Silenced(Protocol):
    """
    A connection from which nothing is read for the moment.
    """

    transport: asyncio.Transport

    def cut(self) -> None:
        """
        It has been reset: end.
        """


class Silence:
    """
    All of them.
    """

    def __init__(self) -> None:
        self._silenced: set[Silenced] = set()
        self.add = self._silenced.add
        self.discard = self._silenced.discard

    def look(self, _now: float) -> None:
        """
        End those whose sockets are dead.
        """
        if not self._silenced:
            return
        by_descriptor: dict[int, Silenced] = {}
        poll = select.poll()
        for silenced in self._silenced:
            sock: socket.socket | None = silenced.transport.get_extra_info("socket")
            if sock is not None and (descriptor := sock.fileno()) >= 0:
                by_descriptor[descriptor] = silenced
                poll.register(descriptor, 0)  # Errors and hang-ups are always told.
        for descriptor, _ in poll.poll(0):
            by_descriptor[descriptor].cut()
