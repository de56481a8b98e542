"""
How long it takes until something new answers: a deploy, the first request to a function that was
not loaded (and beside it the same in the shortest loader that there is), the first request of an
account that had no cell, a daemon that starts with many functions. Each with a connection of its
own.
"""

import contextlib
import http.client
import socket
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

from bench.daemons import Daemon, directory, multiplied, running
from bench.processes import find_workerd, workerd
from bench.rounds import spent
from bench.table import table

STORED: Final = 5000
DATE: Final = "2026-01-01"
"""The compatibility date of all functions here: from August on each isolate starts with Node.js's
modules, which take as long as all the rest."""
_COLD_CELLS: Final = 8
_STARTS: Final = 5


def code(number: int) -> str:
    """
    A function that answers with its number.
    """
    return f"export default {{ fetch() {{ return new Response('{number}'); }} }};"


def timed(work: Callable[[], Any]) -> float:
    """
    Milliseconds.
    """
    began = time.perf_counter()
    work()
    return (time.perf_counter() - began) * 1e3


def figures(taken: Sequence[float]) -> dict[str, Any]:
    """
    What is told of some times.
    """
    ordered = sorted(taken)
    return {
        "median_ms": round(statistics.median(ordered), 2),
        "least_ms": round(ordered[0], 2),
        "quarter_ms": round(ordered[len(ordered) // 4], 2),
        "most_ms": round(ordered[-1], 2),
        "times": len(ordered),
    }


def deploys(daemon: Daemon, function: str, times: int) -> tuple[list[float], float]:
    """
    Deploy so many times and ask for each; how long each took until it answered, and how much
    processor time of the daemon each took, both in milliseconds.
    """
    assert daemon.process is not None
    taken = []
    before = spent(daemon.process.pid)
    for number in range(times):

        def deploy(number: int = number) -> None:
            sent = daemon.upload(function, code(number), compatibility_date=DATE)
            assert sent.status == 200
            assert daemon.function(function).text == str(number)

        taken.append(timed(deploy))
        time.sleep(0.02)
    return taken, (spent(daemon.process.pid) - before) / times * 1e3


def run(times: int) -> dict[str, Any]:
    """
    Everything.
    """
    binary = find_workerd()
    assert binary is not None  # See `bench.__main__`.
    with contextlib.ExitStack() as stack:
        daemon = stack.enter_context(running())
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="wf-bench-")))
        bare = stack.enter_context(workerd("bare", binary, folder, loader=True, by_path=True))
        daemon.upload("warm", code(0), compatibility_date=DATE)
        assert daemon.function("warm").status == 200
        deploys(daemon, "hello", 5)
        deployed, processor = deploys(daemon, "hello", times)
        for number in range(times):
            daemon.upload(f"cold-{number}", code(number), compatibility_date=DATE)
        cold, peer = [], []
        for number in range(times):
            cold.append(timed(partial(daemon.function, f"cold-{number}")))
            peer.append(timed(partial(_ask, bare.address, f"/{number}")))
        cells = []
        for number in range(_COLD_CELLS):
            daemon.token, daemon.account = daemon.new_token(f"account-{number}")
            daemon.upload(f"alone-{number}", code(number), compatibility_date=DATE)
            time.sleep(0.3)
            cells.append(timed(partial(daemon.function, f"alone-{number}")))
    return {
        "deploy_to_answer": figures(deployed),
        "deploy_daemon_cpu_ms": round(processor, 2),
        "cold_function": figures(cold),
        "cold_function_of_bare_loader": figures(peer),
        "cold function ÷ bare loader": round(statistics.median(cold) / statistics.median(peer), 3),
        "cold_cell": figures(cells),
        "start": _starts(),
    }


def _starts() -> dict[str, Any]:
    """
    From the start of the daemon to the first answer of the API, and of a function.
    """
    with directory() as path:
        daemon = Daemon(path)
        daemon.start()
        daemon.upload("hello", code(1))
        daemon.stop()
        multiplied(path, "hello", STORED)
        api, function = [], []
        for _ in range(_STARTS):
            began = time.perf_counter()
            daemon.launch()
            _until(daemon, daemon.base_domain, "/health")
            api.append((time.perf_counter() - began) * 1e3)
            _until(daemon, f"copy-{STORED}.{daemon.base_domain}", "/")
            function.append((time.perf_counter() - began) * 1e3)
            daemon.kill()
    return {"functions": STORED, "api": figures(api), "function": figures(function)}


def _until(daemon: Daemon, host: str, path: str) -> None:
    while True:
        connection = http.client.HTTPConnection("127.0.0.1", daemon.port, timeout=30)
        try:
            connection.request("GET", path, headers={"Host": host})
            status = connection.getresponse().status
        except OSError:
            time.sleep(0.002)
        else:
            assert status == 200, (host, status)
            return
        finally:
            connection.close()


def _ask(path: str, target: str) -> None:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(path)
        connection.sendall(f"GET {target} HTTP/1.1\r\nHost: bare\r\n\r\n".encode())
        assert connection.recv(4096).startswith(b"HTTP/1.1 200")


def show(document: dict[str, Any]) -> str:
    """
    For people.
    """
    rows: list[list[Any]] = [["", "median ms", "quarter", "least", "most", "times"]]
    start = document["start"]
    for name, one in (
        ("deploy, until it answers", document["deploy_to_answer"]),
        ("first request to a function that is not loaded", document["cold_function"]),
        ("the same in a bare loader", document["cold_function_of_bare_loader"]),
        ("first request of an account without a cell", document["cold_cell"]),
        (f"start with {start['functions']} functions, until the API answers", start["api"]),
        ("the same, until a function answers", start["function"]),
    ):
        columns = ("median_ms", "quarter_ms", "least_ms", "most_ms", "times")
        rows.append([name, *(one[column] for column in columns)])
    return table(rows) + (
        f"\n\nprocessor time of the daemon for a deploy: {document['deploy_daemon_cpu_ms']} ms"
    )
