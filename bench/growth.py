"""
Cost that does not grow: requests and deploys with few and with many functions stored.
"""

import statistics
from typing import Any, Final

from bench.daemons import Daemon, cell_of, directory, multiplied
from bench.deploys import code, deploys
from bench.processes import Target
from bench.rounds import compare, paired
from bench.table import rates, table

FEW: Final = 10
MANY: Final = 10_000


def run(seconds: float, rounds: int) -> dict[str, Any]:
    """
    Everything.
    """
    with directory() as first, directory() as second:
        few, many = _daemon(first, FEW), _daemon(second, MANY)
        try:
            targets = [_target(few, "few"), _target(many, "many")]
            for target in targets:
                target.put(32, 3.0)
            measured = compare(targets, 32, seconds, rounds)
            taken: dict[str, list[float]] = {"few": [], "many": []}
            for _ in range(rounds):
                for name, daemon in (("few", few), ("many", many)):
                    taken[name] += deploys(daemon, "hello", 5)[0]
        finally:
            for daemon in (few, many):
                daemon.kill()
    ratios = {"requests, many ÷ few": paired(measured["many"], measured["few"])}
    few_ms, many_ms = (statistics.median(taken[name]) for name in ("few", "many"))
    return {
        "functions": [FEW, MANY],
        "clients": {"32": {"measured": measured, "ratios": ratios}},
        "deploy_ms": {"few": round(few_ms, 2), "many": round(many_ms, 2)},
        "deploy, many ÷ few": round(many_ms / few_ms, 3),
    }


def _daemon(path: Any, count: int) -> Daemon:
    daemon = Daemon(path)
    daemon.start()
    daemon.upload("hello", code(1))
    daemon.stop()
    multiplied(path, "hello", count)
    daemon.start()
    assert daemon.function("hello").status == 200
    return daemon


def _target(daemon: Daemon, name: str) -> Target:
    assert daemon.process is not None
    _, pid = cell_of(daemon)
    hosts = (f"hello.{daemon.base_domain}",)
    return Target(name, str(daemon.port), {"relay": daemon.process.pid, "cell": pid}, (), hosts)


def show(document: dict[str, Any]) -> str:
    """
    For people.
    """
    few, many = document["deploy_ms"]["few"], document["deploy_ms"]["many"]
    rows = [
        ["", *(f"{count} functions" for count in document["functions"]), "many ÷ few"],
        ["deploy, until it answers (ms)", few, many, document["deploy, many ÷ few"]],
    ]
    return rates(document["clients"]) + "\n\n" + table(rows)
