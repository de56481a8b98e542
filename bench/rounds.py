"""
Things that are compared take turns, round by round, so that whatever else the machine does hits
them alike; what counts are medians, and ratios within one run.
"""

import contextlib
import os
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import attrs

from bench.load import Load


class Target(Protocol):
    """
    Something that is measured.
    """

    @property
    def name(self) -> str:
        """
        What the table calls it.
        """

    def cpu(self) -> Mapping[str, float]:
        """
        Seconds of processor time used so far, by process.
        """

    def put(self, connections: int, seconds: float) -> Load:
        """
        Load on it.
        """


@attrs.frozen(kw_only=True)
class Round:
    """
    One target, once.

    Attributes:
        cpu: Processor seconds by process.
    """

    load: Load
    cpu: Mapping[str, float]


def measure(target: Target, connections: int, seconds: float) -> Round:
    """
    One round.
    """
    before = target.cpu()
    load = target.put(connections, seconds)
    after = target.cpu()
    return Round(load=load, cpu={name: after[name] - before.get(name, 0.0) for name in after})


def compare(
    targets: Sequence[Target], connections: int, seconds: float, rounds: int
) -> dict[str, dict[str, Any]]:
    """
    All targets in turn, `rounds` times, forwards and backwards.
    """
    taken: dict[str, list[Round]] = {target.name: [] for target in targets}
    for target in targets:
        measure(target, connections, min(1.0, seconds))
    for number in range(rounds):
        for target in targets if number % 2 == 0 else list(reversed(targets)):
            taken[target.name].append(measure(target, connections, seconds))
    return {name: summary(each) for name, each in taken.items()}


def summary(rounds: Sequence[Round]) -> dict[str, Any]:
    """
    Medians, and how far the rounds were apart.
    """
    rates = [each.load.rate for each in rounds]
    middle = statistics.median(rates)
    cpu = {
        name: round(
            statistics.median(
                each.cpu.get(name, 0.0) / max(1, each.load.requests) * 1e6 for each in rounds
            ),
            1,
        )
        for name in rounds[-1].cpu
    }
    return {
        "requests_per_second": round(middle),
        "each": [round(rate) for rate in rates],
        "spread": round((max(rates) - min(rates)) / middle, 3) if middle else None,
        "p50_ms": round(statistics.median(each.load.p50 for each in rounds) * 1e3, 3),
        "p99_ms": round(statistics.median(each.load.p99 for each in rounds) * 1e3, 3),
        "cpu_us": cpu,
        "errors": sum(each.load.errors for each in rounds),
    }


def paired(these: Mapping[str, Any], those: Mapping[str, Any]) -> float:
    """
    How these compare with those: the median of the ratios of rounds that followed one another,
    which noise that lasts longer than a round does not change.
    """
    ratios = [one / other for one, other in zip(these["each"], those["each"], strict=True)]
    return round(float(statistics.median(ratios)), 3)


def spent(pid: int) -> float:
    """
    Seconds of processor time that a process has used, all its threads together.
    """
    total = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(FileNotFoundError):
            total += int((task / "schedstat").read_text("ascii").split()[0])
    return total / 1e9


@attrs.frozen(kw_only=True)
class Noise:
    """
    How evenly the machine ran: the time of one and the same computation, many times.
    """

    least_ms: float
    median_ms: float
    most_ms: float
    load: float


def noise(times: int = 20) -> Noise:
    """
    Now.
    """
    took = sorted(_timed(lambda: sum(range(200_000))) * 1e3 for _ in range(times))
    return Noise(
        least_ms=round(took[0], 2),
        median_ms=round(took[len(took) // 2], 2),
        most_ms=round(took[-1], 2),
        load=round(os.getloadavg()[0], 2),
    )


def _timed(work: Callable[[], Any]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began
