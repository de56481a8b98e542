"""How many bytes of reports may come: for each cell, and for all of them together. Pure."""

from collections.abc import Sequence

import attrs


@attrs.define(kw_only=True)
class Budget:
    """
    At most `burst` bytes at once and `per_second` in the long run.

    Whoever sends is asked to wait for as long as it has overdrawn; who does not wait is refused
    when it has overdrawn by another `burst`.
    """

    per_second: float
    burst: float
    _left: float = attrs.field(init=False)
    _at: float | None = None

    @_left.default
    def _full(self) -> float:
        return self.burst

    def refuses(self, now: float) -> bool:
        """
        Whether it is overdrawn too far, at `now` (seconds on any clock that does not go back).
        """
        if self._at is not None:
            self._left = min(self.burst, self._left + (now - self._at) * self.per_second)
        self._at = now
        return self._left < -self.burst

    def spend(self, size: int) -> float:
        """
        Take so many bytes; returns how many seconds to wait before the next ones.
        """
        self._left -= size
        return max(0.0, -self._left / self.per_second)


def spend(budgets: Sequence[Budget], size: int, now: float) -> float | None:
    """
    Take bytes from all of these; returns how many seconds to wait, None if one of them refuses.
    """
    if any(budget.refuses(now) for budget in budgets):
        return None
    return max(budget.spend(size) for budget in budgets)
