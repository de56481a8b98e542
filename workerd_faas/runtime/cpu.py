"""How much CPU time a process may have. Pure: what it had is passed in."""

import attrs


@attrs.frozen(kw_only=True)
class CpuLimit:
    """
    Times are in seconds.

    A process that answers many requests may be busy all the time. One that is busy all the time and
    answers few does something that nobody waits for, or hopes to hide behind pauses.

    Attributes:
        seconds: CPU time in one window.
        window: How long a window is.
        request: CPU time that each request adds.
    """

    seconds: float = 90.0
    window: float = 120.0
    request: float = 1.0


@attrs.define
class CpuMeter:
    """
    The CPU time of one process in the present window. What a busy machine does not let it have is
    not held against it.
    """

    limit: CpuLimit
    _began: float | None = None
    _cpu: float = 0.0
    _served: int = 0

    def over(self, now: float, cpu: float, served: int) -> bool:
        """
        Whether it is too much.

        Args:
            now: Seconds on a clock that does not go back.
            cpu: Seconds of CPU time that the process has had in its life.
            served: Requests that it was given.
        """
        limit = self.limit
        if self._began is None or now - self._began >= limit.window:
            self._began, self._cpu, self._served = now, cpu, served
            return False
        return cpu - self._cpu > limit.seconds + limit.request * (served - self._served)
