"""One process that answers HTTP on a unix socket, as the relay and the supervisor share it."""

from collections.abc import Callable, Iterable
from typing import Final

import attrs

from workerd_faas.domain.termination import Verdict

_HALF_A_MINUTE: Final = 30.0


@attrs.define(eq=False)
class Upstream:
    """
    A ready cell (or the API). The supervisor makes and retires it; the relay counts requests in
    and out and keeps its idle connections. When the process has ended, the supervisor says why.

    Attributes:
        address: Path of the unix socket.
        label: What to call it in logs.
        in_flight: Requests and tunnels begun and not ended.
        served: Requests begun since it was made.
        retired: No new request may begin; see `retire`.
        recent: Functions with requests begun since the process's last sign of life.
        earlier: The same of some time before that; `lately` has a minute.
        witnesses: Who can tell the functions with requests in flight; by themselves.
        verdict: Why the process ended.
    """

    address: str
    label: str
    in_flight: int = 0
    served: int = 0
    retired: bool = False
    recent: set[str] = attrs.Factory(set)
    earlier: set[str] = attrs.Factory(set)
    witnesses: "dict[object, Callable[[Upstream], Iterable[str]]]" = attrs.Factory(dict)
    verdict: Verdict | None = None
    _before: set[str] = attrs.Factory(set)
    _forget_at: float = 0.0
    _on_empty: list[Callable[[], None]] = attrs.Factory(list)
    _on_retired: list[Callable[[], None]] = attrs.Factory(list)
    _on_last_call: dict[Callable[[], None], None] = attrs.Factory(dict)
    _on_ended: list[Callable[[Verdict], None]] = attrs.Factory(list)

    def begin(self, function: str = "") -> None:
        """
        A request to this function goes to it.
        """
        self.in_flight += 1
        self.served += 1
        self.recent.add(function)

    def end(self) -> None:
        """
        That request is over, however it ended.
        """
        self.in_flight -= 1
        if not self.in_flight and self._on_empty:
            waiting, self._on_empty = self._on_empty, []
            for callback in waiting:
                callback()

    def when_empty(self, callback: Callable[[], None]) -> None:
        """
        Call once as soon as nothing is in flight, at once if nothing is.
        """
        if self.in_flight:
            self._on_empty.append(callback)
        else:
            callback()

    def when_retired(self, callback: Callable[[], None]) -> None:
        """
        Call once when it is retired: whoever keeps idle connections closes them then.
        """
        if self.retired:
            callback()
        else:
            self._on_retired.append(callback)

    def retire(self) -> None:
        """
        Send it nothing new; what is in flight goes on. Idempotent.
        """
        if not self.retired:
            self.retired = True
            waiting, self._on_retired = self._on_retired, []
            for callback in waiting:
                callback()

    def last_call(self) -> None:
        """
        The time to finish is over: who still has a conversation with it should end that properly.
        Called once, after `retire` and before the process is told to end.
        """
        waiting, self._on_last_call = self._on_last_call, {}
        for callback in waiting:
            callback()

    def when_last_called(self, callback: Callable[[], None]) -> Callable[[], None]:
        """
        Call at `last_call`.

        Returns:
            A function that takes the wish back.
        """
        self._on_last_call[callback] = None
        return lambda: self._on_last_call.pop(callback, None)

    def sign_of_life(self, now: float) -> None:
        """
        The process has just answered the supervisor.

        Args:
            now: Seconds on a clock that does not go back.
        """
        self.earlier |= self.recent
        self.recent = set()
        if now >= self._forget_at:
            self._forget_at = now + _HALF_A_MINUTE
            self._before, self.earlier = self.earlier, set()

    def running(self) -> set[str]:
        """
        The functions that may be running: with requests in flight, or begun since the last sign of
        life. What follows an answer (`waitUntil`) is not seen from here.
        """
        found = self.recent.copy()
        for in_flight in self.witnesses.values():
            found.update(in_flight(self))
        found.discard("")
        return found

    def lately(self) -> set[str]:
        """
        The functions that have run here in the last half a minute at least, in the last minute at
        most.
        """
        found = self.recent | self.earlier | self._before
        found.discard("")
        return found

    def ended(self, verdict: Verdict) -> None:
        """
        The process is gone. Called once, after `retire`.
        """
        self.verdict = verdict
        waiting, self._on_ended = self._on_ended, []
        for callback in waiting:
            callback(verdict)

    def when_ended(self, callback: Callable[[Verdict], None]) -> Callable[[], None]:
        """
        Call once when the process is gone, at once if it is.

        Returns:
            A function that takes the wish back.
        """
        if self.verdict is not None:
            callback(self.verdict)
            return lambda: None
        self._on_ended.append(callback)

        def take_back() -> None:
            if callback in self._on_ended:
                self._on_ended.remove(callback)

        return take_back
