"""What the standings of functions need of the runtime."""

from collections.abc import Sequence
from typing import Protocol

import attrs

from workerd_faas.domain.blame import Record


@attrs.frozen(kw_only=True)
class Process:
    """
    A process that runs functions. Sizes are in bytes, times in seconds.

    Attributes:
        account_id: Whose functions; None: everybody's.
        function: The only one that it runs; None: several.
        loaded: Versions in it.
        data: What counts against its memory limit.
    """

    account_id: str | None
    function: str | None
    state: str
    in_flight: int
    served: int
    loaded: int
    data: int
    age: float


class Custody(Protocol):
    """
    Who keeps functions apart.
    """

    def records(self) -> Sequence[Record]:
        """
        All functions that are not free.
        """

    def processes(self) -> Sequence[Process]:
        """
        All processes of functions.
        """

    def release(self, function: str) -> bool:
        """
        Let a function be as any other; returns whether it was not.
        """
