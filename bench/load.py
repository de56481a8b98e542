"""
Load on keep-alive connections, over TCP or a unix socket, from a process of its own.

The same small generator for every target, since wrk knows no unix sockets: one thread, raw sockets,
answers told apart by their length. It costs about 15 µs a request.
"""

import json
import select
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from typing import Final

import attrs

HOST: Final = "hello.bench.test"
_REQUEST: Final = b"GET / HTTP/1.1\r\nHost: %s\r\nAccept: */*\r\n%s\r\n"


@attrs.frozen(kw_only=True)
class Load:
    """
    What one round has shown.

    Attributes:
        requests: Answered with 200.
        seconds: How long it took.
        p50, p99: Latency in seconds.
        errors: Anything else.
    """

    requests: int
    seconds: float
    p50: float
    p99: float
    errors: int

    @property
    def rate(self) -> float:
        """
        Requests a second.
        """
        return self.requests / self.seconds


def put(
    address: str,
    *,
    connections: int,
    seconds: float,
    hosts: Sequence[str] = (HOST,),
    headers: Sequence[str] = (),
) -> Load:
    """
    Ask for the same thing over and over.

    Args:
        address: A port of 127.0.0.1, or the path of a unix socket.
        hosts: Whom the connections ask, in turn.
        headers: Lines that each request has besides.
    """
    asked = json.dumps([address, connections, seconds, list(hosts), list(headers)])
    command = [sys.executable, "-m", "bench.load", asked]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{address}: {done.stderr[-2000:]}")
    return Load(**json.loads(done.stdout))


@attrs.define
class _Connection:
    sock: socket.socket
    request: bytes
    began: float = 0.0
    got: bytes = b""
    expected: int = 0

    def ask(self) -> None:
        self.got, self.expected = b"", 0
        self.began = time.perf_counter()
        self.sock.sendall(self.request)

    def answered(self) -> bool:
        """
        Take what there is; whether the answer is complete.
        """
        data = self.sock.recv(65536)
        if not data:
            raise ConnectionResetError("the connection was closed")
        self.got += data
        if not self.expected:
            end = self.got.find(b"\r\n\r\n") + 4
            if end == 3:
                return False
            head = self.got[:end].lower()
            at = head.index(b"content-length: ") + 16
            self.expected = end + int(head[at : head.index(b"\r", at)])
        return len(self.got) >= self.expected


def _connect(address: str) -> socket.socket:
    if address.isdigit():
        sock = socket.create_connection(("127.0.0.1", int(address)))
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return sock
    sock = socket.socket(socket.AF_UNIX)
    sock.connect(address)
    return sock


def _run(
    address: str, connections: int, seconds: float, hosts: list[str], headers: list[str]
) -> Load:
    more = "".join(f"{line}\r\n" for line in headers).encode()
    poll = select.epoll()
    all_: dict[int, _Connection] = {}
    for number in range(connections):
        host = hosts[number % len(hosts)].encode()
        connection = _Connection(_connect(address), _REQUEST % (host, more))
        all_[connection.sock.fileno()] = connection
        poll.register(connection.sock.fileno(), select.EPOLLIN)
    latencies: list[float] = []
    errors = 0
    began = time.perf_counter()
    end = began + seconds
    for connection in all_.values():
        connection.ask()
    waiting = len(all_)
    while waiting:
        for descriptor, _ in poll.poll():
            connection = all_[descriptor]
            if not connection.answered():
                continue
            now = time.perf_counter()
            if connection.got.startswith(b"HTTP/1.1 200"):
                latencies.append(now - connection.began)
            else:
                errors += 1
            if now < end:
                connection.ask()
            else:
                waiting -= 1
    took = time.perf_counter() - began
    latencies.sort()
    p50, p99 = (latencies[int(len(latencies) * share)] for share in (0.5, 0.99))
    return Load(requests=len(latencies), seconds=took, p50=p50, p99=p99, errors=errors)


if __name__ == "__main__":
    print(json.dumps(attrs.asdict(_run(*json.loads(sys.argv[1])))))
