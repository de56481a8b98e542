"""What the two daemons of a hand-over say to one another: a JSON object a line."""

import json
import socket
from collections import deque
from collections.abc import Mapping
from typing import Any, Final

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IAddress
from twisted.internet.protocol import Factory, connectionDone
from twisted.protocols.basic import LineOnlyReceiver
from twisted.python.failure import Failure

VARIABLE: Final = "WORKERD_FAAS_HANDOVER"
"""
The environment variable that makes a daemon one that takes over: a JSON object with `channel`, the
descriptor of our end, and `ports`, descriptors of listening sockets by endpoint.
"""

PREPARED: Final = "prepared"
"""New to old: everything is there but what only one daemon may have; with `requests` and `state`,
the paths where what still comes can be passed on to."""

YOURS: Final = "yours"
"""Old to new: the data directory is let go of."""

READY: Final = "ready"
"""New to old: it serves."""

MAIN: Final = "main"
"""Old to new: the service manager knows who is to be watched now."""

REFUSED: Final = "refused"
"""New to old: it cannot start; with `reason`."""


class Silent(Exception):
    """
    The other side is gone, or has said something else, or nothing in time.
    """


class Channel(LineOnlyReceiver):
    """
    One end.
    """

    delimiter = b"\n"

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._heard: deque[Mapping[str, Any]] = deque()
        self._waiting: Deferred[None] | None = None
        self._lost = False

    @classmethod
    def adopt(cls, reactor: Any, descriptor: int) -> "Channel":
        """
        An end that was made by `socketpair`; the descriptor is copied.
        """
        channel = cls(reactor)
        reactor.adoptStreamConnection(descriptor, socket.AF_UNIX, _One(channel))
        return channel

    @property
    def lost(self) -> bool:
        """
        Whether the other side is gone.
        """
        return self._lost

    def say(self, word: str, **fields: str) -> None:
        """
        Say something; to nobody, if nobody is there.
        """
        if not self._lost:
            self.sendLine(json.dumps({"say": word, **fields}).encode())

    async def hear(self, word: str, seconds: float) -> Mapping[str, Any]:
        """
        Wait until the other side says this.

        Raises:
            Silent: it will not.
        """
        if not self._heard and not self._lost:
            self._waiting = Deferred()
            try:
                await self._waiting.addTimeout(seconds, self._reactor, _in_time)
            finally:
                self._waiting = None
        if not self._heard:
            raise Silent("it ended")
        message = self._heard.popleft()
        if message.get("say") != word:
            raise Silent(str(message.get("reason", "it said something else")))
        return message

    def lineReceived(self, line: bytes) -> None:
        message = json.loads(line)
        self._heard.append(message)
        self._wake()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._lost = True
        self._wake()

    def close(self) -> None:
        """
        Nothing more is said. Idempotent.
        """
        if self.transport is not None and not self._lost:
            self.transport.loseConnection()

    def _wake(self) -> None:
        if self._waiting is not None and not self._waiting.called:
            self._waiting.callback(None)


def _in_time(result: Any, seconds: float) -> Any:
    # Called when the time is over: the Deferred was cancelled for that.
    if isinstance(result, Failure) and result.check(CancelledError):
        raise Silent(f"it said nothing for {seconds:g} s")
    return result


class _One(Factory):
    noisy = False

    def __init__(self, channel: Channel) -> None:
        self._channel = channel

    def buildProtocol(self, addr: IAddress | None) -> Channel:
        return self._channel
