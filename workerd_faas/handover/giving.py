"""
The daemon that goes: starts its next one, lets go of everything that only one may have, and takes
it back when the other does not come up.
"""

import json
import os
import signal
import socket
import subprocess
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import attrs
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ReactorNotRunning
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure

from workerd_faas.handover.channel import (
    MAIN,
    PREPARED,
    READY,
    VARIABLE,
    YOURS,
    Channel,
    Silent,
)
from workerd_faas.lifecycle import ServiceManager

PREPARE_SECONDS: Final = 60.0
"""For the new daemon to read its settings, load its code and open its sockets."""

READY_SECONDS: Final = 60.0
"""For it to open the database and serve; connections wait in the kernel meanwhile."""

_NOT_INHERITED: Final = frozenset(
    {"LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "WATCHDOG_PID", VARIABLE}
)
"""Variables that speak of this process."""

_POLL_SECONDS: Final = 0.02


class NoSuccessor(Exception):
    """
    The hand-over failed, and this daemon serves on; the message says why.
    """


@attrs.frozen(kw_only=True)
class Successor:
    """
    Attributes:
        requests: The socket where it takes requests that come to us.
        state: The socket where it takes what our function cells ask of their state.
    """

    requests: str
    state: str


async def _nothing() -> None:
    """
    For parts that need no undoing.
    """


def _settled(_successor: Successor) -> None:
    """
    For parts that pass nothing on.
    """


@attrs.frozen
class Part:
    """
    Something that only one daemon may do.

    Attributes:
        give: Do it no more; what is under way is finished, what comes waits.
        pass_on: The other one does it now; what waits goes there.
        take_back: Do it again. Called after `give` was, even if that failed.
    """

    name: str
    give: Callable[[], Awaitable[None]]
    take_back: Callable[[], Awaitable[None]] = _nothing
    pass_on: Callable[[Successor], None] = _settled


@attrs.define(eq=False, kw_only=True)
class Giving:
    """
    Attributes:
        command: How this daemon was started, but in the foreground; None: it cannot be started
            again like this.
        descriptors: The listening sockets, by endpoint.
        parts: In the order in which they are let go of.
        note: The file that tells `workerd-faas upgrade` how it went.
        given: The other one serves.
    """

    log = Logger()

    reactor: Any
    command: Sequence[str] | None
    descriptors: Callable[[], Mapping[str, int]]
    parts: Sequence[Part]
    manager: ServiceManager
    note: Path
    given: bool = False
    _process: "subprocess.Popen[bytes] | None" = None
    _channel: Channel | None = None
    _work: "Deferred[None] | None" = None
    _serving: bool = False

    async def start(self) -> None:
        """
        From now on this daemon can hand over.
        """
        self._serving = True

    async def stop(self) -> None:
        """
        This daemon ends; if its next one does not serve yet, that one ends too.
        """
        self._serving = False
        if self._work is not None:
            over: Deferred[None] = Deferred()
            self._work.addBoth(lambda _: over.callback(None))
            self._work.cancel()
            await over
        if self._channel is not None:
            self._channel.close()

    def begin(self) -> None:
        """
        Hand over, unless that is under way already.
        """
        if self._work is not None or not self._serving:
            self.log.warn("no hand-over now: this daemon is starting, stopping or handing over")
            return
        self._work = Deferred.fromCoroutine(self._hand_over())
        self._work.addErrback(self._unexpected)
        self._work.addBoth(self._over)

    def _over(self, result: Any) -> Any:
        self._work = None
        return result

    async def _hand_over(self) -> None:
        self._tell("preparing")
        try:
            await self._try()
        except NoSuccessor as error:
            self.log.error("no hand-over, this daemon serves on: {reason}", reason=str(error))
            self._tell("failed", reason=str(error))
        else:
            self._tell("done")
            self.log.info("handed over to process {pid}", pid=self._pid)
            with suppress(ReactorNotRunning):
                self.reactor.stop()

    async def _try(self) -> None:
        tried: list[Part] = []
        try:
            channel = self._start_next()
            told = await channel.hear(PREPARED, PREPARE_SECONDS)
            successor = Successor(requests=told["requests"], state=told["state"])
            self.log.info("process {pid} is prepared to take over", pid=self._pid)
            for part in self.parts:
                tried.append(part)
                await part.give()
            if channel.lost:
                raise Silent("it ended")
            began = self.reactor.seconds()
            channel.say(YOURS)
            await channel.hear(READY, READY_SECONDS)
        except BaseException as error:
            await self._end_next()
            if isinstance(error, CancelledError):  # This daemon stops: nothing is taken back.
                raise
            if not isinstance(error, (Silent, NoSuccessor, OSError)):
                self.log.failure("handing over", Failure(error))
            await self._take_back(tried)
            raise NoSuccessor(f"the new daemon {self._how(error)}") from error
        self.given = True
        for part in self.parts:
            part.pass_on(successor)
        self.log.info(
            "nobody served for {seconds} s", seconds=round(self.reactor.seconds() - began, 3)
        )
        self.manager.succeeded_by(self._pid)
        channel.say(MAIN)
        self._forget_process()

    def _start_next(self) -> Channel:
        if self.command is None:
            raise NoSuccessor("this daemon was not started in the foreground (twistd -n)")
        ours, theirs = socket.socketpair()
        with ours, theirs:
            ports = dict(self.descriptors())
            document = {"channel": theirs.fileno(), "ports": ports}
            environment = {k: v for k, v in os.environ.items() if k not in _NOT_INHERITED}
            self._process = subprocess.Popen(
                self.command,
                env={**environment, VARIABLE: json.dumps(document)},
                pass_fds=(theirs.fileno(), *ports.values()),
                stdin=subprocess.DEVNULL,
            )
            ours.setblocking(False)
            self._channel = Channel.adopt(self.reactor, ours.fileno())
        return self._channel

    @property
    def _pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def _how(self, error: BaseException) -> str:
        status = None if self._process is None else self._process.returncode
        if self._process is None or status == -signal.SIGKILL or isinstance(error, NoSuccessor):
            return f"was not started: {error}" if self._process is None else f"failed: {error}"
        return f"ended with status {status} ({error}); what it said is above"

    async def _end_next(self) -> None:
        """
        So that nothing of it is left when we go on.
        """
        process, channel = self._process, self._channel
        if process is None:
            return
        end = self.reactor.seconds() + 1
        while process.poll() is None:
            # One that has given up by itself is on its way out, with a better reason than ours.
            if channel is None or not channel.lost or self.reactor.seconds() > end:
                process.kill()
            await deferLater(self.reactor, _POLL_SECONDS)
        if channel is not None:
            channel.close()

    async def _take_back(self, tried: list[Part]) -> None:
        for part in reversed(tried):
            await part.take_back()

    def _forget_process(self) -> None:
        """
        It outlives us: nobody here waits for it.
        """
        assert self._process is not None
        self._process.returncode = 0

    def _unexpected(self, failure: Failure) -> None:
        if failure.check(CancelledError):
            return
        # Something could not be taken back, and half a daemon is worse than none.
        self.log.failure("the hand-over failed half-way: this daemon stops", failure)
        self._tell("failed", reason=failure.getErrorMessage())
        with suppress(ReactorNotRunning):
            self.reactor.stop()

    def _tell(self, state: str, **more: str) -> None:
        """
        For `workerd-faas upgrade`; a full disk is no reason not to go on.
        """
        document = {"by": os.getpid(), "state": state, **more}
        if self._process is not None:
            document["process"] = self._process.pid
        with suppress(OSError):
            made = self.note.with_suffix(".new")
            made.write_text(json.dumps(document), "utf-8")
            made.replace(self.note)
