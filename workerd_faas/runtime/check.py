"""
The upload check: code is loaded once, in a process that has no network and runs nothing else.

One process is kept ready, so that a check costs milliseconds. A process that has found an upload
good waits a while for the next one of the same account; only a fresh one refuses an upload.
"""

import signal
from pathlib import Path
from typing import Any, Final

import attrs
from twisted.internet.defer import DeferredSemaphore
from twisted.internet.interfaces import IDelayedCall, IProcessTransport
from twisted.logger import Logger

from workerd_faas.domain.errors import Kind, Problem
from workerd_faas.domain.limits import LARGE_CODE
from workerd_faas.domain.model import CheckReport, Code
from workerd_faas.domain.upstream import Upstream
from workerd_faas.runtime import javascript, leftovers, verdict
from workerd_faas.runtime.cell import Cause, Cell, Times
from workerd_faas.runtime.check_process import WALL_FACTOR, CheckProcess, Kept, Watch
from workerd_faas.runtime.config import CheckCell, render_check_cell
from workerd_faas.runtime.probe import SocketProber
from workerd_faas.runtime.process import MIB, Exit, Launch, ProcessOwner, spawn
from workerd_faas.runtime.unix_http import NoAnswer, ask
from workerd_faas.runtime.walls import Walls
from workerd_faas.usecases.ports import Checker
from workerd_faas.wire.bundle import load_document_for_check

_LISTEN: Final = Path("h")
_RETRY: Final = 5.0
"""Seconds until a process that was to be ready for uploads and has ended is made again."""
_ATTEMPTS: Final = 2
_BYTES_PER_SECOND: Final = 32 * MIB
_SPARE_AFTER: Final = 0.1
"""
Seconds from a check to the start of the next spare process: the deploy that it was for is over by
then, and does not have to share the machine with it.
"""


@attrs.frozen(kw_only=True)
class CheckOptions:
    """
    Times are in seconds, sizes in bytes.

    Attributes:
        load: CPU time that loading may take; thrice that in wall time, for a busy machine. Each 32
            MiB of code have a second more.
        memory: What loading may allocate.
        large: Code of so many bytes is loaded in a process like those that it would run in: it must
            fit there, and needs more than others.
        memory_of_large: What loading it may allocate: what a function cell has.
        at_once: How many checks run at once.
        queue: How many may wait for their turn.
        kept: How many processes wait for the next upload of the account that had the last one.
        kept_for: How long each of them does.
        uses: How many uploads one process checks at most.
        times: Bounds of the process's start.
    """

    load: float = 1.0
    memory: int = 192 * MIB
    large: int = LARGE_CODE
    memory_of_large: int = 256 * MIB
    at_once: int = 2
    queue: int = 32
    kept: int = 4
    kept_for: float = 30.0
    uses: int = 50
    times: Times = attrs.Factory(lambda: Times(misses=0, stop=1.0))


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
    _spare: CheckProcess | None = None
    _soon: IDelayedCall | None = None
    _kept: Kept = attrs.field(init=False)
    _benches: set[CheckProcess] = attrs.Factory(set)
    _made: int = 0
    _stopped: bool = False

    _log = Logger()

    @_kept.default
    def _nobody(self) -> Kept:
        options = self.options
        return Kept(self.reactor, most=options.kept, seconds=options.kept_for, uses=options.uses)

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
        if self._soon is not None:
            self._soon.cancel()
            self._soon = None
        self._kept.clear()
        for bench in tuple(self._benches):
            await self._end(bench)

    @property
    def startable(self) -> bool:
        """
        Whether the process that is kept ready did not come to an end before it was.
        """
        spare = self._spare
        return spare is None or spare.death is None or spare.ready

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
        old = self._kept.clear()
        if self._spare is not None:
            old.append(self._spare)
        self._spare = bench
        for each in old:
            await self._end(each)

    def renew(self) -> None:
        """
        Use none of the processes that wait for uploads: their sockets are gone.
        """
        old = [*self._kept.clear(), self._spare]
        self._spare = self._make()
        for each in old:
            if each is not None:
                each.kill()

    async def check(self, function: str, code: Code, account_id: str = "") -> CheckReport:
        """
        See `Checker`.
        """
        verdict.check_main_module(code)
        document = load_document_for_check(code, function)
        if len(self._turns.waiting) >= self.options.queue:
            raise _unavailable("Too many uploads are being checked.")
        await self._turns.acquire()
        try:
            return await self._check(document, account_id)
        finally:
            self._turns.release()

    async def _check(self, document: bytes, account_id: str) -> CheckReport:
        large = len(document) >= self.options.large
        kept = None if large else self._kept.take(account_id)
        if kept is not None:
            try:
                report = await self._check_in(kept, document, account_id)
            except Problem as problem:
                self._log.info("checked once more, alone: {problem}", problem=str(problem))
            else:
                if report is not None:
                    return report
        for _ in range(_ATTEMPTS):
            bench = self._take(large)
            try:
                await bench.started()
                report = await self._check_in(bench, document, "" if large else account_id)
            finally:
                self._make_spare_soon()
            if report is not None:
                return report
        raise _unavailable("The process that checks uploads was killed.")

    async def _check_in(
        self, bench: CheckProcess, document: bytes, account_id: str
    ) -> CheckReport | None:
        report = None
        try:
            if bench.cell is None or bench.death is not None:
                self._log.error("the check cell did not start: {death}", death=bench.death)
                raise _unavailable("The process that checks uploads did not start.")
            report = await self._load(bench, bench.cell, document)
            return report
        finally:
            if report is None or self._stopped:
                bench.kill()
            else:
                self._kept.keep(bench, account_id)

    def _make_spare_soon(self) -> None:
        if self._spare is None and self._soon is None and not self._stopped:
            self._soon = self.reactor.callLater(_SPARE_AFTER, self._make_spare)

    def _make_spare(self) -> None:
        self._soon = None
        if self._spare is None or self._spare.death is not None:
            self._spare = self._make()

    def _one_is_lost(self) -> None:
        """
        If it is the one that is kept ready, try again after a while, so that it is known whether
        workerd starts.
        """
        spare = self._spare
        lost = spare is not None and spare.death is not None
        if lost and self._soon is None and not self._stopped:
            self._soon = self.reactor.callLater(_RETRY, self._make_spare)

    async def _load(self, bench: CheckProcess, cell: Cell, document: bytes) -> CheckReport | None:
        """
        None when somebody else killed the process: that says nothing of the code.
        """
        allowed = self.options.load + len(document) / _BYTES_PER_SECOND
        watch = Watch(self.reactor, cell, allowed)
        watch.start()
        socket = Path(cell.upstream.address)
        try:
            answer = await ask(self.reactor, socket, {}, document, allowed * WALL_FACTOR + 1)
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

    def _take(self, large: bool) -> CheckProcess:
        if self._stopped:
            raise _unavailable("The platform is stopping.")
        if large:
            return self._make(large=True)
        spare, self._spare = self._spare, None
        if spare is not None and spare.death is None:
            return spare
        return self._make()

    def _make(self, *, large: bool = False) -> CheckProcess:
        self._made += 1
        directory = self.directory / f"k{self._made}"
        listen = directory / _LISTEN
        launch = Launch(
            binary=self.binary,
            directory=directory,
            memory=self.options.memory_of_large if large else self.options.memory,
            connect=False,
            landlock=self.walls.landlock,
            seccomp=self.walls.seccomp,
            bwrap=self.walls.bwrap,
        )
        config = render_check_cell(CheckCell(listen=_LISTEN, modules=self._sources, collects=large))

        def start_process(process: ProcessOwner) -> IProcessTransport:
            directory.mkdir(mode=0o700)
            bench.give_directory()
            return spawn(self.reactor, attrs.evolve(launch, uid=bench.uid), config, process)

        bench = CheckProcess(directory, self.walls, self._benches, self._one_is_lost)
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

    async def _end(self, bench: CheckProcess) -> None:
        bench.kill()
        await bench.ended()


def _unavailable(message: str) -> Problem:
    return Problem(kind=Kind.UNAVAILABLE, message=message, retry_after=1)


_check_checker: type[Checker] = CheckCells
