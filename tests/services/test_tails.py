"""Functions that receive the tail events of others, in a real cell."""

import json
import struct
from typing import Any, Final

import attrs

from tests.runtime.support import ACCOUNT, MemoryLoader, RealCase, code
from tests.services.test_calls import service, with_bindings
from workerd_faas.domain.model import Code
from workerd_faas.domain.upstream import Upstream

_HEAD: Final = struct.Struct(">4sI")

PRODUCER = """
export default {
  async fetch(request) {
    if (new URL(request.url).pathname === "/throw") throw new Error("broken");
    console.log("hello", { a: 1 });
    await scheduler.wait(20);
    return new Response("fine");
  }
}
"""
CONSUMER = """
export default {
  async tail(events, env, ctx) {
    console.log(JSON.stringify(events.map((event) => ({
      scriptName: event.scriptName, outcome: event.outcome, url: event.event?.request?.url,
      version: event.scriptVersion.id, cf: Object.keys(event.event?.request?.cf ?? {}).sort(),
      long: event.wallTime >= 20,
      status: event.event?.response?.status, logs: event.logs.map((log) => log.message),
      exceptions: event.exceptions.map((exception) => exception.message),
    }))));
    ctx.waitUntil(scheduler.wait(5).then(() => console.log("later")));
  }
}
"""
CLASS = """
import { WorkerEntrypoint } from "cloudflare:workers";
export default class extends WorkerEntrypoint {
  tail(events) { console.log("a class saw", events.length); }
}
"""
CALLS_BACK = """
export default {
  async tail(events, env) {
    const response = await env.PRODUCER.fetch("http://producer/again");
    console.log(await response.text());
  }
}
"""


@attrs.define
class ConsumerLoader(MemoryLoader):
    """
    Tells consumers with the version `p`.
    """

    consumers: tuple[str, ...] = ()

    async def load_document(self, account_id: str | None, version_id: str) -> bytes:
        """
        See `VersionLoader`.
        """
        document = await MemoryLoader.load_document(self, account_id, version_id)
        if version_id != "p" or not self.consumers:
            return document
        magic, length = _HEAD.unpack_from(document)
        header = json.loads(document[_HEAD.size : _HEAD.size + length])
        text = json.dumps({**header, "tail_consumers": self.consumers}).encode()
        return _HEAD.pack(magic, len(text)) + text + document[_HEAD.size + length :]


class ConsumerTests(RealCase):
    """
    A producer `p` whose events go to others.
    """

    timeout = 120
    loader: ConsumerLoader

    async def serve(self, *consumers: str, **versions: Code) -> Upstream:
        """
        A cell with the producer and these functions, each with a version of its own name.
        """
        self.loader = ConsumerLoader({"p": code(PRODUCER), **versions}, consumers=consumers)
        for name in versions:
            self.targets.live[name] = [(100.0, name)]
        self.targets.live["p"] = [(100.0, "p")]
        self.fleet_ = await self.fleet()
        return await self.ready(self.fleet_)

    def said(self, name: str) -> list[Any]:
        """
        What a function printed.
        """
        return [
            log["message"][0]
            for function, _, trace in self.events.traces
            if function == f"fn-{name}"
            for log in trace["logs"]
        ]

    async def test_each_invocation_is_told(self) -> None:
        """
        The consumer's `tail()` gets requests, logs, exceptions, outcomes and times with the
        producer's name and version, and its own output is in its own log as that of a tail event.
        """
        upstream = await self.serve("c", c=code(CONSUMER))
        await self.client.get(upstream, "p", "/one")
        await self.client.get(upstream, "p", "/throw")
        await self.until(lambda: self.said("c").count("later") == 2)
        events = [json.loads(line)[0] for line in self.said("c") if line != "later"]
        by_path = {event["url"].rpartition("/")[2]: event for event in events}
        self.assertEqual(
            by_path["one"],
            {
                "scriptName": "fn-p",
                "outcome": "ok",
                "url": "https://fn.example.test/one",
                "version": "p",
                "cf": by_path["one"]["cf"],
                "long": True,
                "status": 200,
                "logs": [["hello", {"a": 1}]],
                "exceptions": [],
            },
        )
        self.assertFalse({"version", "function"} & set(by_path["one"]["cf"]))
        self.assertEqual(by_path["throw"]["outcome"], "exception")
        self.assertEqual(by_path["throw"]["exceptions"], ["broken"])
        own = [trace for function, _, trace in self.events.traces if function == "fn-c"]
        self.assertEqual(own[0]["event"], {"consumedEvents": [{"scriptName": "fn-p"}]})

    async def test_a_class_may_consume(self) -> None:
        """
        A default export that is a class is told as well.
        """
        upstream = await self.serve("c", c=code(CLASS))
        await self.client.get(upstream, "p")
        await self.until(lambda: self.said("c"))

    async def test_consumers_do_not_disturb(self) -> None:
        """
        With a consumer that throws, one without `tail()` and one that is gone, requests and the
        other consumer go on, and nothing stays pending.
        """
        upstream = await self.serve(
            "bad", "none", "gone", "c",
            bad=code("export default { tail() { throw new Error('no') } }"),
            none=code("export default {}"),
            c=code(CONSUMER),
        )  # fmt: skip
        for _ in range(3):
            self.assertEqual((await self.client.get(upstream, "p")).text, "fine")
        await self.until(lambda: self.said("c").count("later") == 3)
        (cell,) = self.fleet_._houses
        health = await cell.prober.probe()
        while health.pending:
            health = await cell.prober.probe()

    async def test_a_consumer_that_calls_its_producer_comes_to_an_end(self) -> None:
        """
        Each tail event calls the producer again, one level deeper: that ends by itself.
        """
        upstream = await self.serve(
            "back", back=with_bindings(CALLS_BACK, service("PRODUCER", "p"))
        )
        await self.client.get(upstream, "p")
        (cell,) = self.fleet_._houses
        health = await cell.prober.probe()
        while health.pending or len(self.said("back")) < 2:
            health = await cell.prober.probe()
        self.assertLess(len(self.said("back")), 16)

    async def test_new_consumers_are_told_from_the_next_invocation_on(self) -> None:
        """
        Once `function_changed` with `reload` has returned, another consumer gets what happens.
        """
        upstream = await self.serve(c=code(CONSUMER))
        await self.client.get(upstream, "p")
        self.loader.consumers = ("c",)
        await self.fleet_.function_changed(ACCOUNT, "fn-p", reload=True)
        await self.client.get(upstream, "p", "/two")
        await self.until(lambda: self.said("c").count("later") == 1)
        self.assertIn("/two", self.said("c")[0])
