"""What the end of a cell is taken for."""

from typing import Any

import pytest

from workerd_faas.domain.termination import Termination
from workerd_faas.runtime.autopsy import is_blamed, termination
from workerd_faas.runtime.cell import Cause, Death
from workerd_faas.runtime.process import Exit
from workerd_faas.runtime.quarantine import oom_kills

KILLED = Exit(None, 9)
TRAPPED = Exit(None, 5)
FULL = 700


def death(cause: Cause, how: Exit | None = KILLED, **more: Any) -> Death:
    """
    The end of a cell that had been ready.
    """
    return Death(**{"cause": cause, "how": how, "in_flight": 1, "lived": 1.0, **more})


@pytest.mark.parametrize(
    ("ended", "found", "blamed"),
    [
        (death(Cause.ASKED, Exit(0, None)), None, False),
        (death(Cause.CRASHED, Exit(1, None), lived=None), None, False),
        (death(Cause.NOT_STARTED, lived=None), None, False),
        (death(Cause.OVER_CPU), Termination.CPU, True),
        (death(Cause.HUNG, computed=2.0), Termination.CPU, True),
        (death(Cause.HUNG, computed=2.0, data=FULL), Termination.MEMORY, True),
        (death(Cause.HUNG, computed=0.0), Termination.TIMEOUT, False),
        (death(Cause.CRASHED, TRAPPED), Termination.CRASH, True),
        # It was about to end by itself when it was killed.
        (
            death(Cause.HUNG, computed=2.0, last_words=("#", "# Fatal error with no security")),
            Termination.CRASH,
            True,
        ),
        (
            death(Cause.HUNG, computed=2.0, last_words=("", "<--- Last few GCs --->")),
            Termination.MEMORY,
            True,
        ),
        (death(Cause.HUNG, TRAPPED, computed=2.0), Termination.CRASH, True),
        (death(Cause.CRASHED, Exit(1, None)), Termination.CRASH, True),
        (
            death(Cause.CRASHED, Exit(1, None), last_words=("<--- Last few GCs --->",)),
            Termination.MEMORY,
            True,
        ),
        # It spoke of memory once, but that is not what ended it.
        (death(Cause.HUNG, computed=2.0, last_words=("allocation failed",)), Termination.CPU, True),
        (death(Cause.CRASHED, KILLED), Termination.CRASH, False),
    ],
)
def test_causes(ended: Death, found: Termination | None, blamed: bool) -> None:
    """Each way to end has its name, and nobody is blamed for what others did to the process."""
    assert termination(ended, full=FULL) is found
    assert is_blamed(ended, found) is blamed


def test_out_of_memory_killer() -> None:
    """SIGKILL from outside is memory's doing if the kernel has killed for want of memory."""
    ended = death(Cause.CRASHED, KILLED)
    found = termination(ended, full=FULL, short_of_memory=True)
    assert (found, is_blamed(ended, found)) == (Termination.MEMORY, True)


def test_oom_kills(tmp_path: Any) -> None:
    """The kernel's count is read, and is 0 where there is none."""
    assert oom_kills(tmp_path) == 0
    (tmp_path / "vmstat").write_text("nr_free_pages 12\noom_kill 3\n")
    assert oom_kills(tmp_path) == 3
