"""When to start a cell again that keeps dying. Pure: time and chance are passed in."""

from typing import Final

import attrs

FIRST: Final = 0.1
MOST: Final = 30.0
CALM: Final = 60.0


@attrs.define
class Backoff:
    """
    The first restart is immediate, the following ones wait ever longer, until a cell has lived for
    `CALM` seconds.

    Attributes:
        failures: Deaths since then.
        until: No start before this moment.
    """

    failures: int = 0
    until: float = 0.0

    def died(self, now: float, lived: float | None, chance: float) -> None:
        """
        A cell ended without being asked to.

        Args:
            now: Seconds on a clock that does not go back.
            lived: How long it was ready; None if it never was.
            chance: In [0, 1), spreads the restarts of many.
        """
        if lived is not None and lived >= CALM:
            self.failures = 0
        if self.failures:
            # The exponent is bounded so that the power of two stays a small number.
            delay = min(MOST, FIRST * 2 ** min(self.failures - 1, 16))
            self.until = now + delay * (0.75 + chance / 2)
        else:
            self.until = now
        self.failures += 1

    def remaining(self, now: float) -> float:
        """
        Seconds to wait before the next start.
        """
        return max(0.0, self.until - now)

    def reset(self) -> None:
        """
        Forget all of it: an operator asked for a fresh start, or the reason is gone.
        """
        self.failures, self.until = 0, 0.0
