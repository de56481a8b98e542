"""
Where the operator's commands reach the running daemon: a unix socket in its runtime directory,
which a link in `DATA_DIR` leads to. That it can be reached is the authorisation.
"""

from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import attrs
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.interfaces import IDelayedCall, IListeningPort
from twisted.internet.protocol import ServerFactory, connectionDone
from twisted.logger import Logger
from twisted.protocols.basic import LineOnlyReceiver
from twisted.python.failure import Failure

from workerd_faas.domain.errors import Problem
from workerd_faas.usecases.storage.instants import Instants
from workerd_faas.wire import instants as wire

MAX_CONNECTIONS: Final = 16


class _Conversation(LineOnlyReceiver):
    """
    One client: it may hold one account at a time.
    """

    delimiter = b"\n"
    MAX_LENGTH = 256

    log = Logger()

    def __init__(self, reactor: Any, instants: Instants, all_: "set[_Conversation]") -> None:
        self._reactor = reactor
        self._instants = instants
        self._all = all_
        self._over: Deferred[None] | None = None
        self._bound: IDelayedCall | None = None
        self._busy = False
        self._late = False
        self._gone = False

    def lineReceived(self, line: bytes) -> None:
        text = line.decode("ascii", "replace")
        asked = wire.parse_hold(text)
        if text == wire.RELEASE and self._over is not None:
            self._end()
        elif text == wire.RELEASE and self._late:
            self._late = False
            self._say(wire.LATE)
        elif asked is not None and not self._busy:
            self._hold(*asked)
        else:
            self._say(f"{wire.REFUSED}not understood")

    def connectionMade(self) -> None:
        self._all.add(self)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._all.discard(self)
        self._gone = True
        if self._over is not None:
            self._end()

    def drop(self) -> None:
        """
        End the connection.
        """
        assert self.transport is not None
        self.transport.abortConnection()  # type: ignore[attr-defined]

    def _hold(self, account_id: str, seconds: float) -> None:
        self._busy, self._late = True, False

        def held() -> "Deferred[None]":
            over: Deferred[None] = Deferred()
            if self._gone:
                over.callback(None)
                return over
            self._over = over
            self._bound = self._reactor.callLater(seconds, self._too_late, account_id)
            self._say(wire.HELD)
            return over

        holding = Deferred.fromCoroutine(self._instants.during(account_id, held))
        holding.addCallbacks(self._released, self._refused)
        holding.addErrback(lambda failure: self.log.failure("holding", failure=failure))

    def _too_late(self, account_id: str) -> None:
        self._late = True
        self.log.warn("{account} was held for too long; it goes on", account=account_id)
        self._end()

    def _end(self) -> None:
        bound, self._bound = self._bound, None
        if bound is not None and bound.active():
            bound.cancel()
        over, self._over = self._over, None
        if over is not None:
            over.callback(None)

    def _released(self, still: bool) -> None:
        self._busy = False
        if not self._late:
            self._say(wire.WHOLE if still else wire.LATE)

    def _refused(self, failure: Failure) -> None:
        self._busy = False
        failure.trap(Problem, OSError)
        self._say(wire.REFUSED + str(failure.value).replace("\n", " "))

    def _say(self, text: str) -> None:
        if not self._gone:
            self.sendLine(text.encode("ascii", "replace"))


class _Factory(ServerFactory):
    noisy = False

    def __init__(self, reactor: Any, instants: Instants) -> None:
        self._reactor = reactor
        self._instants = instants
        self.conversations: set[_Conversation] = set()

    def logPrefix(self) -> str:
        """
        What Twisted's log says is listening.
        """
        return "operator's socket"

    def buildProtocol(self, addr: Any) -> _Conversation | None:
        if len(self.conversations) >= MAX_CONNECTIONS:
            return None
        return _Conversation(self._reactor, self._instants, self.conversations)


@attrs.define(kw_only=True)
class OperatorSocket:
    """
    A stage.

    Attributes:
        reactor: Provides IReactorUNIX and IReactorTime.
        path: Of the socket.
        link: What leads to it.
    """

    reactor: Any
    path: Path
    link: Path
    instants: Instants
    _port: IListeningPort | None = None
    _factory: _Factory | None = None

    async def start(self) -> None:
        """
        See `lifecycle.Stage.start`.
        """
        self.path.unlink(missing_ok=True)
        self._factory = _Factory(self.reactor, self.instants)
        self._port = self.reactor.listenUNIX(str(self.path), self._factory, mode=0o600)
        temporary = self.link.with_name(f"{self.link.name}.new")
        temporary.unlink(missing_ok=True)
        temporary.symlink_to(self.path)
        temporary.replace(self.link)

    async def stop(self) -> None:
        """
        See `lifecycle.Stage.stop`.
        """
        with suppress(FileNotFoundError):
            if self.link.readlink() == self.path:  # Not the next daemon's.
                self.link.unlink()
        if self._port is not None:
            await maybeDeferred(self._port.stopListening)
        if self._factory is not None:
            for conversation in tuple(self._factory.conversations):
                conversation.drop()
