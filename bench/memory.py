"""
Memory that stays flat: many deploys of one function, many functions called round and round, idle
connections, and a large body both ways. Not part of `make bench`, since it takes a quarter of an
hour: `python -m bench memory`.
"""

import http.client
import re
import resource
import socket
import time
from pathlib import Path
from typing import Any, Final

from bench.daemons import Daemon, directory, multiplied, workerds_of
from bench.deploys import code
from bench.table import table

DEPLOYS: Final = 10_000
FUNCTIONS: Final = 5_000
ROUNDS: Final = 4
CONNECTIONS: Final = 20_000
BODY: Final = 1 << 30
_LOOK_AFTER: Final = 500


_BODY: Final = """
const piece = new Uint8Array(65536);
export default { async fetch(request) {
  if (request.method === "POST") {
    let size = 0;
    for await (const chunk of request.body) size += chunk.byteLength;
    return new Response(String(size));
  }
  let left = Number(new URL(request.url).searchParams.get("size"));
  return new Response(new ReadableStream({ pull(controller) {
    if (left <= 0) return controller.close();
    controller.enqueue(piece.slice(0, left));
    left -= piece.length;
  } }));
} };
"""


def resident(pid: int, what: str = "VmRSS") -> float:
    """
    MiB.
    """
    status = Path(f"/proc/{pid}/status").read_text("ascii")
    found = re.search(rf"{what}:\s+(\d+) kB", status)
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


def idle_connections(wanted: int) -> dict[str, Any]:
    """
    On which one request was answered, and that are kept; as many as there are descriptors for.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    # The daemon keeps descriptors for what is behind each client (`file descriptors` in its log).
    count = min(wanted, hard * 6 // 10)
    with directory() as path:
        daemon = Daemon(path).start()
        assert daemon.process is not None
        daemon.upload("hello", code(7))
        head = f"GET / HTTP/1.1\r\nHost: hello.{daemon.base_domain}\r\n\r\n".encode()
        kept = [_asked(daemon.port, head) for _ in range(100)]
        before = resident(daemon.process.pid)
        kept += [_asked(daemon.port, head) for _ in range(count)]
        after = resident(daemon.process.pid)
        for connection in kept:
            connection.close()
        daemon.kill()
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    each = round((after - before) * 1024 / count, 2)
    return {"connections": count, "before": before, "after": after, "kib_each": each}


def _asked(port: int, head: bytes) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", port), 30)
    connection.sendall(head)
    got = b""
    while not got.endswith(b"\r\n\r\n7"):
        data = connection.recv(4096)
        assert data, got
        got += data
    return connection


def large_body(size: int) -> dict[str, Any]:
    """
    Sent to a function that counts it, and got from one that makes it.
    """
    with directory() as path:
        daemon = Daemon(path).start()
        assert daemon.process is not None
        pid = daemon.process.pid
        daemon.upload("body", _BODY)
        host = {"Host": f"body.{daemon.base_domain}"}
        before, began = resident(pid), time.monotonic()
        Path(f"/proc/{pid}/clear_refs").write_text("5", "ascii")
        piece = bytes(1 << 20)
        connection = http.client.HTTPConnection("127.0.0.1", daemon.port, timeout=60)
        connection.request("POST", "/", (piece for _ in range(size >> 20)), host)
        counted = int(connection.getresponse().read())
        connection.request("GET", f"/?size={size}", headers=host)
        answer = connection.getresponse()
        got = 0
        while data := answer.read(1 << 20):
            got += len(data)
        connection.close()
        most = resident(pid, "VmHWM")
        daemon.kill()
    failed = int(counted != size) + int(got != size)
    return {
        "bytes": size,
        "failed": failed,
        "before": before,
        "most": most,
        "seconds": _since(began),
    }


def _since(began: float) -> float:
    return round(time.monotonic() - began, 1)


def run(deploys: int = DEPLOYS, functions: int = FUNCTIONS) -> dict[str, Any]:
    """
    Everything.
    """
    return {
        "connections": idle_connections(CONNECTIONS),
        "body": large_body(BODY),
        "functions": many_functions(functions, ROUNDS),
        "deploys": many_deploys(deploys),
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
    connections, body = document["connections"], document["body"]
    return (
        table(rows)
        + f"\n\n{connections['connections']} idle connections: {connections['kib_each']} KiB each"
        + f"\na body of {body['bytes'] >> 20} MiB up and down: the daemon had {body['before']} MiB"
        + f" before and {body['most']} MiB at most, {body['failed']} failed"
    )
