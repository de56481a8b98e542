"""
What the relay costs: the same workerd hit directly, through the relay, and through nginx.

All are up at once and take turns, round by round, so that whatever else the machine does hits them
alike; the medians of the rounds are compared.
"""

import argparse
import contextlib
import datetime
import json
import platform
import shutil
import statistics
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import attrs

from bench.load import Load, generator, put
from bench.processes import Target, find_workerd, nginx, relay, workerd

CONNECTIONS: Final = (1, 32, 256)


@attrs.frozen(kw_only=True)
class Round:
    """
    One target, once.

    Attributes:
        cpu: Processor seconds of the target's process.
    """

    load: Load
    cpu: float


def measure(target: Target, connections: int, seconds: float) -> Round:
    """
    One round.
    """
    before = target.cpu()
    load = put(target.port, connections=connections, seconds=seconds)
    return Round(load=load, cpu=target.cpu() - before)


def summary(rounds: Sequence[Round]) -> dict[str, Any]:
    """
    Medians, and how far the rounds were apart.
    """
    rates = [each.load.rate for each in rounds]
    middle = statistics.median(rates)
    costs = [each.cpu / max(1, each.load.requests) * 1e6 for each in rounds]
    return {
        "requests_per_second": round(middle),
        "spread": round((max(rates) - min(rates)) / middle, 3) if middle else None,
        "p50_ms": round(statistics.median(each.load.p50 for each in rounds) * 1e3, 3),
        "p99_ms": round(statistics.median(each.load.p99 for each in rounds) * 1e3, 3),
        "cpu_us": round(statistics.median(costs), 1),
        "cpu_us_least": round(min(costs), 1),
        "errors": sum(each.load.errors for each in rounds),
    }


def compare(
    targets: Sequence[Target], connections: int, seconds: float, rounds: int
) -> dict[str, dict[str, Any]]:
    """
    All targets in turn, `rounds` times.
    """
    taken: dict[str, list[Round]] = {target.name: [] for target in targets}
    for target in targets:
        measure(target, connections, min(1.0, seconds))
    for number in range(rounds):
        turn = targets if number % 2 == 0 else list(reversed(targets))
        for target in turn:
            taken[target.name].append(measure(target, connections, seconds))
    return {name: summary(each) for name, each in taken.items()}


def table(results: dict[str, dict[str, dict[str, Any]]]) -> str:
    """
    For people.
    """
    lines = [
        f"{'':14}{'clients':>8}{'req/s':>9}{'÷ raw':>8}{'÷ nginx':>9}{'p50 ms':>9}{'+ p50':>8}"
        f"{'CPU µs':>8}{'least':>7}{'spread':>8}{'errors':>8}"
    ]
    for connections, by_name in results.items():
        raw, nginx_ = by_name.get("workerd"), by_name.get("nginx")
        for name, one in by_name.items():
            rate = one["requests_per_second"]
            lines.append(
                f"{name:14}{connections:>8}{rate:>9}{_ratio(rate, raw):>8}{_ratio(rate, nginx_):>9}"
                f"{one['p50_ms']:>9}{one['p50_ms'] - (raw or one)['p50_ms']:>8.3f}"
                f"{one['cpu_us']:>8}{one['cpu_us_least']:>7}{one['spread']:>8}{one['errors']:>8}"
            )
    return "\n".join(lines)


def _ratio(rate: float, other: dict[str, Any] | None) -> str:
    return "-" if not other else f"{rate / other['requests_per_second']:.2f}"


def run(seconds: float, rounds: int) -> dict[str, Any]:
    """
    Everything.
    """
    binary = find_workerd()
    if binary is None:
        raise SystemExit("workerd is missing: run `make setup`")
    missing = [name for name in ("wrk", "nginx") if shutil.which(name) is None]
    if missing:
        print(f"not installed: {', '.join(missing)}; measuring without")
    has_nginx = "nginx" not in missing
    with tempfile.TemporaryDirectory(prefix="wf-bench-") as name, contextlib.ExitStack() as stack:
        directory = Path(name)
        cell, fast = directory / "cell", directory / "fast"
        targets = [
            stack.enter_context(workerd(binary, directory)),
            stack.enter_context(relay("relay", directory, cell)),
        ]
        fast_targets: list[Target] = []
        if has_nginx:
            targets.append(stack.enter_context(nginx("nginx", directory, cell, responder=True)))
            fast_targets = [
                stack.enter_context(relay("relay, fast", directory, fast)),
                stack.enter_context(nginx("nginx, fast", directory, fast)),
            ]
        results = {str(n): compare(targets, n, seconds, rounds) for n in CONNECTIONS}
        fast_results = {}
        if fast_targets:
            # A responder that costs next to nothing shows what the relay itself can carry.
            fast_results = {"32": compare(fast_targets, 32, seconds, rounds)}
    return {
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "python": platform.python_version(),
        "generator": generator(),
        "seconds": seconds,
        "rounds": rounds,
        "missing": missing,
        "clients": results,
        "fast_responder": fast_results,
    }


def main() -> None:
    """
    Measure, print, keep.
    """
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=3)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--results", type=Path, default=Path("bench/results"))
    arguments = parser.parse_args()
    document = run(arguments.seconds, arguments.rounds)
    print(table(document["clients"]))
    if document["fast_responder"]:
        print("\nin front of a responder that costs next to nothing:")
        print(table(document["fast_responder"]))
    arguments.results.mkdir(parents=True, exist_ok=True)
    path = arguments.results / f"{document['date']}-relay.json"
    path.write_text(json.dumps(document, indent=2) + "\n")
    print(f"\nkept in {path}")
