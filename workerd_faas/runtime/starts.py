"""Whether workerd can be started: what becomes of the starts of cells."""

from collections.abc import Iterable
from typing import Final

import attrs

from workerd_faas.runtime.cell import Cause, Cell, Death, State

_FAILED: Final = 2
"""So many starts of workerd running that come to nothing are not chance."""


@attrs.define(eq=False)
class Starts:
    """
    Attributes:
        made: Cells so far.
        crashed: Those that ended without being asked to.
    """

    made: int = 0
    crashed: int = 0
    _failed: int = 0
    _failed_at: float = 0.0

    def died(self, death: Death, now: float) -> None:
        """
        One has ended.
        """
        if death.lived is not None:
            self._failed = 0
        elif death.cause is not Cause.ASKED:
            self._failed += 1
            self._failed_at = now
        if death.cause is not Cause.ASKED:
            self.crashed += 1

    def possible(self, cells: Iterable[Cell], now: float) -> bool:
        """
        Whether one that is started would come up, as far as is known.
        """
        since = now - self._failed_at
        return self._failed < _FAILED or any(
            cell.state is State.READY and cell.age < since for cell in cells
        )
