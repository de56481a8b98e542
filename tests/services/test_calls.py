"""Functions that call other functions of their account, in a real cell."""

from typing import Any

from twisted.internet.defer import Deferred, gatherResults

from tests.runtime.support import ACCOUNT, RealCase, code
from workerd_faas.domain.model import Binding, BindingKind, Code
from workerd_faas.domain.upstream import Upstream
from workerd_faas.runtime.fleet import Fleet

TARGET = """
import { WorkerEntrypoint, RpcTarget } from "cloudflare:workers";
class Counter extends RpcTarget {
  #n = 0;
  up() { return ++this.#n; }
}
export default class extends WorkerEntrypoint {
  async fetch(request) {
    const { url, method } = request;
    const mark = request.headers.get("x-mark");
    const text = await request.text();
    return Response.json({ version: "NAME", url, method, text, mark, props: this.ctx.props });
  }
  add(a, b) { return a + b; }
  counter() { return new Counter(); }
  boom() { throw new RangeError("out of it"); }
  async twice(give) { return await give(1) + await give(2); }
  stream() { return new Blob(["0123456789"]).stream(); }
  read(body) { return new Response(body).text(); }
  get version() { return "NAME"; }
  async later() { this.ctx.waitUntil(scheduler.wait(20)); return "soon"; }
}
export class Named extends WorkerEntrypoint {
  fetch() { return new Response("named"); }
  who() { return this.ctx.props; }
}
export class Echo extends WorkerEntrypoint {
  fetch() {
    const [client, server] = Object.values(new WebSocketPair());
    server.accept();
    server.addEventListener("message", (event) => server.send("echo " + event.data));
    server.addEventListener("close", () => server.close());
    return new Response(null, { status: 101, webSocket: client });
  }
}
export const plain = { fetch: () => new Response("a plain object") };
"""

CALLER = """
export default {
  async fetch(request, env) {
    const source = decodeURIComponent(new URL(request.url).search.slice(1));
    try {
      return Response.json(await CALLS[source](env));
    } catch (error) {
      return Response.json({ error: `${error.name}: ${error.message}` });
    }
  }
}
const CALLS = {
  fetch: async ({ B }) => (await B.fetch("https://b.internal/p?q", {
    method: "PUT", body: "sent", headers: { "x-mark": "m" } })).json(),
  add: ({ B }) => B.add(1, 2),
  pipelined: ({ B }) => B.counter().up(),
  stub: async ({ B }) => {
    using counter = await B.counter();
    await counter.up();
    return await counter.up();
  },
  boom: ({ B }) => B.boom(),
  callback: ({ B }) => B.twice((n) => n * 10),
  stream: async ({ B }) => new Response(await B.stream()).text(),
  upload: ({ B }) => B.read(new Blob(["abc"]).stream()),
  property: ({ B }) => B.version,
  missing: ({ B }) => B.nothing(),
  later: ({ B }) => B.later(),
  named: ({ NAMED }) => NAMED.who(),
  namedFetch: async ({ NAMED }) => (await NAMED.fetch("http://x/")).text(),
  plain: async ({ PLAIN }) => (await PLAIN.fetch("http://x/")).text(),
  nowhere: ({ NOWHERE }) => NOWHERE.who(),
  nowhereFetch: ({ NOWHERE }) => NOWHERE.fetch("http://x/"),
  gone: ({ GONE }) => GONE.who(),
  socket: async ({ ECHO }) => {
    const { webSocket } = await ECHO.fetch("http://x/", { headers: { upgrade: "websocket" } });
    const heard = new Promise((resolve) => {
      webSocket.addEventListener("message", (event) => resolve(event.data));
    });
    webSocket.accept();
    webSocket.send("over the binding");
    const said = await heard;
    webSocket.close(1000);
    return said;
  },
  pinned: ({ PINNED }) => PINNED.version,
  ours: async ({ OURS }) => (await OURS.fetch("http://x/", { method: "DELETE" })).status,
  forging: async ({ FORGING }) => (await FORGING.fetch("http://x/")).status,
};
"""

RING = """
export default {
  async fetch(request, env) {
    const depth = +(request.headers.get("x-depth") ?? 0);
    try {
      return await env.NEXT.fetch("http://next/", { headers: { "x-depth": depth + 1 } });
    } catch (error) {
      return Response.json({ depth, error: error.message });
    }
  }
}
"""


def service(name: str, target: str, **more: Any) -> Binding:
    """
    A binding to a function.
    """
    return Binding(name=name, kind=BindingKind.SERVICE, value={"service": target, **more})


def with_bindings(text: str, *bindings: Binding) -> Code:
    """
    An upload of one module with bindings.
    """
    made = code(text)
    return Code(
        main_module=made.main_module,
        modules=made.modules,
        compatibility_date=made.compatibility_date,
        bindings=bindings,
    )


def target(name: str) -> Code:
    """
    The function that is called, as a version of this name.
    """
    return code(TARGET.replace("NAME", name))


class ServiceCase(RealCase):
    """
    A cell with a caller, version `a`, and a function `b` that it calls.
    """

    timeout = 120
    fleet_: Fleet
    upstream: Upstream

    async def serve(self, *, keep: int = 200) -> None:
        """
        Start the cell; the version `b1` of `b` serves.
        """
        self.loader.versions.update(
            a=with_bindings(
                CALLER,
                service("B", "b", props={"k": [1, None]}),
                service("NAMED", "b", entrypoint="Named", props={"n": 1}),
                service("PLAIN", "b", entrypoint="plain"),
                service("NOWHERE", "b", entrypoint="Nowhere"),
                service("GONE", "gone"),
                service("ECHO", "b", entrypoint="Echo"),
                service("PINNED", "b", environment="stable"),
                service("OURS", "b", entrypoint="__workerd_faas"),
                service("FORGING", "b", owner="c" * 32, environment="b.call/x/y#"),
            ),
            b1=target("b1"),
            b2=target("b2"),
        )
        self.targets.live["b"] = [(100.0, "b1")]
        self.fleet_ = await self.fleet(loaded_versions=keep)
        self.upstream = await self.ready(self.fleet_)

    async def call(self, what: str) -> Any:
        """
        Have the caller do something.
        """
        reply = await self.client.get(self.upstream, "a", "/?" + what)
        assert reply.status == 200, reply.text
        return reply.json

    async def switch(self, *live: tuple[float, str]) -> None:
        """
        Other versions of `b` serve from now on.
        """
        self.targets.live["b"] = list(live)
        await self.fleet_.function_changed(ACCOUNT, "b", reload=False)

    async def settled(self) -> None:
        """
        Wait until the cell counts nothing as pending.
        """
        (cell,) = self.fleet_._houses
        health = await cell.prober.probe()
        while health.pending:
            health = await cell.prober.probe()


class CallTests(ServiceCase):
    """
    What passes through a service binding.
    """

    async def test_what_no_upload_can_name_is_not_called(self) -> None:
        """
        Should a stored binding name our own entrypoint or another place it fails with an error.
        """
        await self.serve()
        ours = await self.call("ours")
        self.assertIn("no such entrypoint", ours["error"])
        forging = await self.call("forging")
        self.assertIn("no version has such a name", forging["error"])
        await self.settled()

    async def test_fetch_passes_untouched(self) -> None:
        """
        The target sees URL, method, headers and body of the caller, and the binding's props.
        """
        await self.serve()
        self.assertEqual(
            await self.call("fetch"),
            {
                "version": "b1",
                "url": "https://b.internal/p?q",
                "method": "PUT",
                "text": "sent",
                "props": {"k": [1, None]},
                "mark": "m",
            },
        )

    async def test_rpc_works_as_between_static_workers(self) -> None:
        """
        Calls, stubs, pipelining, callbacks, streams both ways, properties and errors all pass.
        """
        await self.serve()
        expected = {
            "add": 3,
            "pipelined": 1,
            "stub": 2,
            "callback": 30,
            "stream": "0123456789",
            "upload": "abc",
            "property": "b1",
            "later": "soon",
            "named": {"n": 1},
            "namedFetch": "named",
            "plain": "a plain object",
            "pinned": "b1",
            "socket": "echo over the binding",
            "boom": {"error": "RangeError: out of it"},
            "missing": {
                "error": 'TypeError: The RPC receiver does not implement the method "nothing".'
            },
            "nowhere": {"error": "Error: Worker has no such entrypoint: Nowhere"},
            "nowhereFetch": {"error": "Error: Worker has no such entrypoint: Nowhere"},
            "gone": {
                "error": 'Error: The function "gone" cannot be called: There is no such function.'
            },
        }
        for _ in range(2):  # the first one loads, the second one finds everything there
            for what, answer in expected.items():
                with self.subTest(what=what):
                    self.assertEqual(await self.call(what), answer)

    async def test_nothing_stays_pending(self) -> None:
        """
        After every kind of call, failed ones included, nothing counts as under way.
        """
        await self.serve()
        for what in ("fetch", "add", "stub", "pipelined", "boom", "property", "missing", "later"):
            await self.call(what)
        for what in ("nowhere", "nowhereFetch", "gone", "plain", "upload", "socket"):
            await self.call(what)
        await self.settled()

    async def test_many_first_calls_ask_and_load_once(self) -> None:
        """
        Fifty first calls at once ask the daemon once and load the target once.
        """
        await self.serve()
        answers = await gatherResults([_deferred(self.call("add")) for _ in range(50)])
        self.assertEqual(set(answers), {3})
        self.assertEqual(self.targets.asked, [(ACCOUNT, "b", None)])
        self.assertEqual([version for _, version in self.loader.asked].count("b1"), 1)

    async def test_a_selector_is_asked_for(self) -> None:
        """
        A binding with an environment asks the daemon for that selector; production is none.
        """
        await self.serve()
        await self.call("pinned")
        self.assertEqual(self.targets.asked, [(ACCOUNT, "b", "stable")])


class DeploymentTests(ServiceCase):
    """
    Which version of the target is called.
    """

    async def test_no_call_after_a_deployment_reaches_the_old_version(self) -> None:
        """
        Once `function_changed` has returned, every call is answered by the new version.
        """
        await self.serve()
        for n in range(10):
            version = f"b{n % 2 + 1}"
            await self.switch((100.0, version))
            self.assertEqual(await self.call("property"), version)

    async def test_callers_under_load_see_the_change_at_once(self) -> None:
        """
        With calls going on all the time, none that begins after the change gets the old version.
        """
        await self.serve()
        going = True

        async def keep_calling() -> None:
            while going:
                await self.call("fetch")

        background = [_deferred(keep_calling()) for _ in range(8)]
        for n in range(20):
            version = f"b{n % 2 + 1}"
            await self.switch((100.0, version))
            self.assertEqual((await self.call("fetch"))["version"], version)
        going = False
        await gatherResults(background)

    async def test_shares_are_followed(self) -> None:
        """
        A deployment of two versions lets both answer.
        """
        await self.serve()
        self.targets.live["b"] = [(50.0, "b1"), (100.0, "b2")]
        seen = {await self.call("property") for _ in range(60)}
        self.assertEqual(seen, {"b1", "b2"})

    async def test_a_target_that_comes_to_be_is_found(self) -> None:
        """
        A call that failed since there was no target works as soon as there is one.
        """
        await self.serve()
        self.assertIn("error", await self.call("gone"))
        self.loader.versions["g"] = code(
            'import { WorkerEntrypoint } from "cloudflare:workers";'
            "export default class extends WorkerEntrypoint { who() { return 1 } }"
        )
        self.targets.live["gone"] = [(100.0, "g")]
        self.assertEqual(await self.call("gone"), 1)

    async def test_a_target_that_does_not_start_is_said(self) -> None:
        """
        The caller gets an error that names the function; other calls go on.
        """
        await self.serve()
        self.loader.versions["bad"] = code("throw new Error('at the start'); export default {}")
        await self.switch((100.0, "bad"))
        self.assertEqual(
            await self.call("add"),
            {"error": 'Error: The function "b" cannot be called: Worker failed to start.'},
        )
        await self.switch((100.0, "b2"))
        self.assertEqual(await self.call("add"), 3)

    async def test_an_evicted_target_is_loaded_again(self) -> None:
        """
        With room for one version, caller and target take turns and every call is answered.
        """
        await self.serve(keep=1)
        for _ in range(5):
            self.assertEqual(await self.call("add"), 3)


class DepthTests(RealCase):
    """
    Functions that call one another in a ring.
    """

    timeout = 120

    async def ring(self, *names: str) -> tuple[Fleet, Upstream]:
        """
        A ring of functions, each calling the next one.
        """
        for name, following in zip(names, (*names[1:], names[0]), strict=True):
            self.loader.versions[name] = with_bindings(RING, service("NEXT", following))
            self.targets.live[following] = [(100.0, following)]
        fleet = await self.fleet()
        return fleet, await self.ready(fleet)

    async def test_a_function_that_calls_itself_is_stopped(self) -> None:
        """
        The seventeenth call in a chain is refused with a message that says what happens.
        """
        _, upstream = await self.ring("me")
        reply = (await self.client.get(upstream, "me")).json
        self.assertEqual(reply["depth"], 16)
        self.assertIn("Subrequest depth limit exceeded", reply["error"])
        self.assertIn('"me"', reply["error"])

    async def test_a_ring_is_stopped(self) -> None:
        """
        It does not matter how many functions the ring has.
        """
        _, upstream = await self.ring("one", "two", "three")
        for _ in range(2):
            reply = (await self.client.get(upstream, "one")).json
            self.assertEqual(reply["depth"], 16)

    async def test_a_target_that_calls_nobody_is_loaded_once(self) -> None:
        """
        Called from outside and by a function, a function without service bindings is one isolate.
        """
        self.loader.versions.update(a=with_bindings(CALLER, service("B", "b")), b1=target("b1"))
        self.targets.live["b"] = [(100.0, "b1")]
        upstream = await self.ready(await self.fleet())
        await self.client.get(upstream, "b1")
        await self.client.get(upstream, "a", "/?add")
        self.assertEqual([version for _, version in self.loader.asked], ["b1", "a"])


def _deferred(work: Any) -> Any:

    return Deferred.fromCoroutine(work)
