"""
One supervised process, from its start to its end.

```
 STARTING ──ready──▶ READY ──retire──▶ DRAINING ──empty or bound──▶ STOPPING ──▶ DEAD
     └──────────────── retire, deadline, hang, crash ──────────────────┴───────────▲
```

Ready means that the control descriptor announced the socket *and* the router answered. From then on
the router is asked again and again, in READY and in DRAINING; one that does not answer twice
running hangs, and only SIGKILL ends a process that hangs. Unless the machine is so busy that the
process has hardly run meanwhile: then it is given more time.
"""

import contextlib
import enum
import os
import signal
from collections.abc import Callable
from typing import Any, Final, Protocol

import attrs
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ProcessExitedAlready
from twisted.internet.interfaces import IDelayedCall, IProcessTransport
from twisted.logger import Logger
from twisted.python.failure import Failure

from workerd_faas.domain.upstream import Upstream
from workerd_faas.runtime.config import SOCKET_NAME
from workerd_faas.runtime.cpu import CpuMeter
from workerd_faas.runtime.probe import Health, Prober
from workerd_faas.runtime.process import Exit, ProcessOwner
from workerd_faas.runtime.status import Usage, data_bytes, usage
from workerd_faas.runtime.unix_http import NoAnswer

_WORDS_KEPT: Final = 20


class State(enum.Enum):
    """
    Where a cell is in its life.
    """

    STARTING = "starting"
    READY = "ready"
    DRAINING = "draining"
    STOPPING = "stopping"
    DEAD = "dead"


class Cause(enum.Enum):
    """
    Why a cell ended.
    """

    ASKED = "asked to stop"
    CRASHED = "crashed"
    HUNG = "did not answer any more"
    NOT_STARTED = "did not start in time"
    SPAWN_FAILED = "could not be started"
    OVER_LIMIT = "went over a limit"
    OVER_CPU = "used too much CPU time"


@attrs.frozen(kw_only=True)
class Times:
    """
    Bounds in seconds.

    Attributes:
        start: From spawn to ready.
        ping: How long an answer of a ready router may take. It is asked again after half of that
            when it is in use, else after three quarters, and at once when it has not answered.
        misses: How many answers running may be missing. 0: a ready router is not asked.
        drain: From retirement to the last call, at most: requests in flight, then `waitUntil` work.
        goodbye: From the last call to SIGTERM, for conversations to end.
        stop: From SIGTERM to SIGKILL.
    """

    start: float = 10.0
    ping: float = 1.0
    misses: int = 2
    drain: float = 30.0
    goodbye: float = 3.0
    stop: float = 5.0


_START_POLL: Final = 0.02
_ENOUGH_CPU: Final = 0.5
"""A process that has had so many seconds of CPU time since its last answer could have answered."""
_PATIENCE: Final = 5
"""How many times as many answers may be missing from a process that had no CPU time."""
_DRAIN_POLL: Final = 0.1
_PAUSE_IN_USE: Final = 0.5
_PAUSE_IDLE: Final = 0.75


@attrs.frozen(kw_only=True)
class Death:
    """
    What is known of a cell's end.

    Attributes:
        how: Exit code or signal; None when there never was a process.
        in_flight: Requests that it took with it.
        resident: Bytes of memory that it had when it answered last.
        lived: Seconds since it was ready; None when it never was.
        computed: Seconds of CPU time that it had had since it answered last, when it was killed.
        data: Bytes of data that it had then, as `RLIMIT_DATA` counts them.
        last_words: The last lines on its standard error.
    """

    cause: Cause
    how: Exit | None
    in_flight: int
    lived: float | None
    resident: int = 0
    computed: float = 0.0
    data: int = 0
    last_words: tuple[str, ...] = ()


class CellOwner(Protocol):
    """
    Who is told of a cell's life.
    """

    def cell_ready(self, cell: "Cell") -> None:
        """
        It takes requests from now on. Called at most once.
        """

    def cell_died(self, cell: "Cell", death: Death) -> None:
        """
        Its process is gone. Called exactly once, last.
        """


@attrs.define(eq=False, kw_only=True)
class Cell:
    """
    Attributes:
        reactor: Provides IReactorTime.
        spawn: Starts the process; raises OSError when it cannot.
        look: What the kernel says of a process.
        weigh: How many bytes of data it says that a process has.
        cpu: How much CPU time the process may have; None: as much as it gets.
        upstream: What the relay is given; retired when this is.
    """

    reactor: Any
    label: str
    upstream: Upstream
    times: Times
    prober: Prober
    spawn: Callable[[ProcessOwner], IProcessTransport]
    owner: CellOwner
    look: Callable[[int | None], Usage] = usage
    weigh: Callable[[int | None], int] = data_bytes
    cpu: CpuMeter | None = None
    state: State = State.STARTING
    health: Health = attrs.Factory(Health)
    _transport: IProcessTransport | None = None
    _cause: Cause | None = None
    _ready_at: float | None = None
    _announced: bool = False
    _missed: int = 0
    _served: int = 0
    _asked_at: float = 0.0
    _usage: Usage = attrs.Factory(Usage)
    _computed: float = 0.0
    _data: int = 0
    _asked_empty: bool = False
    _bound: IDelayedCall | None = None
    _next_ping: IDelayedCall | None = None
    _ping: "Deferred[Health] | None" = None
    _last_words: list[str] = attrs.Factory(list)

    _log = Logger()

    @property
    def pid(self) -> int | None:
        """
        The process's id while there is one.
        """
        return None if self._transport is None else self._transport.pid

    @property
    def age(self) -> float:
        """
        Seconds since it was ready; 0 before.
        """
        return 0.0 if self._ready_at is None else float(self.reactor.seconds() - self._ready_at)

    @property
    def suspects(self) -> dict[str, bool]:
        """
        The functions that may have run in it now; whether that is likely: a request was in flight
        or came since its last sign of life, or something was pending then. Of the others a request
        came in the last minute.
        """
        found = dict.fromkeys(self.upstream.lately(), False)
        found.update(dict.fromkeys(self.health.busy, True))
        found.update(dict.fromkeys(self.upstream.running(), True))
        return found

    # What the owner does.

    def start(self) -> None:
        """
        Start the process. Call once.
        """
        self._set_bound(self.times.start, lambda: self._kill(Cause.NOT_STARTED))
        try:
            self._transport = self.spawn(self)
        except OSError as error:
            self._last_words.append(str(error))
            self._kill(Cause.SPAWN_FAILED)

    def retire(self) -> None:
        """
        Give it no new requests, let it finish what it has, then end it. Idempotent.
        """
        self.upstream.retire()
        if self.state is State.STARTING:
            self._terminate()
        elif self.state is State.READY:
            self.state = State.DRAINING
            self._set_bound(self.times.drain, self._last_call)
            self.upstream.when_empty(self._emptied)

    def kill(self, cause: Cause) -> None:
        """
        End it now, and everything in it.
        """
        if self.state is not State.DEAD:
            self._kill(cause)

    def freeze(self) -> None:
        """
        Let the process do nothing until `thaw`: it is stopped where it is.
        """
        self._send(signal.SIGSTOP)

    def thaw(self) -> None:
        """
        Let it go on. Idempotent.
        """
        self._send(signal.SIGCONT)

    def _send(self, number: signal.Signals) -> None:
        if self.pid is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    # What the process does (`ProcessOwner`).

    def process_listening(self, socket: str) -> None:
        """
        See `ProcessOwner`.
        """
        if self.state is State.STARTING and socket == SOCKET_NAME and not self._announced:
            self._announced = True
            self._ask()

    def process_said(self, line: str) -> None:
        """
        See `ProcessOwner`.
        """
        self._last_words = [*self._last_words[1 - _WORDS_KEPT :], line]
        self._log.info("{label}: {line}", label=self.label, line=line)

    def process_ended(self, how: Exit) -> None:
        """
        See `ProcessOwner`.
        """
        self._dead(how)

    # The machine.

    def _answered(self, health: Health) -> None:
        self._missed = 0
        self._usage = self.look(self.pid)
        self.health = health
        self.upstream.sign_of_life(self.reactor.seconds())
        if self.state is State.STARTING:
            self.state = State.READY
            self._ready_at = self.reactor.seconds()
            self._clear_bound()
            self._ask_later()
            self.owner.cell_ready(self)
        elif self.state is State.DRAINING and self._asked_empty and not health.pending:
            self._terminate()
        elif self.cpu is not None and self.cpu.over(
            self.reactor.seconds(), self._usage.cpu, self.upstream.served
        ):
            self._kill(Cause.OVER_CPU)
        else:
            self._ask_later()

    def _unanswered(self) -> None:
        if self.state is not State.STARTING:
            self._missed += 1
            if self._missed >= self.times.misses and not self._starves():
                self._kill(Cause.HUNG)
                return
        self._ask_later()

    def _starves(self) -> bool:
        """
        Whether it wants to run and has hardly been let since it answered last.
        """
        now = self.look(self.pid)
        patient = self._missed < self.times.misses * _PATIENCE
        return patient and now.state == "R" and now.cpu - self._usage.cpu < _ENOUGH_CPU

    def _emptied(self) -> None:
        if self.state is State.DRAINING:
            self._ask_later()

    def _last_call(self) -> None:
        """
        WebSockets last until now, and are told before they break off.
        """
        if self.upstream.in_flight:
            self._set_bound(self.times.goodbye, self._terminate)
            self.upstream.last_call()
        else:
            self._terminate()

    def _terminate(self) -> None:
        self._stopping(Cause.ASKED)
        self._set_bound(self.times.stop, lambda: self._signal("KILL"))
        self._signal("TERM")

    def _kill(self, cause: Cause) -> None:
        self._computed = self.look(self.pid).cpu - self._usage.cpu
        self._data = self.weigh(self.pid)
        self._stopping(cause)
        self._clear_bound()
        self._signal("KILL")

    def _stopping(self, cause: Cause) -> None:
        self.state = State.STOPPING
        self._cause = self._cause or cause
        self._stop_asking()
        self.upstream.retire()

    def _dead(self, how: Exit | None) -> None:
        self.state = State.DEAD
        self._clear_bound()
        self._stop_asking()
        self._transport = None
        lived = None if self._ready_at is None else self.reactor.seconds() - self._ready_at
        death = Death(
            cause=self._cause or Cause.CRASHED,
            how=how,
            in_flight=self.upstream.in_flight,
            lived=lived,
            resident=self._usage.resident,
            computed=self._computed,
            data=self._data,
            last_words=tuple(self._last_words),
        )
        self.upstream.retire()
        self.owner.cell_died(self, death)

    def _signal(self, name: str) -> None:
        if self._transport is None:
            # There never was a process. Not at once: the owner is still busy with `start`.
            self._set_bound(0, lambda: self._dead(None))
            return
        with contextlib.suppress(ProcessExitedAlready):  # `process_ended` is on its way then.
            self._transport.signalProcess(name)

    # The questions: at most one is under way, or one is due.

    def _ask_later(self) -> None:
        pause = self._pause()
        if self.state is State.STARTING:
            pause = _START_POLL
        elif self.state is State.DRAINING:
            pause = pause if self.upstream.in_flight else _DRAIN_POLL
        elif not self.times.misses:
            return
        if self._ping is None:
            self._cancel_next()
            self._next_ping = self.reactor.callLater(pause, self._ask)

    def _pause(self) -> float:
        if self._missed:
            # An answer that was refused at once must not count for one that was waited for.
            return max(0.0, self._asked_at + self.times.ping - float(self.reactor.seconds()))
        upstream = self.upstream
        used, self._served = upstream.served != self._served, upstream.served
        return self.times.ping * (_PAUSE_IN_USE if used or upstream.in_flight else _PAUSE_IDLE)

    def _ask(self) -> None:
        self._next_ping = None
        self._asked_at = self.reactor.seconds()
        # What is in flight may not have reached the router: its count says nothing then.
        self._asked_empty = not self.upstream.in_flight
        self._ping = self.prober.probe()
        self._ping.addCallbacks(self._on_health, self._on_failure)
        self._ping.addErrback(lambda failure: self._log.failure("probe", failure=failure))

    def _on_health(self, health: Health) -> None:
        self._ping = None
        self._answered(health)

    def _on_failure(self, failure: Failure) -> None:
        if failure.check(CancelledError) is None:
            self._ping = None
            if failure.check(NoAnswer) is None:
                self._log.failure("probe", failure=failure)
            self._unanswered()

    def _stop_asking(self) -> None:
        self._cancel_next()
        ping, self._ping = self._ping, None
        if ping is not None:
            ping.cancel()

    def _cancel_next(self) -> None:
        call, self._next_ping = self._next_ping, None
        if call is not None:
            call.cancel()

    # The one bound of the present state.

    def _set_bound(self, seconds: float, reached: Callable[[], None]) -> None:
        self._clear_bound()
        self._bound = self.reactor.callLater(seconds, self._reached, reached)

    def _reached(self, reached: Callable[[], None]) -> None:
        self._bound = None
        reached()

    def _clear_bound(self) -> None:
        bound, self._bound = self._bound, None
        if bound is not None:
            bound.cancel()


_check: type[ProcessOwner] = Cell
