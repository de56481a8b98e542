"""After whatever goes wrong, the daemon is as it was: descriptors, requests in flight, memory."""

import os
import signal
import socket
import struct
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from websockets.sync.client import connect

from tests.e2e.daemon import PATIENCE, Daemon, running, until, workerds_of
from tests.e2e.load import Load
from tests.e2e.test_faults import answers, descriptors_of

ROUNDS = 5
GROWTH = 12 << 20
"""Bytes that a daemon's resident memory may differ by between two moments of calm."""


def resident(pid: int) -> int:
    """
    Bytes of memory that a process has.
    """
    pages = Path(f"/proc/{pid}/statm").read_text("ascii").split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


def in_flight(daemon: Daemon) -> int:
    """
    Requests to functions of ours that are under way, in the relay's and in the fleet's count.
    """
    status = daemon.api("GET", "/workers/status").result
    return int(status["in_flight"]) + sum(int(each["in_flight"]) for each in status["processes"])


def request(load: Load, path: str) -> socket.socket:
    """
    A connection on which a request has been sent and nothing read.
    """
    client = load.daemon.connection()
    client.sendall(f"GET {path} HTTP/1.1\r\nHost: {load.host}\r\n\r\n".encode())
    return client


def reset(client: socket.socket) -> None:
    """
    End a connection as dying machines do.
    """
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()


def clients_reset(load: Load) -> None:
    """
    Clients that are gone in the middle of an answer, and of a request's head and body.
    """
    clients = [request(load, "/stream") for _ in range(20)]
    until(lambda: in_flight(load.daemon) > 0, "they are being answered")
    for client in clients:
        reset(client)
    post = f"POST / HTTP/1.1\r\nHost: {load.host}\r\nContent-Length: 9\r\n\r\nab"
    for text in ("GET / HT", post):
        client = load.daemon.connection()
        client.sendall(text.encode())
        reset(client)


def clients_that_do_not_read(load: Load) -> None:
    """
    Clients that hang up with everything still unread.
    """
    clients = [request(load, "/stream") for _ in range(20)]
    time.sleep(0.2)
    for client in clients:
        client.close()


def cells_killed(load: Load) -> None:
    """
    All workerd processes die under requests and WebSockets.
    """
    clients = [request(load, "/stream") for _ in range(10)]
    with (
        suppress(OSError),
        connect(f"ws://{load.host}/socket", sock=load.daemon.connection()) as chat,
    ):
        chat.send("a")
        chat.recv(PATIENCE)
        for pid in workerds_of(load.daemon):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        for client in clients:
            client.settimeout(PATIENCE)
            with suppress(OSError):
                while client.recv(65536):
                    pass
            client.close()


def cells_restarted(load: Load) -> None:
    """
    All cells are replaced.
    """
    until(
        lambda: load.daemon.api("POST", "/workers/cells/restart").status == 200, "they are replaced"
    )


def websockets_reset(load: Load) -> None:
    """
    WebSockets whose clients vanish.
    """
    for _ in range(10):
        raw = load.daemon.connection()
        with suppress(Exception), connect(f"ws://{load.host}/socket", sock=raw) as chat:
            chat.send("a")
            chat.recv(PATIENCE)
            reset(raw)


def failed_hand_over(load: Load) -> None:
    """
    A hand-over that is refused.
    """
    from tests.e2e.test_upgrade import hand_over

    daemon = load.daemon
    assert daemon.process is not None
    settings = daemon.directory / ".env"
    settings.write_text("MAX_CELLS=none", "utf-8")
    assert hand_over(daemon.process.pid, daemon)["state"] == "failed"
    settings.unlink()


TROUBLES: tuple[Callable[[Load], None], ...] = (
    clients_reset,
    clients_that_do_not_read,
    cells_killed,
    cells_restarted,
    websockets_reset,
    failed_hand_over,
)


def calm(load: Load) -> tuple[int, int]:
    """
    Wait until nothing is under way and nothing of it lingers; descriptors and memory then.
    """
    daemon = load.daemon
    assert daemon.process is not None
    pid = daemon.process.pid
    until(lambda: answers(daemon) and daemon.function("busy", "/kv").text == "value", "it serves")
    until(lambda: in_flight(daemon) == 0, "nothing is in flight")
    until(lambda: len(workerds_of(daemon)) <= 3, "only what is needed runs")
    # Connections to cells and to the API are kept for ten seconds.
    least = descriptors_of(pid)
    end = time.monotonic() + 14
    while time.monotonic() < end:
        least = min(least, descriptors_of(pid))
        time.sleep(0.1)
    return least, resident(pid)


def test_nothing_is_left_behind() -> None:
    """
    After rounds of every trouble the daemon has as many descriptors as after the first round, about
    as much memory, and nothing in flight.
    """
    with running() as daemon:
        load = Load(daemon)
        load.deploy()
        for trouble in TROUBLES:
            trouble(load)
        descriptors, memory = calm(load)
        for _ in range(ROUNDS):
            for trouble in TROUBLES:
                trouble(load)
        after = calm(load)
        assert after[0] <= descriptors + 1, (descriptors, after)
        assert after[1] <= memory + GROWTH, (memory, after)
        assert daemon.log.count("Traceback") == 0, daemon.log
        assert daemon.stop() == 0
