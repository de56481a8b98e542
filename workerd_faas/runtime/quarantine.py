"""
The edge of `domain.blame`: what the deaths of cells say of functions, and what functions are told.
"""

import math
import random
from collections.abc import Callable, Sequence
from pathlib import Path

import attrs
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from workerd_faas.domain.blame import Blame, Change, Record, Refusal, Standing
from workerd_faas.domain.errors import Kind, Problem
from workerd_faas.domain.termination import WORDS, Verdict
from workerd_faas.domain.upstream import Upstream
from workerd_faas.runtime import autopsy
from workerd_faas.runtime.cell import Cell, Death
from workerd_faas.usecases.ports import CallTargets

Ask = Callable[[Callable[[Upstream | Problem | None], None]], Callable[[], None]]


def oom_kills(proc: Path = Path("/proc")) -> int:
    """
    How many processes the kernel has killed for want of memory since it runs; 0 if it does not say.
    """
    try:
        for line in (proc / "vmstat").read_text().splitlines():
            name, _, count = line.partition(" ")
            if name == "oom_kill":
                return int(count)
    except (OSError, ValueError):
        pass
    return 0


def problem_of(refusal: Refusal) -> Problem:
    """
    What callers of a quarantined function are told.
    """
    seconds = max(1, math.ceil(refusal.seconds))
    return Problem(
        kind=Kind.QUARANTINED,
        message=f"This function is quarantined since it {WORDS[refusal.termination]} again and "
        f"again: it gets its next chance in {seconds} s, or with its next deployment.",
        retry_after=seconds,
        termination=refusal.termination,
    )


@attrs.define(eq=False, kw_only=True)
class Quarantine:
    """
    Attributes:
        full: Bytes of data from which a cell counts as full.
        changed: Moves a function that stands otherwise now. Called before who waits is told.
    """

    reactor: IReactorTime
    blame: Blame
    full: int
    changed: Callable[[Change], None]
    chance: Callable[[], float] = random.random
    kills: Callable[[], int] = oom_kills
    _kills_seen: int = attrs.field(init=False)

    _log = Logger()

    @_kills_seen.default
    def _kills_so_far(self) -> int:
        return self.kills()

    def refusal(self, function: str) -> Problem | None:
        """
        What the callers of a function are told instead of running it.
        """
        refusal = self.blame.refusal(function, self.reactor.seconds())
        return None if refusal is None else problem_of(refusal)

    def cell_died(self, home: str, sole: str | None, cell: Cell, death: Death) -> Verdict:
        """
        Find out why, and who did it; returns what its requests are told.

        Args:
            home: What the cell's slot is called.
            sole: The only function that runs there, if there is one.
        """
        kills, before = self.kills(), self._kills_seen
        self._kills_seen = kills
        found = autopsy.termination(death, full=self.full, short_of_memory=kills > before)
        suspects = cell.suspects if sole is None else {sole: True}
        blamed = autopsy.is_blamed(death, found) and bool(suspects)
        if found is not None:
            self._log.warn(
                "{label} ended: {termination}; running: {functions}",
                label=cell.label,
                termination=found.value,
                blamed=blamed,
                functions=sorted(name for name, likely in suspects.items() if likely),
            )
        if blamed and found is not None:
            now = self.reactor.seconds()
            self._tell(self.blame.died(now, home, found, suspects, self.chance()))
        # The next one shall not end by the same request: a culprit that is known is not asked
        # again, and one that is not known is asked in a process of its own.
        again = found is not None and not (blamed and sum(suspects.values()) == 1)
        return Verdict(termination=found, again=again)

    def cell_grew(self, home: str, cell: Cell) -> None:
        """
        A cell that functions share is replaced since it has too much data.
        """
        self._tell(self.blame.grew(self.reactor.seconds(), home, cell.suspects))

    def tick(self) -> None:
        """
        What time has done. To be called every second or so.
        """
        self._tell(self.blame.tick(self.reactor.seconds()))

    def records(self) -> Sequence[Record]:
        """
        All functions that are not free.
        """
        return self.blame.records(self.reactor.seconds())

    def pardon(self, function: str, reason: str) -> bool:
        """
        Let a function be as any other; returns whether it was not.
        """
        changes = self.blame.pardon(function, reason)
        self._tell(changes)
        return bool(changes)

    def _tell(self, changes: Sequence[Change]) -> None:
        for change in changes:
            say = self._log.info if change.standing is Standing.FREE else self._log.warn
            say(
                "{function} is {standing} now: {reason}",
                function=change.function,
                standing=change.standing.value,
                reason=change.reason,
                strikes=change.strikes,
                seconds=round(change.seconds, 1),
            )
            self.changed(change)


@attrs.frozen
class GuardedTargets:
    """
    `CallTargets`, but for functions that are quarantined: those who call them by a binding are told
    what those are told who ask over the network.
    """

    targets: CallTargets
    quarantine: Quarantine

    def shares(
        self, account_id: str, function: str, selector: str | None
    ) -> Sequence[tuple[float, str]]:
        """
        See `CallTargets`.
        """
        problem = self.quarantine.refusal(function)
        if problem is not None:
            raise problem
        return self.targets.shares(account_id, function, selector)


class Wish:
    """
    Somebody waits for a cell; which cell that is may change meanwhile.

    Args:
        ask: Asks for the cell that is right now, and is told None if it is wrong when it has come;
            returns a function that takes it back.
        then: Told in the end.
    """

    def __init__(self, ask: Ask, then: Callable[[Upstream | Problem], None]) -> None:
        self._ask, self._then = ask, then
        self._withdraw = ask(self._told)

    def _told(self, result: Upstream | Problem | None) -> None:
        if result is None:
            self._withdraw = self._ask(self._told)
        else:
            self._then(result)

    def take_back(self) -> None:
        """
        It is not wanted any more.
        """
        self._withdraw()


_check: type[CallTargets] = GuardedTargets
