"""One process that answers HTTP on a unix socket, as the relay and the supervisor share it."""

from collections.abc import Callable

import attrs

from workerd_faas.domain.termination import Verdict


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
        functions: Requests in flight by function. Those that have had none for a while are left out
            when the process gives a sign of life.
        abandoned: Functions with requests that nobody waits for any more, since then.
        verdict: Why the process ended.
    """

    address: str
    label: str
    in_flight: int = 0
    served: int = 0
    retired: bool = False
    functions: dict[str, int] = attrs.Factory(dict)
    abandoned: set[str] = attrs.Factory(set)
    verdict: Verdict | None = None
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
        functions = self.functions
        functions[function] = functions.get(function, 0) + 1

    def end(self, function: str = "", *, abandoned: bool = False) -> None:
        """
        That request is over, however it ended.

        Args:
            abandoned: Nobody waits for it any more, but the function may still run.
        """
        self.in_flight -= 1
        self.functions[function] -= 1
        if abandoned:
            self.abandoned.add(function)
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

    def sign_of_life(self) -> None:
        """
        It has just answered the supervisor: what was over by now is not what stops it later.
        """
        self.abandoned.clear()
        self.functions = {name: count for name, count in self.functions.items() if count}

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
