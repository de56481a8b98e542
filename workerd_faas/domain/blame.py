"""
Which functions endanger those beside them, and what is done about it. Pure: time is passed in.

When a process ends that ran several functions, nobody knows which of them it was. So all that may
have been running are *suspects*, and suspects run apart, each in a process of its own, where they
go on serving. The one that did it will do it again, alone this time: its strikes gather, and it is
*quarantined*: it is answered for with an error, for longer each time. The others do nothing, which
clears them.
"""

import enum
from collections.abc import Collection, Mapping
from typing import Final

import attrs

from workerd_faas.domain.termination import WORDS, Termination

_CALM_FACTOR: Final = 2
_AGAIN: Final = 2
"""Deaths from which a function is apart even if it is not likely to have caused one."""


@attrs.frozen(kw_only=True)
class BlamePolicy:
    """
    Times are in seconds.

    Attributes:
        window: How long a strike counts.
        strikes: Their weight from which a function that dies alone is quarantined: an end weighs 2
            for the only likely suspect, else 1.
        growths: How often a process may outgrow its memory before those in it are suspects.
        places: Of one process, how many functions may be apart as suspects at a time.
        first: The first quarantine's errors.
        most: The longest.
        relapse: How long it is remembered that a function was quarantined before.
    """

    window: float = 600
    strikes: int = 5
    growths: int = 3
    places: int = 4
    first: float = 10
    most: float = 600
    relapse: float = 86400


class Standing(enum.Enum):
    """
    How a function stands.
    """

    FREE = "free"
    SUSPECT = "suspect"
    QUARANTINED = "quarantined"


@attrs.frozen(kw_only=True)
class Refusal:
    """
    Why a function is not run now.

    Attributes:
        seconds: Until it may be.
    """

    termination: Termination
    seconds: float


@attrs.frozen(kw_only=True)
class Change:
    """
    A function stands otherwise than before.

    Attributes:
        reason: Why, in a few words.
        seconds: Of a quarantine: how long its errors last.
    """

    function: str
    standing: Standing
    reason: str
    strikes: int = 0
    seconds: float = 0


@attrs.frozen(kw_only=True)
class Record:
    """
    What there is to say of a function that is not free.

    Attributes:
        strikes: Their weight.
        deaths: Processes that ended under it, in the window.
        refused: Seconds for which it is still answered for with an error.
        ends: Seconds until it is free if nothing happens.
        quarantines: How many it has had lately.
    """

    function: str
    standing: Standing
    termination: Termination
    strikes: int
    deaths: int
    refused: float
    ends: float
    quarantines: int


@attrs.frozen(eq=False)
class _Death:
    at: float


@attrs.define(eq=False)
class _Docket:
    """
    What is held against one function.

    Attributes:
        home: The process that it shares when it is free.
        deaths: Those that it may have caused, with the weight that they have against it.
        apart: It runs in a process of its own.
        cleared: The process that it shared ended again without it.
        convicted_at: When it was quarantined last, of late.
        until: When the errors end.
    """

    home: str
    termination: Termination
    deaths: dict[_Death, int] = attrs.Factory(dict)
    growths: list[float] = attrs.Factory(list)
    apart: bool = False
    cleared: bool = False
    quarantined: bool = False
    quarantines: int = 0
    convicted_at: float = 0
    until: float = 0

    @property
    def strikes(self) -> int:
        return sum(self.deaths.values())

    @property
    def standing(self) -> Standing:
        if self.quarantined:
            return Standing.QUARANTINED
        return Standing.SUSPECT if self.apart else Standing.FREE


@attrs.define(eq=False)
class Blame:
    """
    Functions are known by their names, which are unique here.

    Attributes:
        apart: Those that run in processes of their own.
    """

    policy: BlamePolicy = attrs.Factory(BlamePolicy)
    apart: set[str] = attrs.Factory(set)
    _dockets: dict[str, _Docket] = attrs.Factory(dict)

    def died(
        self,
        now: float,
        home: str,
        termination: Termination,
        suspects: Mapping[str, bool],
        chance: float = 0.5,
    ) -> list[Change]:
        """
        A process has ended.

        Args:
            home: What the process is called: the same for all that ever share it.
            suspects: The functions that may have been running in it; whether that is likely.
            chance: In [0, 1), spreads the ends of quarantines.
        """
        self._forget(now)
        death = _Death(now)
        likely = [function for function in suspects if suspects[function]]
        for function in suspects:
            docket = self._docket(function, home, termination)
            docket.deaths[death] = 2 if likely == [function] else 1
            docket.cleared = False
        if len(suspects) == 1:
            (function,) = suspects
            if self._guilty(function):
                return self._convict(function, now, chance)
        self._exonerate(home, suspects)
        return self._separate(home, suspects, "its process ended")

    def grew(self, now: float, home: str, suspects: Mapping[str, bool]) -> list[Change]:
        """
        A process that functions share has outgrown its memory and is replaced; nobody was harmed.
        """
        self._forget(now)
        often = []
        for function in suspects:
            docket = self._docket(function, home, Termination.MEMORY)
            docket.growths.append(now)
            if len(docket.growths) >= self.policy.growths:
                often.append(function)
        return self._separate(home, {each: suspects[each] for each in often}, "its process grew")

    def refusal(self, function: str, now: float) -> Refusal | None:
        """
        Whether the function is not to be run now.
        """
        docket = self._dockets.get(function)
        if docket is None or docket.until <= now:
            return None
        return Refusal(termination=docket.termination, seconds=docket.until - now)

    def pardon(self, function: str, reason: str) -> list[Change]:
        """
        Forget all that is held against a function: it was deployed anew or removed, or somebody
        answers for it.
        """
        docket = self._dockets.pop(function, None)
        return [] if docket is None else self._free(function, docket, reason)

    def tick(self, now: float) -> list[Change]:
        """
        What time has done. To be called every second or so.
        """
        if not self._dockets:
            return []
        return self._forget(now)

    def records(self, now: float) -> list[Record]:
        """
        All functions that are not free, by name.
        """
        return [
            Record(
                function=function,
                standing=docket.standing,
                termination=docket.termination,
                strikes=docket.strikes,
                deaths=len(docket.deaths),
                refused=max(0.0, docket.until - now),
                ends=max(0.0, self._ends(docket) - now),
                quarantines=docket.quarantines,
            )
            for function, docket in sorted(self._dockets.items())
            if docket.apart
        ]

    # Justice.

    def _docket(self, function: str, home: str, termination: Termination) -> _Docket:
        docket = self._dockets.get(function)
        if docket is None:
            docket = self._dockets[function] = _Docket(home, termination)
        if not docket.apart:
            docket.home = home
        docket.termination = termination
        return docket

    def _guilty(self, function: str) -> bool:
        docket = self._dockets[function]
        return docket.quarantines > 0 or docket.strikes >= self.policy.strikes

    def _convict(self, function: str, now: float, chance: float) -> list[Change]:
        docket = self._dockets[function]
        pause = min(self.policy.most, self.policy.first * 2 ** min(docket.quarantines, 16))
        docket.quarantines += 1
        docket.quarantined = docket.apart = True
        docket.convicted_at = now
        docket.until = now + pause * (0.75 + chance / 2)
        self.apart.add(function)
        change = Change(
            function=function,
            standing=Standing.QUARANTINED,
            reason=f"it {WORDS[docket.termination]}",
            strikes=docket.strikes,
            seconds=docket.until - now,
        )
        return [change, *self._clear_others(function)]

    def _clear_others(self, culprit: str) -> list[Change]:
        """
        Who was beside the culprit each time is a suspect no more.
        """
        known = self._dockets[culprit].deaths
        changes: list[Change] = []
        for function, docket in list(self._dockets.items()):
            if function == culprit:
                continue
            before = len(docket.deaths)
            docket.deaths = {
                death: weight for death, weight in docket.deaths.items() if death not in known
            }
            if len(docket.deaths) < before and not docket.deaths and not docket.quarantined:
                changes += self._free(function, docket, "another function did it")
        return changes

    def _exonerate(self, home: str, suspects: Collection[str]) -> None:
        for function, docket in self._dockets.items():
            if docket.apart and docket.home == home and function not in suspects:
                docket.cleared = True

    def _separate(self, home: str, suspects: Mapping[str, bool], reason: str) -> list[Change]:
        """
        Give suspects processes of their own, as many as there are places: the likely ones first, of
        these those with the most strikes.
        """

        def rank(function: str) -> tuple[bool, int]:
            return suspects[function], self._dockets[function].strikes

        changes: list[Change] = []
        for function in sorted(suspects, key=rank, reverse=True):
            docket = self._dockets[function]
            if docket.apart or not (suspects[function] or len(docket.deaths) >= _AGAIN):
                continue
            if not self._place_in(home):
                cleared = self._cleared_in(home)
                if cleared is None:
                    break
                reason = "its process ended again without it"
                changes += self._free(cleared, self._dockets[cleared], reason)
            docket.apart = True
            self.apart.add(function)
            changes.append(
                Change(
                    function=function,
                    standing=Standing.SUSPECT,
                    reason=reason,
                    strikes=docket.strikes,
                )
            )
        return changes

    def _place_in(self, home: str) -> bool:
        suspects = (
            docket
            for docket in self._dockets.values()
            if docket.apart and docket.home == home and not docket.quarantined
        )
        return sum(1 for _ in suspects) < self.policy.places

    def _cleared_in(self, home: str) -> str | None:
        for function, docket in self._dockets.items():
            if docket.home == home and docket.cleared and not docket.quarantined:
                return function
        return None

    def _free(self, function: str, docket: _Docket, reason: str) -> list[Change]:
        """
        Let it back among the others. That it was quarantined is remembered.
        """
        docket.deaths.clear()
        docket.growths.clear()
        docket.quarantined = docket.cleared = False
        docket.until = 0
        if not docket.apart:
            return []
        docket.apart = False
        self.apart.discard(function)
        return [Change(function=function, standing=Standing.FREE, reason=reason)]

    # Time.

    def _ends(self, docket: _Docket) -> float:
        """
        When a function that is apart will be free.
        """
        last = max((death.at for death in docket.deaths), default=0.0)
        grown = max(docket.growths, default=0.0)
        ends = max(last, grown) + self.policy.window
        if docket.quarantined:
            pause = docket.until - docket.convicted_at
            ends = max(ends, docket.until + _CALM_FACTOR * pause)
        return ends

    def _forget(self, now: float) -> list[Change]:
        changes: list[Change] = []
        for function, docket in list(self._dockets.items()):
            over = docket.apart and self._ends(docket) <= now
            since = now - self.policy.window
            for death in [death for death in docket.deaths if death.at <= since]:
                del docket.deaths[death]
            docket.growths = [at for at in docket.growths if at > since]
            if over:
                changes += self._free(function, docket, "it has been calm")
            if docket.apart or docket.deaths or docket.growths:
                continue
            if not docket.quarantines or now - docket.convicted_at > self.policy.relapse:
                del self._dockets[function]
        return changes
