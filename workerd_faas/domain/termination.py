"""How a function's process can end under it, and what its callers are told of that."""

import enum
from typing import Final

import attrs


class Termination(enum.Enum):
    """
    The value of the answer's header `X-Workerd-Faas-Termination`.
    """

    CPU = "cpu"
    MEMORY = "memory"
    CRASH = "crash"
    TIMEOUT = "timeout"


WORDS: Final = {
    Termination.CPU: "used too much CPU time",
    Termination.MEMORY: "used too much memory",
    Termination.CRASH: "crashed",
    Termination.TIMEOUT: "did not answer in time",
}
"""What a process did that ended so."""


@attrs.frozen(kw_only=True)
class Verdict:
    """
    What the requests in flight in a process that is gone are told.

    Attributes:
        termination: Why it ended; None: the platform has ended it for reasons of its own.
        again: Whether a request that can safely be repeated is tried once more.
    """

    termination: Termination | None
    again: bool
