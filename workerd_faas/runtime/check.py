"""
The upload check: code is loaded once, in a process of its own that has no network.

One process is kept ready, so that a check costs milliseconds.
"""

import shutil
import signal
from pathlib import Path
from typing import Any, Final

import attrs
from twisted.internet.defer import Deferred, DeferredSemaphore
from twisted.internet.interfaces import IDelayedCall, IProcessTransport
from twisted.logger import Logger

from workerd_faas.domain.errors import Kind, Problem
from workerd_faas.domain.model import CheckReport, Code
from workerd_faas.domain.upstream import Upstream
from workerd_faas.runtime import javascript, leftovers, uids, verdict
from workerd_faas.runtime.cell import Cause, Cell, CellOwner, Death, Times
from workerd_faas.runtime.config import CheckCell, render_check_cell
from workerd_faas.runtime.probe import SocketProber
from workerd_faas.runtime.process import CONFIG, MIB, Exit, Launch, ProcessOwner, spawn
from workerd_faas.runtime.status import cpu_seconds
from workerd_faas.runtime.unix_http import NoAnswer, ask
from workerd_faas.runtime.walls import Walls
from workerd_faas.usecases.ports import Checker
from workerd_faas.wire.bundle import load_document_for_check

_LISTEN: Final = Path("h")
_ATTEMPTS: Final = 2
_LOOK: Final = 0.1
_WALL_FACTOR: Final = 3
_BYTES_PER_SECOND: Final = 32 * MIB


@attrs.frozen(kw_only=True)
class CheckOptions:
    """
    Times are in seconds, sizes in bytes.

    Attributes:
        load: CPU time that loading may take; thrice that in wall time, for a busy machine. Each 32
            MiB of code have a second more.
        memory: What loading may allocate.
        at_once: How many checks run at once.
        queue: How many may wait for their turn.
        times: Bounds of the process's start.
    """

    load: float = 1.0
    memory: int = 192 * MIB
    at_once: int = 2
    queue: int = 32
    times: Times = attrs.Factory(lambda: Times(misses=0, stop=1.0))


@attrs.define(eq=False)
class _Bench:
    """
    One check cell and what became of it.
    """

    directory: Path
    walls: Walls
    all: "set[_Bench]"
    cell: Cell | None = None
    uid: int | None = None
    ready: bool = False
    death: Death | None = None
    _waiting: "list[Deferred[None]]" = attrs.Factory(list)

    def cell_ready(self, cell: Cell) -> None:
        """
        See `CellOwner`.
        """
        self.ready = True
        self._tell()

    def cell_died(self, cell: Cell, death: Death) -> None:
        """
        See `CellOwner`.
        """
        self.death = death
        self.all.discard(self)
        shutil.rmtree(self.directory, ignore_errors=True)
        uid, self.uid = self.uid, None
        if self.walls.uids is not None and uid is not None:
            self.walls.uids.give_back(uid)
        self._tell()

    def give_directory(self) -> None:
        """
        Let the process be a user of its own, if it may.

        Raises:
            OSError: it cannot.
        """
        if self.walls.uids is not None:
            self.uid = self.walls.uids.take()
            uids.give(self.directory, self.uid)

    def _tell(self) -> None:
        waiting, self._waiting = self._waiting, []
        for one in waiting:
            one.callback(None)

    async def started(self) -> None:
        """
        Returns once the cell is ready or dead.
        """
        if not self.ready and self.death is None:
            await self._wait()

    async def ended(self) -> Death:
        """
        Returns once the cell is dead.
        """
        while self.death is None:
            await self._wait()
        return self.death

    async def _wait(self) -> None:
        one: Deferred[None] = Deferred(self._waiting.remove)
        self._waiting.append(one)
        await one


@attrs.define(eq=False, kw_only=True)
class CheckCells:
    """
    Attributes:
        reactor: Provides IReactorProcess, IReactorTime and IReactorUNIX.
        binary: workerd.
        directory: A short directory of mode 0700 that is ours alone.
    """

    reactor: Any
    binary: Path
    directory: Path
    options: CheckOptions = attrs.Factory(CheckOptions)
    walls: Walls = attrs.Factory(Walls)
    _turns: DeferredSemaphore = attrs.field(init=False)
    _sources: tuple[tuple[str, str], ...] = ()
    _spare: _Bench | None = None
    _benches: set[_Bench] = attrs.Factory(set)
    _made: int = 0
    _stopped: bool = False

    _log = Logger()

    @_turns.default
    def _all_turns(self) -> DeferredSemaphore:
        return DeferredSemaphore(self.options.at_once)

    async def start(self) -> None:
        """
        Clear away what an earlier run may have left, and warm the first cell up.
        """
        leftovers.clear(self.directory)
        self._sources = javascript.sources(javascript.CHECK)
        self._spare = self._make()

    async def stop(self) -> None:
        """
        End all checks and their processes.
        """
        self._stopped = True
        self._spare = None
        for bench in tuple(self._benches):
            await self._end(bench)

    @property
    def spare_pid(self) -> int | None:
        """
        The process that is kept ready for the next check, once it is ready.
        """
        spare = self._spare
        return spare.cell.pid if spare is not None and spare.cell and spare.ready else None

    async def use(self, binary: Path) -> None:
        """
        Check uploads with this workerd from now on, if it starts.

        Raises:
            Problem: it does not; then nothing changes.
        """
        before, self.binary = self.binary, binary
        bench = self._make()
        await bench.started()
        if bench.death is not None:
            self.binary = before
            said = " ".join(bench.death.last_words) or bench.death.cause.value
            raise _unavailable(f"{binary} does not start: {said[:500]}")
        spare, self._spare = self._spare, bench
        if spare is not None and spare.death is None:
            await self._end(spare)

    async def check(self, function: str, code: Code) -> CheckReport:
        """
        See `Checker`.
        """
        verdict.check_main_module(code)
        document = load_document_for_check(code, function)
        if len(self._turns.waiting) >= self.options.queue:
            raise _unavailable("Too many uploads are being checked.")
        await self._turns.acquire()
        try:
            for _ in range(_ATTEMPTS):
                report = await self._check(document)
                if report is not None:
                    return report
        finally:
            self._turns.release()
        raise _unavailable("The process that checks uploads was killed.")

    async def _check(self, document: bytes) -> CheckReport | None:
        bench = self._take()
        try:
            await bench.started()
            if bench.cell is None or bench.death is not None:
                self._log.error("the check cell did not start: {death}", death=bench.death)
                raise _unavailable("The process that checks uploads did not start.")
            return await self._load(bench, bench.cell, document)
        finally:
            if bench.cell is not None:
                bench.cell.kill(Cause.ASKED)
            if self._spare is None and not self._stopped:
                self._spare = self._make()

    async def _load(self, bench: _Bench, cell: Cell, document: bytes) -> CheckReport | None:
        """
        None when somebody else killed the process: that says nothing of the code.
        """
        allowed = self.options.load + len(document) / _BYTES_PER_SECOND
        watch = _Watch(self.reactor, cell, allowed)
        watch.start()
        socket = Path(cell.upstream.address)
        try:
            answer = await ask(self.reactor, socket, {}, document, allowed * _WALL_FACTOR + 1)
        except NoAnswer:
            # It is dead, is dying, or the watch is about to end it.
            death = await bench.ended()
            if death.cause is Cause.CRASHED and death.how == Exit(None, signal.SIGKILL):
                return None
            raise verdict.fatal(death, self.options.load) from None
        finally:
            watch.stop()
        try:
            return verdict.report(answer.body)
        except (ValueError, KeyError, TypeError) as error:
            self._log.error("the check cell answered nonsense: {error}", error=str(error))
            raise _unavailable("The upload could not be checked.") from error

    def _take(self) -> _Bench:
        if self._stopped:
            raise _unavailable("The platform is stopping.")
        spare, self._spare = self._spare, None
        if spare is not None and spare.death is None:
            return spare
        return self._make()

    def _make(self) -> _Bench:
        self._made += 1
        directory = self.directory / f"k{self._made}"
        listen = directory / _LISTEN
        launch = Launch(
            binary=self.binary,
            directory=directory,
            memory=self.options.memory,
            connect=False,
            landlock=self.walls.landlock,
            seccomp=self.walls.seccomp,
            bwrap=self.walls.bwrap,
        )
        config = render_check_cell(CheckCell(listen=_LISTEN, modules=self._sources))

        def start_process(process: ProcessOwner) -> IProcessTransport:
            directory.mkdir(mode=0o700)
            (directory / CONFIG).write_text(config, encoding="utf-8")
            bench.give_directory()
            return spawn(self.reactor, attrs.evolve(launch, uid=bench.uid), process)

        bench = _Bench(directory, self.walls, self._benches)
        bench.cell = Cell(
            reactor=self.reactor,
            label=f"check cell {self._made}",
            upstream=Upstream(str(listen), f"check cell {self._made}"),
            times=self.options.times,
            prober=SocketProber(self.reactor, listen, self.options.times.ping),
            spawn=start_process,
            owner=bench,
        )
        self._benches.add(bench)
        bench.cell.start()
        return bench

    async def _end(self, bench: _Bench) -> None:
        if bench.cell is not None:
            bench.cell.kill(Cause.ASKED)
        await bench.ended()


@attrs.define(eq=False)
class _Watch:
    """
    Kills a cell that has used up its time.
    """

    reactor: Any
    cell: Cell
    allowed: float
    _until: float = 0.0
    _cpu_before: float = 0.0
    _next: IDelayedCall | None = None

    def start(self) -> None:
        """
        The time begins now.
        """
        self._until = self.reactor.seconds() + _WALL_FACTOR * self.allowed
        self._cpu_before = cpu_seconds(self.cell.pid)
        self._next = self.reactor.callLater(self.allowed, self._look)

    def stop(self) -> None:
        """
        It has ended in time, or not.
        """
        if self._next is not None and self._next.active():
            self._next.cancel()

    def _look(self) -> None:
        used = cpu_seconds(self.cell.pid) - self._cpu_before
        if used >= self.allowed or self.reactor.seconds() >= self._until:
            self.cell.kill(Cause.OVER_LIMIT)
        else:
            self._next = self.reactor.callLater(_LOOK, self._look)


def _unavailable(message: str) -> Problem:
    return Problem(kind=Kind.UNAVAILABLE, message=message, retry_after=1)


_check_owner: type[CellOwner] = _Bench
_check_checker: type[Checker] = CheckCells
