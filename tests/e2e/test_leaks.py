"""After cells have died in all ways, what the daemon has open is what it had before."""

import os
import signal
import socket
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.daemon import Daemon, running, until, workerds_of

CODE = """
let taken = [];
export default { async fetch(request, env, ctx) {
  const { pathname } = new URL(request.url);
  if (pathname === "/slow") await scheduler.wait(30_000);
  if (pathname === "/later") ctx.waitUntil(scheduler.wait(500));
  if (pathname === "/stream") return new Response(new ReadableStream({ async pull(controller) {
    controller.enqueue(new Uint8Array(1000)); await scheduler.wait(10);
  } }));
  return new Response("here");
} };
"""


@pytest.fixture
def daemon() -> Iterator[Daemon]:
    """
    One that serves and whose cells may die as often as they like.
    """
    # No function is held responsible for what this test does.
    with running(QUARANTINE_STRIKES="1000000") as started:
        started.upload("dies", CODE)
        yield started


def pid_of(daemon: Daemon) -> int:
    """
    The daemon's process.
    """
    assert daemon.process is not None
    return daemon.process.pid


def open_files(daemon: Daemon) -> Counter[str]:
    """
    What the daemon has open, by kind.
    """
    kinds: Counter[str] = Counter()
    for entry in Path(f"/proc/{pid_of(daemon)}/fd").iterdir():
        try:
            kinds[str(entry.readlink()).split(":")[0]] += 1
        except FileNotFoundError:
            continue
    return kinds


def children(daemon: Daemon) -> list[int]:
    """
    The daemon's processes, zombies too.
    """
    pid = pid_of(daemon)
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def directories(daemon: Daemon) -> int:
    """
    How many directories there are for cells and what they belong to.
    """
    return sum(path.is_dir() for path in (daemon.directory / "data" / "run").rglob("*"))


def cell_of(daemon: Daemon) -> int:
    """
    The function cell that answers now.
    """
    until(lambda: daemon.function("dies").text == "here", "the function answers")
    found = [
        pid
        for pid in workerds_of(daemon)
        if "/f/" in os.readlink(f"/proc/{pid}/cwd")  # noqa: PTH115
    ]
    assert found
    return found[0]


def quiet(daemon: Daemon, before: Counter[str]) -> bool:
    """
    Whether the daemon has no more open than before.
    """
    now = open_files(daemon)
    return all(now[kind] <= before[kind] for kind in now)


def begin(daemon: Daemon, path: str) -> socket.socket:
    """
    A request of which nothing is read.
    """
    client = socket.create_connection(("127.0.0.1", daemon.port))
    client.sendall(f"GET {path} HTTP/1.1\r\nHost: dies.{daemon.base_domain}\r\n\r\n".encode())
    return client


def in_flight(daemon: Daemon) -> int:
    """
    Requests that the daemon counts.
    """
    found: int = daemon.api("GET", "/workers/status").result["in_flight"]
    return found


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP, signal.SIGSEGV, signal.SIGTERM])
def test_nothing_is_left_of_cells_that_die(daemon: Daemon, how: signal.Signals) -> None:
    """
    However cells end, with requests, streams and later work in them: descriptors, processes and
    directories are as many as before.
    """
    os.kill(cell_of(daemon), signal.SIGKILL)
    cell_of(daemon)  # Once, so that what is made at the first time is there.
    before, processes, folders = open_files(daemon), len(children(daemon)), directories(daemon)
    for _ in range(4):
        clients = [begin(daemon, path) for path in ("/slow", "/stream", "/later") for _ in range(3)]
        pid = cell_of(daemon)
        os.kill(pid, how)
        until(lambda pid=pid: not Path(f"/proc/{pid}/cwd").exists(), "the cell is gone")
        for client in clients:
            client.close()
    cell_of(daemon)
    until(lambda: quiet(daemon, before), f"as before: {before}")
    until(lambda: len(children(daemon)) <= processes, "as many processes as before")
    until(lambda: directories(daemon) <= folders, "as many directories as before")
    until(lambda: in_flight(daemon) == 0, "nothing is in flight")


def test_nothing_is_left_of_clients_that_go(daemon: Daemon) -> None:
    """
    Clients that hang up or reset in the middle of anything leave neither descriptors nor counted
    requests, and the daemon's memory does not grow with their number.
    """
    cell_of(daemon)

    def crowd(count: int) -> None:
        for number in range(count):
            client = begin(daemon, ("/slow", "/stream", "/later", "/")[number % 4])
            if number % 2:
                # RST instead of FIN.
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            client.close()

    crowd(100)
    before = open_files(daemon)
    first = resident(daemon)
    threads = [threading.Thread(target=crowd, args=(250,)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    cell_of(daemon)
    until(lambda: quiet(daemon, before), f"as before: {before}")
    until(lambda: in_flight(daemon) == 0, "nothing is in flight")
    assert resident(daemon) - first < 16 << 20


def resident(daemon: Daemon) -> int:
    """
    Bytes of memory that the daemon has.
    """
    words = Path(f"/proc/{pid_of(daemon)}/statm").read_text().split()
    return int(words[1]) * os.sysconf("SC_PAGE_SIZE")
