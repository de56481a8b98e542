"""
Memory that stays flat: many deploys of one function, and many functions called round and round. Not
part of `make bench`, since it takes a quarter of an hour: `python -m bench memory`.
"""

import http.client
import re
import time
from pathlib import Path
from typing import Any, Final

from bench.daemons import Daemon, directory, multiplied, workerds_of
from bench.deploys import code
from bench.table import table

DEPLOYS: Final = 10_000
FUNCTIONS: Final = 5_000
ROUNDS: Final = 4
_LOOK_AFTER: Final = 500


def resident(pid: int) -> float:
    """
    MiB.
    """
    status = Path(f"/proc/{pid}/status").read_text("ascii")
    found = re.search(r"VmRSS:\s+(\d+) kB", status)
    assert found is not None
    return round(int(found[1]) / 1024, 1)


def look(daemon: Daemon, done: int) -> dict[str, Any]:
    """
    What the daemon and its cells have now.
    """
    assert daemon.process is not None
    cells = {}
    for pid in workerds_of(daemon):
        inside = Path(f"/proc/{pid}/cwd").resolve()
        if inside.parent.name == "f":
            cells[inside.name] = resident(pid)
    return {"done": done, "daemon": resident(daemon.process.pid), "cells": cells}


def many_deploys(count: int) -> dict[str, Any]:
    """
    Of one function, each called once.
    """
    with directory() as path:
        daemon = Daemon(path).start()
        seen, failed, began = [], 0, time.monotonic()
        for number in range(count):
            failed += daemon.upload("hello", code(number)).status != 200
            failed += daemon.function("hello").text != str(number)
            if (number + 1) % _LOOK_AFTER == 0:
                seen.append(look(daemon, number + 1))
        daemon.kill()
    return {"deploys": count, "failed": failed, "seconds": _since(began), "memory": seen}


def many_functions(count: int, rounds: int) -> dict[str, Any]:
    """
    Called one after the other, round and round, in one cell with the usual budget.
    """
    with directory() as path:
        daemon = Daemon(path).start()
        daemon.upload("hello", code(7))
        daemon.stop()
        multiplied(path, "hello", count)
        daemon.start()
        seen, failed, began, done = [], 0, time.monotonic(), 0
        connection = http.client.HTTPConnection("127.0.0.1", daemon.port, timeout=60)
        for _ in range(rounds):
            for number in range(1, count + 1):
                host = f"copy-{number}.{daemon.base_domain}"
                connection.request("GET", "/", headers={"Host": host})
                answer = connection.getresponse()
                failed += answer.read() != b"7" or answer.status != 200
                done += 1
                if done % (2 * _LOOK_AFTER) == 0:
                    seen.append(look(daemon, done))
        connection.close()
        daemon.kill()
    return {
        "functions": count,
        "requests": done,
        "failed": failed,
        "seconds": _since(began),
        "memory": seen,
    }


def _since(began: float) -> float:
    return round(time.monotonic() - began, 1)


def run(deploys: int = DEPLOYS, functions: int = FUNCTIONS) -> dict[str, Any]:
    """
    Everything.
    """
    return {
        "deploys": many_deploys(deploys),
        "functions": many_functions(functions, ROUNDS),
    }


def show(document: dict[str, Any]) -> str:
    """
    For people.
    """
    rows: list[list[Any]] = [["", "done", "failed", "daemon MiB", "cell MiB"]]
    for name in ("deploys", "functions"):
        one = document[name]
        for seen in one["memory"]:
            cells = ", ".join(str(each) for each in seen["cells"].values())
            rows.append([name, seen["done"], one["failed"], seen["daemon"], cells])
    return table(rows)
