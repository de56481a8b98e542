"""
Several processors: one busy account, two, and one that may have two cells. Each request computes
for about a millisecond, as those who want more than one core do.
"""

import contextlib
from typing import Any, Final

from bench.daemons import Daemon, running
from bench.processes import Target
from bench.rounds import compare, paired
from bench.table import rates

_BUSY: Final = """
export default { fetch() {
  let sum = 0;
  for (let i = 0; i < 400000; i++) sum = (sum * 31 + i) % 1000003;
  return new Response(String(sum));
} };
"""
RATIOS: Final = {
    "two accounts ÷ one": ("two accounts", "one account"),
    "one account with two cells ÷ one": ("two cells", "one account"),
}


def run(seconds: float, rounds: int) -> dict[str, Any]:
    """
    Everything.
    """
    with contextlib.ExitStack() as stack:
        one = stack.enter_context(running())
        crowd = stack.enter_context(running(CELLS_PER_ACCOUNT="2"))
        for daemon in (one, crowd):
            daemon.upload("busy-1", _BUSY)
        one.token, one.account = one.new_token("another")
        one.upload("busy-2", _BUSY)
        targets = [
            _target(one, "one account", "busy-1"),
            _target(one, "two accounts", "busy-1", "busy-2"),
            _target(crowd, "two cells", "busy-1"),
        ]
        for target in targets:
            target.put(16, 4.0)
        measured = compare(targets, 16, seconds, rounds)
    ratios = {name: paired(measured[a], measured[b]) for name, (a, b) in RATIOS.items()}
    return {"clients": {"16": {"measured": measured, "ratios": ratios}}}


def _target(daemon: Daemon, name: str, *functions: str) -> Target:
    assert daemon.process is not None
    hosts = tuple(f"{function}.{daemon.base_domain}" for function in functions)
    return Target(name, str(daemon.port), {"relay": daemon.process.pid}, (), hosts)


def show(document: dict[str, Any]) -> str:
    """
    For people.
    """
    return rates(document["clients"])
