"""The relay in front of a real workerd."""

import asyncio
import json
import os
import socket
import subprocess
from functools import partial
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import unquote_to_bytes, urlsplit

import pytest

from tests.ingress.harness import GET, HOST, VERSION, RelayCase, Wire, in_asyncio, twisted, until
from workerd_faas.domain.upstream import Upstream
from workerd_faas.ingress.limits import RelayLimits

CONFIG = """\
using Workerd = import "/workerd/workerd.capnp";
const config :Workerd.Config = (
  services = [(name = "worker", worker = (
    modules = [(name = "worker.js", esModule = embed "worker.js")],
    compatibilityDate = "2026-01-01", compatibilityFlags = ["enable_request_signal"]))],
  sockets = [(name = "http", address = "unix:{path}", service = "worker",
    http = (cfBlobHeader = "wfaas-cf", forwardedProtoHeader = "wfaas-proto"))]);
"""

WORKER = """\
export default {
  async fetch(request) {
    const path = new URL(request.url).pathname;
    if (path === "/info") {
      return Response.json({
        url: request.url, method: request.method, cf: request.cf,
        headers: Object.fromEntries(request.headers),
      });
    }
    if (path === "/echo") return new Response(request.body);
    if (path === "/text") return new Response(await request.text());
    if (path === "/ignore") return new Response("ignored");
    if (path === "/wait") {
      const aborted = new Promise((resolve) => request.signal.addEventListener("abort", resolve));
      console.log("listening");
      await Promise.race([aborted, scheduler.wait(50_000)]);  // workerd calls off who only listens
      console.log("aborted while waiting");
      return new Response("too late");
    }
    if (path === "/events") {
      const { readable, writable } = new TransformStream();
      const writer = writable.getWriter();
      const encoder = new TextEncoder();
      request.signal.addEventListener("abort", () => console.log("aborted while streaming"));
      (async () => {
        for (let n = 0; ; n++) {
          await writer.write(encoder.encode(`data: ${n}\\n\\n`));
          await scheduler.wait(10);
        }
      })().catch(() => {});
      return new Response(readable, { headers: { "content-type": "text/event-stream" } });
    }
    if (path === "/socket") {
      const [client, server] = Object.values(new WebSocketPair());
      server.accept();
      server.addEventListener("message", (event) => server.send(`echo: ${event.data}`));
      server.addEventListener("close", (event) => {
        console.log(`closed ${event.code}`);
        server.close(event.code);
      });
      return new Response(null, { status: 101, webSocket: client });
    }
    return new Response("hello");
  },
};
"""


def accepts(path: Path) -> bool:
    """
    Whether somebody listens: the file of a socket is there before that.
    """
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(str(path)) == 0


OWN = sorted(Path(__file__).parents[2].glob("node_modules/@cloudflare/workerd-*/bin/workerd"))
WORKERD = os.environ.get("WORKERD") or (str(OWN[0]) if OWN else None)


@pytest.mark.skipif(WORKERD is None, reason="workerd is not installed")
class RealWorkerd(RelayCase):
    """
    What functions see and do.
    """

    timeout = 120
    limits: ClassVar[RelayLimits] = RelayLimits(tick_seconds=0.05, half_closed_seconds=0.3)

    @in_asyncio
    async def setUp(self) -> None:  # type: ignore[override]
        """
        Replace the cell by a real one.
        """
        await super().setUp().asFuture(asyncio.get_running_loop())
        path = self.directory / "workerd"
        (self.directory / "worker.js").write_text(WORKER)
        config = self.directory / "workerd.capnp"
        config.write_text(CONFIG.format(path=path))
        self.log = self.directory / "log"
        assert WORKERD is not None
        with self.log.open("wb") as log:
            self.process = subprocess.Popen([WORKERD, "serve", config], stdout=log, stderr=log)
        self.workerd = Upstream(str(path), "workerd")
        self.cells.ready = self.workerd
        await until(partial(accepts, path))

    @in_asyncio
    async def tearDown(self) -> None:  # type: ignore[override]
        """
        End it.
        """
        for wire in self.wires:
            wire.close()
        await until(lambda: self.workerd.in_flight == 0)
        self.process.kill()
        self.process.wait()
        await super().tearDown().asFuture(asyncio.get_running_loop())

    async def logged(self, line: str) -> None:
        """
        Wait until the function has said this.
        """
        await until(lambda: line in self.log.read_text())

    async def info(self, *lines: bytes) -> Any:
        """
        What a function sees of a request.
        """
        response = await self.ask(b"\r\n".join([b"GET /info?a=%20b HTTP/1.1", *lines, b"", b""]))
        return json.loads(response.body)

    @in_asyncio
    async def test_info(self) -> None:
        """
        A function sees its own URL, who asks, and nothing that is between the relay and the cell.
        """
        info = await self.info(
            b"Host: hello.example.com:8080", b"X-Own: x", b"wfaas-cf: {}", b"Accept-Encoding: br"
        )
        assert info["url"] == "http://hello.example.com:8080/info?a=%20b"
        assert info["headers"]["x-own"] == "x"
        assert info["headers"]["cf-connecting-ip"] == "127.0.0.1"
        assert info["headers"]["x-forwarded-proto"] == "http"
        assert len(info["headers"]["cf-ray"]) == 16
        assert not any(name.startswith("wfaas") for name in info["headers"])
        assert info["cf"]["version"] == VERSION
        assert info["cf"]["clientIp"] == "127.0.0.1"
        assert info["cf"]["clientAcceptEncoding"] == "br"

    @in_asyncio
    async def test_odd_urls(self) -> None:
        """
        A function is asked also by clients that forget to encode what no URI has.
        """
        query = bytes(range(0x21, 0x7F)).replace(b"#", b"") + b"\xc3\xa9\xff"
        line = b"GET /info?%s HTTP/1.1" % query
        response = await self.ask(line + b"\r\nHost: hello.example.com\r\n\r\n")
        asked = urlsplit(json.loads(response.body)["url"]).query
        assert unquote_to_bytes(asked) == unquote_to_bytes(query)

    @in_asyncio
    async def test_requests(self) -> None:
        """
        Bodies go there and back in every framing, with `Expect` and trailers, on one connection.
        """
        wire = await self.connect()
        body = bytes(range(256)) * 5000
        for path in (b"/echo", b"/text"):
            sent = body if path == b"/echo" else b"text" * 10_000
            head = b"POST %s HTTP/1.1\r\n%s" % (path, HOST)
            await wire.send(head + b"Content-Length: %d\r\n\r\n" % len(sent) + sent)
            assert (await wire.response()).body == sent
            await wire.send(head + b"Transfer-Encoding: chunked\r\n\r\n")
            for at in range(0, len(sent), 100_000):
                piece = sent[at : at + 100_000]
                await wire.send(b"%x;ext=1\r\n%s\r\n" % (len(piece), piece))
            await wire.send(b"0\r\nX-Trailer: x\r\n\r\n")
            assert (await wire.response()).body == sent
        await wire.send(
            b"POST /text HTTP/1.1\r\n%sExpect: 100-continue\r\nContent-Length: 2\r\n\r\n" % HOST
        )
        assert (await wire.head()).startswith(b"HTTP/1.1 100")
        await wire.send(b"ok")
        assert (await wire.response()).body == b"ok"
        await wire.send(b"HEAD" + GET[3:] + b"OPTIONS * HTTP/1.1\r\n" + HOST + b"\r\n" + GET)
        assert (await wire.response(head_only=True)).body == b""
        for _ in range(2):
            assert (await wire.response()).body == b"hello"
        assert self.ingress.stats().upstream_connections == 1

    @in_asyncio
    async def test_ignored_body(self) -> None:
        """
        A function that answers without reading a large body is heard.
        """
        for _ in range(5):
            wire = await self.connect()
            wire.writer.write(
                b"POST /ignore HTTP/1.1\r\n%sContent-Length: 20000000\r\n\r\n" % HOST
                + b"x" * 20_000_000
            )
            assert (await wire.response()).body == b"ignored"
            wire.reset()

    @in_asyncio
    async def test_abort(self) -> None:
        """
        A client that leaves aborts the function's `request.signal`.
        """
        for leave, path, word in (
            (Wire.close, b"/wait", "waiting"),
            (Wire.reset, b"/wait", "waiting"),
            (Wire.close, b"/events", "streaming"),
        ):
            wire = await self.connect()
            await wire.send(b"GET %s HTTP/1.1\r\n%s\r\n" % (path, HOST))
            if path == b"/events":
                await wire.head()
            else:
                await self.logged("listening")
            assert self.workerd.in_flight == 1
            leave(wire)
            await self.logged(f"aborted while {word}")
            self.log.write_text("")

    @in_asyncio
    async def test_websocket(self) -> None:
        """
        A WebSocket works, and hears 1012 on both sides when the relay stops.
        """
        wire = await self.connect()
        await wire.send(
            b"GET /socket HTTP/1.1\r\n%sConnection: Upgrade\r\nUpgrade: websocket\r\n"
            b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
            % HOST
        )
        assert (await wire.response()).status == 101
        for word in (b"one", b"two"):
            await wire.send(b"\x81\x83\0\0\0\0" + word)
            assert await wire.reader.readexactly(11) == b"\x81\x09echo: " + word
        assert self.workerd.in_flight == 1
        draining = asyncio.ensure_future(twisted(self.ingress.drain(0.05)))
        assert await wire.reader.readexactly(4) == b"\x88\x02\x03\xf4"
        await self.logged("closed 1012")
        await wire.send(b"\x88\x82\0\0\0\0\x03\xf4")
        await wire.ended()
        await draining

    @in_asyncio
    async def test_killed(self) -> None:
        """
        A cell that is killed under a request is a 502 at once.
        """
        wire = await self.connect()
        await wire.send(b"GET /wait HTTP/1.1\r\n%s\r\n" % HOST)
        await until(lambda: self.workerd.in_flight == 1)
        self.process.kill()
        assert (await wire.response()).status == 502
