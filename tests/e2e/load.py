"""Clients that keep a daemon busy while something happens to it, and remember every failure."""

import http.client
import select
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager

import attrs
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from tests.e2e.daemon import PATIENCE, Daemon

CODE = """
export default {
  async fetch(request, env, ctx) {
    const { pathname } = new URL(request.url);
    if (pathname === "/kv") {
      await env.KV.put("key", "value");
      return new Response(await env.KV.get("key"));
    }
    if (pathname === "/stream") {
      const { readable, writable } = new TransformStream();
      ctx.waitUntil((async () => {
        const writer = writable.getWriter();
        for (let i = 0; i < 15; i++) {
          await writer.write(new TextEncoder().encode(`${i};`));
          await scheduler.wait(100);
        }
        await writer.close();
      })());
      return new Response(readable);
    }
    if (pathname === "/later") {
      ctx.waitUntil(scheduler.wait(1500).then(() => env.KV.put("later", "done")));
      return new Response("soon");
    }
    if (pathname === "/socket") {
      const [theirs, ours] = Object.values(new WebSocketPair());
      ours.accept();
      ours.addEventListener("message", ({ data }) => ours.send(data));
      return new Response(null, { status: 101, webSocket: theirs });
    }
    await scheduler.wait(3);
    return new Response("ok:" + (await request.text()));
  },
};
"""
"""What `Load` asks: a function that needs a KV namespace as `KV`."""

STREAMED = "".join(f"{i};" for i in range(15)).encode()


@attrs.define
class Load:
    """
    Attributes:
        answered: Requests that were answered as they should be, by kind.
        failed: What went wrong.
        slowest: Seconds that the slowest request took, streams left out.
        closed: Codes that WebSockets were closed with.
    """

    daemon: Daemon
    function: str = "busy"
    answered: dict[str, int] = attrs.Factory(dict)
    failed: list[str] = attrs.Factory(list)
    slowest: float = 0.0
    closed: list[int] = attrs.Factory(list)
    _over: threading.Event = attrs.Factory(threading.Event)
    _threads: list[threading.Thread] = attrs.Factory(list)

    def deploy(self) -> None:
        """
        Upload the function.
        """
        made = self.daemon.api("POST", "/storage/kv/namespaces", {"title": self.function})
        binding = {"type": "kv_namespace", "name": "KV", "namespace_id": made.result["id"]}
        self.daemon.upload(self.function, CODE, bindings=[binding])
        assert self.daemon.function(self.function, "/kv").text == "value"

    @property
    def host(self) -> str:
        """
        The function's.
        """
        return f"{self.function}.{self.daemon.base_domain}"

    def count(self, kind: str) -> int:
        """
        How many of a kind were answered.
        """
        return self.answered.get(kind, 0)

    def _did(self, kind: str) -> None:
        self.answered[kind] = self.count(kind) + 1

    def _kept(self) -> None:
        """
        A client that keeps its connection, as pools do: one that the server has closed meanwhile
        is replaced before a request is sent, and none is ever sent twice.
        """
        kept = http.client.HTTPConnection("127.0.0.1", self.daemon.port, timeout=PATIENCE)
        with closing(kept):
            while not self._over.is_set():
                if kept.sock is not None and select.select([kept.sock], [], [], 0)[0]:
                    kept.close()
                began = time.monotonic()
                kept.request("POST", "/", body=b"x", headers={"Host": self.host})
                response = kept.getresponse()
                body = response.read()
                assert (response.status, body) == (200, b"ok:x"), (response.status, body)
                self.slowest = max(self.slowest, time.monotonic() - began)
                self._did("kept")

    def _fresh(self) -> None:
        while not self._over.is_set():
            began = time.monotonic()
            answer = self.daemon.function(self.function, method="POST", body=b"y")
            assert (answer.status, answer.body) == (200, b"ok:y"), answer
            self.slowest = max(self.slowest, time.monotonic() - began)
            self._did("fresh")

    def _kv(self) -> None:
        while not self._over.is_set():
            answer = self.daemon.function(self.function, "/kv")
            assert (answer.status, answer.body) == (200, b"value"), answer
            self._did("kv")

    def _streams(self) -> None:
        while not self._over.is_set():
            answer = self.daemon.function(self.function, "/stream")
            assert (answer.status, answer.body) == (200, STREAMED), answer
            self._did("streams")

    def _api(self) -> None:
        while not self._over.is_set():
            answer = self.daemon.api("GET", "/workers/scripts")
            assert answer.status == 200, answer
            self._did("api")
            time.sleep(0.02)

    def _sockets(self) -> None:
        """
        A WebSocket that is used all the time, and opened again only when it is closed with 1012.
        """
        while not self._over.is_set():
            with connect(f"ws://{self.host}/socket", sock=self.daemon.connection()) as socket:
                try:
                    while not self._over.is_set():
                        socket.send("ping")
                        assert socket.recv(PATIENCE) == "ping"
                        self._did("messages")
                        time.sleep(0.01)
                except ConnectionClosed as closed:
                    assert closed.rcvd is not None, "the WebSocket broke off"
                    self.closed.append(closed.rcvd.code)

    def _run(self, client: Callable[[], None]) -> None:
        while not self._over.is_set():
            try:
                client()
            except Exception as error:  # noqa: BLE001 - every failure counts
                self.failed.append(f"{client.__name__}: {error!r}"[:300])

    @contextmanager
    def running(self, *kinds: str) -> Iterator["Load"]:
        """
        Clients of these kinds, or of all; each has been answered once when this begins.
        """
        clients = [
            ("kept", self._kept),
            ("kept", self._kept),
            ("fresh", self._fresh),
            ("kv", self._kv),
            ("streams", self._streams),
            ("api", self._api),
            ("messages", self._sockets),
        ]
        wanted = [(kind, client) for kind, client in clients if not kinds or kind in kinds]
        for _, client in wanted:
            thread = threading.Thread(target=self._run, args=(client,), daemon=True)
            self._threads.append(thread)
            thread.start()
        try:
            self.wait_for_all({kind for kind, _ in wanted})
            yield self
            self.wait_for_all({kind for kind, _ in wanted})
        finally:
            self._over.set()
            for thread in self._threads:
                thread.join(PATIENCE)

    def wait_for_all(self, kinds: set[str]) -> None:
        """
        Wait until each kind has been answered once more.
        """
        before = dict(self.answered)
        end = time.monotonic() + PATIENCE
        while any(self.count(kind) <= before.get(kind, 0) for kind in kinds):
            assert time.monotonic() < end, (before, self.answered, self.failed)
            time.sleep(0.02)
