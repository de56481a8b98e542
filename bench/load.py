"""Load on keep-alive connections: `wrk` if it is installed, else a small generator of our own."""

import asyncio
import re
import shutil
import subprocess
import sys
import time
from typing import Final

import attrs

HOST: Final = "hello.bench.test"
_UNITS: Final = {"us": 1e-6, "ms": 1e-3, "s": 1.0}


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


def generator() -> str:
    """
    What `put` will use.
    """
    return "wrk" if shutil.which("wrk") else "python"


def put(port: int, *, connections: int, seconds: float) -> Load:
    """
    Ask 127.0.0.1 for the same thing over and over.
    """
    if generator() == "wrk":
        return _wrk(port, connections, seconds)
    command = [sys.executable, "-m", "bench.load", str(port), str(connections), str(seconds)]
    words = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
    requests, errors = int(words[0]), int(words[4])
    took, p50, p99 = (float(word) for word in words[1:4])
    return Load(requests=requests, seconds=took, p50=p50, p99=p99, errors=errors)


def _wrk(port: int, connections: int, seconds: float) -> Load:
    command = [
        "wrk",
        "--threads=1",
        f"--connections={connections}",
        f"--duration={max(1, round(seconds))}s",
        "--latency",
        f"--header=Host: {HOST}",
        f"http://127.0.0.1:{port}/",
    ]
    text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    found = re.search(r"(\d+) requests in ([\d.]+)(us|ms|s|m)", text)
    assert found is not None, text
    refused = re.search(r"Non-2xx or 3xx responses: (\d+)", text)
    broken = re.search(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout", text)
    return Load(
        requests=int(found[1]),
        seconds=float(found[2]) * _UNITS.get(found[3], 60.0),
        p50=_percentile(text, 50),
        p99=_percentile(text, 99),
        errors=int(refused[1] if refused else 0)
        + sum(int(count) for count in (broken.groups() if broken else ())),
    )


def _percentile(text: str, percent: int) -> float:
    found = re.search(rf"^ +{percent}%\s+([\d.]+)(us|ms|s)", text, re.MULTILINE)
    assert found is not None, text
    return float(found[1]) * _UNITS[found[2]]


async def _client(port: int, end: float, latencies: list[float]) -> int:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    request = f"GET / HTTP/1.1\r\nHost: {HOST}\r\n\r\n".encode()
    errors = 0
    while (began := time.perf_counter()) < end:
        writer.write(request)
        head = await reader.readuntil(b"\r\n\r\n")
        length = re.search(rb"(?i)content-length: (\d+)", head)
        await reader.readexactly(int(length[1]) if length else 0)
        errors += not head.startswith(b"HTTP/1.1 200")
        latencies.append(time.perf_counter() - began)
    writer.close()
    return errors


async def _clients(port: int, connections: int, seconds: float) -> None:
    latencies: list[float] = []
    began = time.perf_counter()
    clients = [_client(port, began + seconds, latencies) for _ in range(connections)]
    errors = sum(await asyncio.gather(*clients))
    took = time.perf_counter() - began
    latencies.sort()
    p50, p99 = (latencies[int(len(latencies) * share)] for share in (0.5, 0.99))
    print(len(latencies) - errors, took, p50, p99, errors)


if __name__ == "__main__":
    asyncio.run(_clients(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])))
