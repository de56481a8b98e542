"""
What the whole daemon costs, and the router in its cells: one and the same function as a static
service, behind the shortest loader that there is, in the daemon's own cell hit directly on its
socket, through the daemon, and through nginx in the place of the daemon; and promoted to a process
of its own, hit directly and through the daemon.
"""

import contextlib
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any, Final

import attrs

from bench.daemons import Daemon, cell_of, promoted_cell_of, running, version_of
from bench.processes import (
    HELLO,
    Target,
    as_the_relay,
    find_workerd,
    nginx,
    route_and_cf,
    workerd,
)
from bench.relay import CONNECTIONS, with_ratios
from bench.rounds import compare
from bench.table import rates

WARM: Final = 3.0
"""Seconds of requests after which a function that says nothing runs without a tail."""

RATIOS: Final = {
    "daemon ÷ cell": ("daemon", "cell"),
    "daemon ÷ nginx": ("daemon", "nginx"),
    "nginx ÷ cell": ("nginx", "cell"),
    "cell ÷ loader": ("cell", "loader"),
    "cell ÷ raw": ("cell", "raw"),
    "promoted ÷ raw": ("promoted", "raw"),
    "promoted, through the daemon ÷ promoted": ("daemon, promoted", "promoted"),
    "cell with tail ÷ loader": ("with tail", "loader"),
}

_TALKER: Final = """
let asked = 0;
export default { fetch() {
  if (++asked % 100 === 0) console.log("hello");
  return new Response("hello\\n");
} };
"""
"""A function that says something every now and then, so it never becomes quiet."""


def run(seconds: float, rounds: int) -> dict[str, Any]:
    """
    Everything.
    """
    binary = find_workerd()
    assert binary is not None  # See `bench.__main__`.
    with tempfile.TemporaryDirectory(prefix="wf-bench-") as name, contextlib.ExitStack() as stack:
        directory = Path(name)
        daemon = stack.enter_context(running(PROMOTED_FUNCTIONS="none"))
        targets = [
            stack.enter_context(workerd("raw", binary, directory)),
            stack.enter_context(workerd("loader", binary, directory, loader=True)),
            *_of(daemon, "hello", "cell", "daemon"),
        ]
        if shutil.which("nginx"):
            cell, pid = cell_of(daemon)
            cf = route_and_cf(version_of(daemon, "hello"), "hello")
            targets.append(
                stack.enter_context(nginx("nginx", directory, cell, cf=cf, cell_pid=pid))
            )
        talker = stack.enter_context(running())
        targets += _of(talker, "talker", "with tail", None, code=_TALKER)
        targets += _promoted(stack.enter_context(running()))
        for target in targets:
            target.put(32, WARM)
        return {
            "clients": {
                str(count): with_ratios(compare(targets, count, seconds, rounds), RATIOS)
                for count in CONNECTIONS
            }
        }


def _of(
    daemon: Daemon, function: str, direct: str, through: str | None, code: str = HELLO
) -> list[Target]:
    daemon.upload(function, code)
    assert daemon.function(function).status == 200
    cell, pid = cell_of(daemon)
    headers = as_the_relay(route_and_cf(version_of(daemon, function), function))
    host = f"{function}.{daemon.base_domain}"
    found = [Target(direct, str(cell), {"cell": pid}, headers, (host,))]
    if through is not None:
        assert daemon.process is not None
        pids = {"relay": daemon.process.pid, "cell": pid}
        found.append(Target(through, str(daemon.port), pids, (), (host,)))
    return found


def _promoted(daemon: Daemon) -> list[Target]:
    """
    A function that is called so much that it has a process of its own, without router and loader.
    """
    _, through = _of(daemon, "hello", "", "daemon, promoted")
    deadline = time.monotonic() + 60
    while (found := promoted_cell_of(daemon)) is None:
        if time.monotonic() > deadline:
            raise RuntimeError("the function was not promoted")
        through.put(32, 1.0)
    cell, pid = found
    headers = as_the_relay(route_and_cf(version_of(daemon, "hello"), "hello"))
    direct = Target("promoted", str(cell), {"cell": pid}, headers, through.hosts)
    return [direct, attrs.evolve(through, pids={**through.pids, "cell": pid})]


def show(document: dict[str, Any]) -> str:
    """
    For people.
    """
    return rates(document["clients"])
