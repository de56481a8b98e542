"""Ordered start and stop, work that outlives its request, and what the service manager is told."""

import atexit
import os
import signal
import socket
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final, Protocol, TypeVar

import attrs
from twisted.application.service import Service
from twisted.internet.defer import CancelledError, Deferred, DeferredList
from twisted.internet.error import ReactorNotRunning
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import ILogObserver, Logger
from twisted.python.components import Componentized
from twisted.python.failure import Failure

from workerd_faas.domain.errors import Problem
from workerd_faas.usecases import ports

T = TypeVar("T")

START_FAILED: Final = 1
"""The exit status of a daemon that could not start."""


class StartRefused(Exception):
    """
    A stage cannot start for a reason that the operator can mend; the message is one clear line.
    """


class Stage(Protocol):
    """
    One part of the daemon.
    """

    async def start(self) -> None:
        """
        Come up, or raise; then nothing of it is left behind.
        """

    async def stop(self) -> None:
        """
        Go down, whatever state it is in. Called once, after `start` succeeded.
        """


@attrs.define(eq=False)
class StagedService(Service):
    """
    Starts stages one after the other and stops them in reverse. A stage that cannot start ends
    the process: what was started is stopped, and the exit status is not 0.

    SIGTERM and SIGINT stop the service; the second one ends the process at once.

    Attributes:
        _on_signals: What else is called at which signal, on the reactor's thread.
    """

    log = Logger()

    _reactor: Any
    _stages: Sequence[tuple[str, Stage]]
    _manager: "ServiceManager"
    _observer: ILogObserver | None = None
    _on_signals: Mapping[int, Callable[[], None]] = attrs.Factory(dict)
    _running: list[tuple[str, Stage]] = attrs.Factory(list)
    _starting: "Deferred[None] | None" = None

    def setServiceParent(self, parent: Any) -> None:
        """
        Become part of an application, which logs to our observer if there is one: that is how
        twistd lets a service choose.
        """
        super().setServiceParent(parent)
        if self._observer is not None and isinstance(parent, Componentized):
            parent.setComponent(ILogObserver, self._observer)

    def startService(self) -> None:
        """
        Start as soon as the reactor runs.
        """
        super().startService()
        self._reactor.callWhenRunning(self._begin)

    def stopService(self) -> "Deferred[None]":
        """
        Stop in reverse order; fires when all is down.
        """
        super().stopService()
        return Deferred.fromCoroutine(self._stop())

    def _begin(self) -> None:
        _exit_cleanly_on_signals(self._reactor)
        for number, call in self._on_signals.items():
            _call_on_signal(self._reactor, number, call)
        self._starting = Deferred.fromCoroutine(self._start())
        self._starting.addErrback(self._failed)

    async def _start(self) -> None:
        for name, stage in self._stages:
            await stage.start()
            self._running.append((name, stage))
        self._starting = None
        self._manager.ready()
        self.log.info("ready")

    def _failed(self, failure: Failure) -> None:
        self._starting = None
        if failure.check(CancelledError):  # asked to stop while starting
            return
        if failure.check(StartRefused):
            self.log.critical("cannot start: {reason}", reason=failure.getErrorMessage())
        else:
            self.log.failure("cannot start", failure)
        atexit.register(_exit_with, START_FAILED)
        with suppress(ReactorNotRunning):
            self._reactor.stop()

    async def _stop(self) -> None:
        self._manager.stopping()
        if self._starting is not None:
            self._starting.cancel()
        while self._running:
            name, stage = self._running.pop()
            try:
                await stage.stop()
            except Exception:  # noqa: BLE001 - nothing cancels this; the others must stop too
                self.log.failure("{stage} did not stop cleanly", stage=name)
        self._manager.close()


def _exit_with(status: int) -> None:
    """
    twistd has no other way to an exit status; it runs last, after its own cleaning up.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def _exit_cleanly_on_signals(reactor: Any) -> None:
    """
    Stop on SIGTERM and SIGINT as the reactor does, without twistd killing itself by the same
    signal afterwards: a daemon that drained has ended well, with status 0.

    Who asks twice does not want to wait. What was acknowledged is on the disk at any moment, and
    cells die with the daemon, so that nothing needs to be put in order.
    """
    asked: list[int] = []

    def stop(number: int, _frame: object) -> None:
        if asked:
            os.write(2, b"asked to stop again: ending at once\n")
            os._exit(128 + number)
        asked.append(number)

        def once() -> None:
            with suppress(ReactorNotRunning):
                reactor.stop()

        reactor.callFromThread(once)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)


def _call_on_signal(reactor: Any, number: int, call: Callable[[], None]) -> None:
    signal.signal(number, lambda *_: reactor.callFromThread(call))


@attrs.define(eq=False)
class OwnedJobs:
    """
    `usecases.ports.OwnedWork`: jobs that a client cannot interrupt by going away.
    """

    log = Logger()

    _jobs: "set[Deferred[Any]]" = attrs.Factory(set)

    def finish(self, work: Callable[[], Awaitable[T]]) -> "Deferred[T]":
        """
        See `usecases.ports.OwnedWork.finish`.
        """
        waiter: Deferred[T] = Deferred(lambda _: None)
        job: Deferred[T] = Deferred.fromCoroutine(_run(work))
        self._jobs.add(job)

        def ended(outcome: Any) -> None:
            self._jobs.discard(job)
            if not waiter.called:
                waiter.callback(outcome)  # a Failure becomes an errback
            elif isinstance(outcome, Failure) and outcome.check(Problem):
                self.log.info(
                    "a job ended after its client had gone: {problem}", problem=str(outcome.value)
                )
            elif isinstance(outcome, Failure):
                self.log.failure("a job failed after its client had gone", outcome)

        job.addBoth(ended)
        return waiter

    async def start(self) -> None:
        """
        Nothing to do: jobs come later.
        """

    async def stop(self) -> None:
        """
        Wait until all jobs have ended.
        """
        await DeferredList(list(self._jobs))


async def _run(work: Callable[[], Awaitable[T]]) -> T:
    return await work()


_check: type[ports.OwnedWork] = OwnedJobs


@attrs.define(eq=False)
class ServiceManager:
    """
    systemd's notification protocol (sd_notify(3)); silent where no manager listens.
    """

    _reactor: IReactorTime
    _address: str | None
    _watchdog_seconds: float | None
    _socket: socket.socket | None = None
    _watchdog: LoopingCall | None = None

    @classmethod
    def from_environment(
        cls, reactor: IReactorTime, environ: Mapping[str, str]
    ) -> "ServiceManager":
        """
        From `NOTIFY_SOCKET`, `WATCHDOG_USEC` and `WATCHDOG_PID`.
        """
        microseconds = environ.get("WATCHDOG_USEC", "")
        ours = environ.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        return cls(
            reactor,
            environ.get("NOTIFY_SOCKET"),
            int(microseconds) / 1e6 if ours and microseconds.isdigit() else None,
        )

    def ready(self) -> None:
        """
        The daemon serves; from now on the watchdog is fed.
        """
        self._send(f"READY=1\nMAINPID={os.getpid()}")
        if self._watchdog_seconds:
            self._watchdog = LoopingCall(self._send, "WATCHDOG=1")
            self._watchdog.clock = self._reactor
            self._watchdog.start(self._watchdog_seconds / 3)

    def stopping(self) -> None:
        """
        The daemon drains.
        """
        self._send("STOPPING=1")

    def succeeded_by(self, pid: int) -> None:
        """
        Another process serves from now on, and tells the manager how it is itself.
        """
        self._send(f"MAINPID={pid}")
        self.close()
        self._address = None

    def close(self) -> None:
        """
        The daemon is down.
        """
        if self._watchdog is not None and self._watchdog.running:
            self._watchdog.stop()
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _send(self, message: str) -> None:
        if self._address is None:
            return
        if self._socket is None:
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
            self._socket.setblocking(False)
        address = self._address
        with suppress(OSError):  # the manager may be gone or slow: never our trouble
            self._socket.sendto(
                message.encode(), "\0" + address[1:] if address.startswith("@") else address
            )
