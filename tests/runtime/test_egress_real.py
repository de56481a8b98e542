"""What a deployed function can reach, with a real cell."""

import ipaddress
import json
import random
import shutil
import subprocess
from typing import Any

from twisted.internet import protocol
from twisted.internet.tcp import Server
from twisted.web.resource import Resource
from twisted.web.server import Site

from tests.runtime.support import RealCase, code
from workerd_faas.runtime import egress

TRY = """
import { connect } from "cloudflare:sockets";
const within = (promise) => Promise.race([promise,
  scheduler.wait(1500).then(() => { throw new Error("timeout") })]);
async function tried(what) {
  try { return await within(what()) } catch (error) { return "refused" }
}
export default { async fetch(request) {
  const out = {};
  for (const [host, port] of await request.json()) {
    const url = host.includes(":") ? `http://[${host}]:${port}/` : `http://${host}:${port}/`;
    out[host] = [
      await tried(async () => (await fetch(url, { signal: AbortSignal.timeout(1400) })).text()),
      await tried(async () => {
        const socket = connect({ hostname: host, port });
        const writer = socket.writable.getWriter();
        await writer.write(new TextEncoder().encode("GET / HTTP/1.0\\r\\n\\r\\n"));
        let text = "";
        for await (const chunk of socket.readable) text += new TextDecoder().decode(chunk);
        return text.split("\\r\\n\\r\\n")[1];
      }),
    ];
  }
  return Response.json(out);
} }
"""


class _Secret(Resource):
    isLeaf = True

    def __init__(self) -> None:
        super().__init__()
        self.asked = 0

    def render_GET(self, request: Any) -> bytes:
        """
        Something that functions should not see.
        """
        self.asked += 1
        return b"reached"


def _ours(reader: Any, address: str) -> bool:
    """
    Whether it is a connection to this address of ours.
    """
    return isinstance(reader, Server) and reader.getHost().host == address


class EgressTests(RealCase):
    """
    Servers on this host that functions try to reach.
    """

    def setUp(self) -> None:
        """
        A server on all addresses, on a port that is free.
        """
        super().setUp()
        self.secret = _Secret()
        factory = Site(self.secret, reactor=self.reactor)
        factory.log = lambda request: None  # type: ignore[method-assign]
        listening = self.reactor.listenTCP(0, factory)
        self.port = listening.getHost().port
        self.addCleanup(listening.stopListening)
        self.loader.versions["v"] = code(TRY)

    async def reach(self, hosts: list[str], allow: tuple[str, ...] = ()) -> dict[str, list[str]]:
        """
        What `fetch()` and `connect()` say of each host.
        """
        fleet = await self.fleet(egress_allow=tuple(ipaddress.ip_network(a) for a in allow))
        upstream = await self.ready(fleet)
        body = json.dumps([[host, self.port] for host in hosts]).encode()
        reply = await self.client.get(upstream, "v", body=body)
        seen: dict[str, list[str]] = reply.json
        await fleet.stop()
        return seen

    async def test_nothing_of_this_host_by_default(self) -> None:
        """
        Neither loopback in any spelling nor the host's own addresses are reached.
        """
        own = [str(block[0]) for block in egress.own_addresses() if block.version == 4]
        hosts = [
            "127.0.0.1",
            "localhost",
            "127.1",
            "0x7f000001",
            "2130706433",
            "0.0.0.0",
            "127.9.9.9",
        ]
        seen = await self.reach([*hosts, "::1", "::ffff:127.0.0.1", *own])
        self.assertEqual(set(map(tuple, seen.values())), {("refused", "refused")}, seen)
        self.assertEqual(self.secret.asked, 0)

    async def test_a_named_address(self) -> None:
        """
        `EGRESS_ALLOW=127.0.0.1/32` opens that address for `fetch()` and `connect()`, and no other.
        """
        seen = await self.reach(["127.0.0.1", "127.0.0.2", "::1"], ("127.0.0.1/32",))
        self.assertEqual(seen["127.0.0.1"], ["reached", "reached"])
        self.assertEqual(seen["127.0.0.2"], ["refused", "refused"])
        self.assertEqual(seen["::1"], ["refused", "refused"])

    async def test_a_named_network(self) -> None:
        """
        A named network is open as a whole, also when it is exactly or more than a denied block.
        """
        for network in ("127.0.0.0/8", "0.0.0.0/0"):
            seen = await self.reach(["127.0.0.1", "127.0.0.2"], (network,))
            self.assertEqual(set(map(tuple, seen.values())), {("reached", "reached")}, network)

    async def test_own_addresses_need_their_own_name(self) -> None:
        """
        The host's own address stays closed in a network that is open, and opens when it is named.
        """
        blocks = egress.own_addresses()
        own = [str(b[0]) for b in blocks if b.version == 4 and not b.is_loopback]
        if not own:
            self.skipTest("this host has no address but loopback")
        seen = await self.reach(own[:1], ("0.0.0.0/0",))
        self.assertEqual(seen[own[0]], ["refused", "refused"])
        seen = await self.reach(own[:1], (f"{own[0]}/32",))
        self.assertEqual(seen[own[0]], ["reached", "reached"])

    async def test_an_address_that_comes_later(self) -> None:
        """
        An address that this host gets while cells run is out of their reach soon, though it is a
        public one.
        """
        address = f"192.31.196.{random.randrange(1, 255)}"  # AS112: public, and nobody's.
        change = ["ip", "address", "add", f"{address}/32", "dev", "lo"]
        fleet = await self.fleet()
        before = await self.ready(fleet)
        if shutil.which("ip") is None or subprocess.run(change, check=False).returncode:
            self.skipTest("this process may not give this host an address")
        change[2] = "delete"
        self.addCleanup(lambda: subprocess.run(change, check=True))
        body = json.dumps([[address, self.port]]).encode()
        seen = (await self.client.get(before, "v", body=body)).json
        self.assertEqual(seen[address], ["reached", "reached"])
        await self.until(lambda: before.retired)
        seen = (await self.client.get(await self.ready(fleet), "v", body=body)).json
        self.assertEqual(seen[address], ["refused", "refused"])
        await fleet.stop()
        await self.until(
            lambda: not any(_ours(each, address) for each in self.reactor.getReaders())
        )

    async def test_no_unix_socket(self) -> None:
        """
        A function that knows the paths of the platform's sockets cannot reach them, even with every
        address open.
        """
        self.loader.versions["v"] = code(
            """
            import { connect } from "cloudflare:sockets";
            export default { async fetch(request) {
              const path = await request.text();
              const said = new Set();
              const tried = async (what) => {
                try { await what(); said.add("reached") } catch { said.add("refused") }
              };
              for (const target of [`unix:${path}`, path, `http://unix:${path}/`,
                `unix:${path}:80`, `http+unix://${encodeURIComponent(path)}/`]) {
                await tried(() => fetch(target));
                await tried(() => connect(target).opened);
                await tried(() => connect({ hostname: target, port: 80 }).opened);
              }
              return Response.json([...said]);
            } }
            """
        )
        everything = tuple(map(ipaddress.ip_network, ("0.0.0.0/0", "::/0")))
        upstream = await self.ready(await self.fleet(egress_allow=everything))
        for path in (upstream.address, upstream.address[:-1] + "d"):
            reply = await self.client.get(upstream, "v", body=path.encode())
            self.assertEqual(reply.json, ["refused"], path)
        self.assertEqual(len(self.loader.asked), 1)

    async def test_the_daemon_is_not_in_reach(self) -> None:
        """
        A function is given its own bindings only, and what its isolate exports of ours can do no
        more than unload it.
        """
        self.loader.versions["v"] = code(
            """
            import { env as imported } from "cloudflare:workers";
            export default { async fetch(request, env, ctx) {
              const exports = Object.keys(ctx.exports);
              const answer = await ctx.exports.__workerd_faas.fetch("http://x/");
              const ours = await answer.text();
              return Response.json({ env: Object.keys(env), imported: Object.keys(imported),
                exports, ours, props: ctx.props, fetcher: String(request.fetcher) });
            } }
            """,
            env={"MINE": 1},
        )
        upstream = await self.ready(await self.fleet())
        seen = (await self.client.get(upstream, "v")).json
        self.assertEqual((seen["env"], seen["imported"]), (["MINE"], ["MINE"]))
        self.assertEqual(sorted(seen["exports"]), ["__workerd_faas", "default"])
        self.assertEqual(seen["ours"], "null")


class TcpTests(RealCase):
    """
    TCP as a database driver uses it.
    """

    async def test_a_conversation(self) -> None:
        """
        `connect()` to a named address carries bytes both ways.
        """

        class Greeter(protocol.Protocol):
            def connectionMade(self) -> None:
                assert self.transport is not None
                self.transport.write(b"hello ")

            def dataReceived(self, data: bytes) -> None:
                assert self.transport is not None
                self.transport.write(data.upper())
                self.transport.loseConnection()

        factory = protocol.Factory.forProtocol(Greeter)
        factory.noisy = False
        listening = self.reactor.listenTCP(0, factory, interface="127.0.0.1")
        self.addCleanup(listening.stopListening)
        self.loader.versions["v"] = code(
            """
            import { connect } from "cloudflare:sockets";
            export default { async fetch(request, env) {
              const socket = connect({ hostname: "127.0.0.1", port: env.PORT });
              const writer = socket.writable.getWriter();
              await writer.write(new TextEncoder().encode("world"));
              let text = "";
              for await (const chunk of socket.readable) text += new TextDecoder().decode(chunk);
              return new Response(text);
            } }
            """,
            env={"PORT": listening.getHost().port},
        )
        fleet = await self.fleet(egress_allow=(ipaddress.ip_network("127.0.0.1/32"),))
        reply = await self.client.get(await self.ready(fleet), "v")
        self.assertEqual(reply.text, "hello WORLD")
