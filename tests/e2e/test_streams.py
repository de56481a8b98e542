"""Long bodies, long-lived connections, and clients that go."""

import contextlib
import http.client
import socket
from collections.abc import Iterator
from pathlib import Path

from websockets.sync.client import connect

from tests.e2e.daemon import Daemon, until

MIB = 1 << 20
SIZE = 100 * MIB

STREAMS = """
let aborted = 0;
export default {
  async fetch(request) {
    const { pathname } = new URL(request.url);
    if (pathname === "/down") {
      const chunk = new Uint8Array(65536);
      let left = 100 * 16;
      return new Response(new ReadableStream({
        pull(controller) { left-- ? controller.enqueue(chunk) : controller.close(); },
      }));
    }
    if (pathname === "/up") {
      let size = 0;
      for await (const chunk of request.body) size += chunk.byteLength;
      return new Response(String(size));
    }
    if (pathname === "/events") {
      const { readable, writable } = new TransformStream();
      const writer = writable.getWriter();
      (async () => {
        for (let n = 0; n < 3; n++) {
          await writer.write(new TextEncoder().encode(`data: ${n}\\n\\n`));
          await scheduler.wait(50);
        }
        await writer.close();
      })();
      return new Response(readable, { headers: { "content-type": "text/event-stream" } });
    }
    if (pathname === "/slow") {
      request.signal.addEventListener("abort", () => { aborted++; });
      await scheduler.wait(20000);
      return new Response("too late");
    }
    if (pathname === "/aborted") return new Response(String(aborted));
    if (pathname === "/socket") {
      const [client, server] = Object.values(new WebSocketPair());
      server.binaryType = "arraybuffer";
      server.accept();
      server.addEventListener("message", (event) => server.send(event.data));
      server.addEventListener("close", (event) => server.close(event.code, event.reason));
      return new Response(null, { status: 101, webSocket: client });
    }
    return new Response("?", { status: 404 });
  },
};
"""
FLAGS = ["enable_request_signal"]


def resident(daemon: Daemon) -> int:
    """
    The largest resident size the daemon had since its peak was last reset, in bytes.
    """
    assert daemon.process is not None
    status = Path(f"/proc/{daemon.process.pid}/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) * 1024


def reset_peak(daemon: Daemon) -> None:
    """
    Forget the peak (proc(5), clear_refs).
    """
    assert daemon.process is not None
    Path(f"/proc/{daemon.process.pid}/clear_refs").write_text("5")


def test_a_hundred_mebibytes_down_and_up_leave_memory_flat(daemon: Daemon) -> None:
    """
    The daemon passes 100 MiB each way without holding them.
    """
    daemon.upload("streams", STREAMS, compatibility_flags=FLAGS)
    assert daemon.function("streams", "/events").status == 200
    reset_peak(daemon)
    before = resident(daemon)
    connection = http.client.HTTPConnection("127.0.0.1", daemon.port, timeout=60)
    connection.request("GET", "/down", headers={"Host": "streams.faas.test"})
    response, received = connection.getresponse(), 0
    while chunk := response.read(MIB):
        received += len(chunk)
    assert received == SIZE

    def body() -> Iterator[bytes]:
        for _ in range(100):
            yield bytes(MIB)

    headers = {"Host": "streams.faas.test", "Content-Length": str(SIZE)}
    connection.request("POST", "/up", body=body(), headers=headers)
    assert connection.getresponse().read() == str(SIZE).encode()
    connection.close()
    assert resident(daemon) - before < 16 * MIB


def test_events_are_not_held_back(daemon: Daemon) -> None:
    """
    Each server-sent event arrives by itself, before the next one is made.
    """
    daemon.upload("streams", STREAMS, compatibility_flags=FLAGS)
    connection = http.client.HTTPConnection("127.0.0.1", daemon.port, timeout=60)
    connection.request("GET", "/events", headers={"Host": "streams.faas.test"})
    response = connection.getresponse()
    pieces = []
    while piece := response.read1(1000):
        pieces.append(piece)
    connection.close()
    assert pieces == [b"data: 0\n\n", b"data: 1\n\n", b"data: 2\n\n"]


def test_a_client_that_goes_is_told_to_the_function(daemon: Daemon) -> None:
    """
    When the client hangs up, the function's request.signal aborts.
    """
    daemon.upload("streams", STREAMS, compatibility_flags=FLAGS)
    before = int(daemon.function("streams", "/aborted").text)
    with socket.create_connection(("127.0.0.1", daemon.port)) as client:
        client.sendall(b"GET /slow HTTP/1.1\r\nHost: streams.faas.test\r\n\r\n")
        until(lambda: "streams" in daemon.log, "the request has reached the daemon")
        client.settimeout(0.3)
        with contextlib.suppress(TimeoutError):
            client.recv(1)
    until(
        lambda: int(daemon.function("streams", "/aborted").text) == before + 1,
        "the function hears of it",
    )


def test_a_websocket_goes_through(daemon: Daemon) -> None:
    """
    Text, binary and large messages are echoed, and the close code comes back.
    """
    daemon.upload("streams", STREAMS, compatibility_flags=FLAGS)
    url = f"ws://127.0.0.1:{daemon.port}/socket"
    sock = socket.create_connection(("127.0.0.1", daemon.port))
    with connect(
        url.replace("127.0.0.1", "streams.faas.test"), sock=sock, max_size=None
    ) as websocket:
        for message in ("hello", b"\0\1\2", "x" * 500_000, bytes(500_000)):
            websocket.send(message)
            assert websocket.recv(timeout=30) == message
        websocket.close(4001, "enough")
        assert websocket.close_code == 4001
