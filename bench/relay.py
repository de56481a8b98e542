"""
What the relay costs, before one and the same static Worker: hit directly, through the relay alone
in a process, through nginx; and both before a responder that costs next to nothing.
"""

import contextlib
import shutil
import tempfile
from pathlib import Path
from typing import Any, Final

from bench.processes import Target, find_workerd, nginx, relay, workerd
from bench.rounds import compare, paired
from bench.table import rates

CONNECTIONS: Final = (1, 32, 256)
RATIOS: Final = {
    "relay ÷ raw": ("relay", "raw"),
    "nginx ÷ raw": ("nginx", "raw"),
    "relay ÷ nginx": ("relay", "nginx"),
}
_FAST: Final = {"relay ÷ nginx": ("relay, fast", "nginx, fast")}


def run(seconds: float, rounds: int) -> dict[str, Any]:
    """
    Everything.
    """
    binary = find_workerd()
    assert binary is not None  # See `bench.__main__`.
    has_nginx = shutil.which("nginx") is not None
    with tempfile.TemporaryDirectory(prefix="wf-bench-") as name, contextlib.ExitStack() as stack:
        directory = Path(name)
        cell, fast = directory / "raw", directory / "fast"
        targets: list[Target] = [
            stack.enter_context(workerd("raw", binary, directory)),
            stack.enter_context(relay("relay", directory, cell)),
        ]
        fast_targets: list[Target] = []
        if has_nginx:
            targets.append(stack.enter_context(nginx("nginx", directory, cell, responder=True)))
            fast_targets = [
                stack.enter_context(relay("relay, fast", directory, fast)),
                stack.enter_context(nginx("nginx, fast", directory, fast)),
            ]
        clients = {
            str(count): with_ratios(compare(targets, count, seconds, rounds), RATIOS)
            for count in CONNECTIONS
        }
        # What the relay itself can carry.
        fast_clients = {}
        if fast_targets:
            fast_clients = {"32": with_ratios(compare(fast_targets, 32, seconds, rounds), _FAST)}
    return {"clients": clients, "fast_responder": fast_clients}


def with_ratios(
    measured: dict[str, dict[str, Any]], ratios: dict[str, tuple[str, str]]
) -> dict[str, Any]:
    """
    What was measured, with how it compares.
    """
    compared = {
        name: paired(measured[one], measured[other])
        for name, (one, other) in ratios.items()
        if one in measured and other in measured
    }
    return {"measured": measured, "ratios": compared}


def show(document: dict[str, Any]) -> str:
    """
    For people.
    """
    shown = rates(document["clients"])
    if document["fast_responder"]:
        shown += "\n\nbefore a responder that costs next to nothing:\n"
        shown += rates(document["fast_responder"])
    return shown
