"""Why a cell ended, and whether what ran in it is to blame. Pure."""

import re
import signal
from typing import Final

from workerd_faas.domain.termination import Termination
from workerd_faas.runtime.cell import Cause, Death

MEMORY_WORDS: Final = re.compile(
    r"out of memory|heap limit|bad_alloc|mmap|allocation fail|allocate memory|Unable to allocate"
    r"|Last few GCs",
    re.I,
)
"""What V8, tcmalloc and workerd say when an allocation fails."""

_DYING_OF_MEMORY: Final = "<--- Last few GCs --->"
_DYING: Final = "# Fatal "
"""V8's words before it ends the process, which takes its time on a busy machine."""

_COMPUTED: Final = 0.25
"""
Seconds of CPU time without an answer: what had less did not hang by itself but was stopped, or the
machine had no time for it.
"""


def termination(death: Death, *, full: int, short_of_memory: bool = False) -> Termination | None:
    """
    What callers are told; None when the platform has ended it for reasons of its own, or it never
    ran.

    Args:
        full: Bytes of data from which a process counts as full.
        short_of_memory: The kernel has killed a process for want of memory meanwhile.
    """
    if death.cause is Cause.ASKED or death.lived is None:
        return None
    if death.cause is Cause.OVER_CPU:
        return Termination.CPU
    words = "\n".join(death.last_words)
    if _DYING_OF_MEMORY in words or (not _was_killed(death) and MEMORY_WORDS.search(words)):
        return Termination.MEMORY
    if _DYING in words:
        return Termination.CRASH
    if death.data >= full:
        # An isolate that is nearly full does nothing but collect garbage: it seems to hang.
        return Termination.MEMORY
    if death.cause is Cause.HUNG and _was_killed(death):
        return Termination.CPU if death.computed >= _COMPUTED else Termination.TIMEOUT
    if _was_killed(death) and short_of_memory:
        return Termination.MEMORY
    return Termination.CRASH


def is_blamed(death: Death, found: Termination | None) -> bool:
    """
    Whether code can have done it. A process that somebody kills or stops has done nothing.
    """
    if found in (None, Termination.TIMEOUT):
        return False
    by_others = death.cause is Cause.CRASHED and _was_killed(death)
    return found is not Termination.CRASH or not by_others


def _was_killed(death: Death) -> bool:
    return death.how is not None and death.how.signal == signal.SIGKILL
