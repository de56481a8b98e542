"""One process that answers HTTP on a unix socket, as the relay and the supervisor share it."""

from collections.abc import Callable

import attrs


@attrs.define(eq=False)
class Upstream:
    """
    A ready cell (or the API). The supervisor makes and retires it; the relay counts requests in
    and out and keeps its idle connections.

    Attributes:
        address: Path of the unix socket.
        label: What to call it in logs.
        in_flight: Requests and tunnels begun and not ended.
        served: Requests begun since it was made.
        retired: No new request may begin; see `retire`.
    """

    address: str
    label: str
    in_flight: int = 0
    served: int = 0
    retired: bool = False
    _on_empty: list[Callable[[], None]] = attrs.Factory(list)
    _on_retired: list[Callable[[], None]] = attrs.Factory(list)

    def begin(self) -> None:
        """
        A request goes to it.
        """
        self.in_flight += 1
        self.served += 1

    def end(self) -> None:
        """
        That request is over, however it ended.
        """
        self.in_flight -= 1
        if not self.in_flight:
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
