"""Functions tied to one another, through the real daemon and with the real Wrangler."""

import json
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.daemon import Daemon, multipart, running, until
from tests.e2e.developer import Developer
from tests.e2e.wrangling import environment, wrangler

TARGET = """
import {{ WorkerEntrypoint }} from "cloudflare:workers";
export default {{ fetch: () => new Response("{text}") }};
export class Named extends WorkerEntrypoint {{
  add(a, b) {{ return a + b; }}
  who() {{ return this.ctx.props; }}
  text() {{ return "{text}"; }}
}}
"""
CALLER = """
export default {
  async fetch(request, env) {
    const { pathname } = new URL(request.url);
    if (pathname === "/rpc") {
      return Response.json([await env.NAMED.add(1, 2), await env.NAMED.who()]);
    }
    if (pathname === "/text") return new Response(await env.NAMED.text());
    return env.TARGET.fetch(request);
  }
}
"""
WATCHER = """
export default { tail(events) {
  for (const event of events) console.log(event.scriptName, event.outcome);
} };
"""


def to(target: str, name: str = "TARGET", **more: Any) -> dict[str, Any]:
    """
    A service binding.
    """
    return {"type": "service", "name": name, "service": target, **more}


@pytest.fixture(name="wrangling")
def _wrangling(tmp_path: Path, dev: Daemon) -> tuple[Path, Mapping[str, str]]:
    project = tmp_path / "project"
    project.mkdir()
    return project, environment(tmp_path / "home", dev)


def write(project: Path, code: str, **settings: Any) -> None:
    """
    A project of one module.
    """
    (project / "index.js").write_text(code)
    document = {"main": "index.js", "compatibility_date": "2026-11-01", **settings}
    (project / "wrangler.jsonc").write_text(json.dumps(document))


def test_wrangler_deploys_service_bindings(
    dev: Daemon, wrangling: tuple[Path, Mapping[str, str]]
) -> None:
    """
    Two projects: the caller reaches default and named entrypoint of the target, with props.
    """
    project, variables = wrangling
    write(project, TARGET.format(text="one"), name="wr-target")
    wrangler(project, variables, "deploy")
    services = [
        {"binding": "TARGET", "service": "wr-target"},
        {
            "binding": "NAMED",
            "service": "wr-target",
            "entrypoint": "Named",
            "props": {"tenant": "ä", "n": [1, None]},
        },
    ]
    write(project, CALLER, name="wr-caller", services=services)
    wrangler(project, variables, "deploy")
    assert dev.function("wr-caller").text == "one"
    answer = dev.function("wr-caller", "/rpc").document
    assert answer == [3, {"tenant": "ä", "n": [1, None]}]
    write(project, TARGET.format(text="two"), name="wr-target")
    wrangler(project, variables, "deploy")
    assert dev.function("wr-caller").text == "two"
    assert dev.function("wr-caller", "/text").text == "two"


def test_wrangler_says_which_target_is_missing(
    wrangling: tuple[Path, Mapping[str, str]],
) -> None:
    """
    A binding to a function that is not there is refused with its name and Cloudflare's code.
    """
    project, variables = wrangling
    services = [{"binding": "TARGET", "service": "wr-nowhere"}]
    write(project, CALLER, name="wr-lost", services=services)
    printed = wrangler(project, variables, "deploy", expect=1)
    assert "Could not resolve service binding 'TARGET'" in printed
    assert "'wr-nowhere'" in printed
    assert "10143" in printed


def test_wrangler_delete_tells_who_needs_it(
    dev: Daemon, wrangling: tuple[Path, Mapping[str, str]]
) -> None:
    """
    `wrangler delete` of a target names the function that calls it and the one that it watches.
    """
    project, variables = wrangling
    assert dev.upload("needed", WATCHER).status == 200
    assert dev.upload("needs", CALLER, bindings=[to("needed")]).status == 200
    consumers = [{"service": "needed"}]
    assert dev.upload("watched-by-needed", CALLER, tail_consumers=consumers).status == 200
    references = dev.api("GET", "/workers/scripts/needed/references").result
    assert references["services"]["incoming"] == [{"service": "needs", "environment": "production"}]
    producers = dev.api("GET", "/workers/tails/by-consumer/needed").result
    assert producers == [{"producer": {"service": "watched-by-needed"}}]
    write(project, WATCHER, name="needed")
    printed = wrangler(project, variables, "delete")
    assert "needs" in printed
    assert dev.function("needed").status == 404
    assert dev.function("needs").status == 500
    assert dev.api("GET", "/workers/scripts/needs/references").result == {}


def test_wrangler_sets_tail_consumers(
    dev: Daemon, wrangling: tuple[Path, Mapping[str, str]]
) -> None:
    """
    `tail_consumers` of the configuration hold from the first deploy on, and from a later one.
    """
    project, variables = wrangling
    write(project, WATCHER, name="wr-watcher")
    wrangler(project, variables, "deploy")
    write(project, WATCHER, name="wr-other-watcher")
    wrangler(project, variables, "deploy")
    consumers = [{"service": "wr-watcher"}]
    write(project, TARGET.format(text="x"), name="wr-producer", tail_consumers=consumers)
    wrangler(project, variables, "deploy")
    dev.function("wr-producer")
    until(lambda: seen(dev, "wr-watcher"), "the consumer is told")
    consumers = [{"service": "wr-other-watcher"}]
    write(project, TARGET.format(text="y"), name="wr-producer", tail_consumers=consumers)
    wrangler(project, variables, "deploy")
    told = len(seen(dev, "wr-watcher"))
    dev.function("wr-producer")
    until(lambda: seen(dev, "wr-other-watcher"), "the other consumer is told")
    assert len(seen(dev, "wr-watcher")) == told
    settings = dev.api("GET", "/workers/scripts/wr-producer/script-settings").result
    assert settings["tail_consumers"] == consumers


def seen(daemon: Daemon, name: str) -> list[Any]:
    """
    What a consumer printed.
    """
    invocations = daemon.api("GET", f"/workers/scripts/{name}/logs").result
    return [log["message"] for each in invocations for log in each["logs"]]


def test_wrkst_knows_both(dev: Daemon, tmp_path: Path) -> None:
    """
    `wrkst deploy` sends service bindings and tail consumers.
    """
    developer = Developer(tmp_path / "home", dev)
    project = tmp_path / "home" / "project"
    project.mkdir()
    for name, code, settings in (
        ("ws-watcher", WATCHER, {}),
        ("ws-target", TARGET.format(text="w"), {"tail_consumers": [{"service": "ws-watcher"}]}),
        ("ws-caller", CALLER, {"services": [{"binding": "TARGET", "service": "ws-target"}]}),
    ):
        write(project, code, name=name, **settings)
        developer.run("deploy", "--bundler", "esbuild", cwd=project)
    assert dev.function("ws-caller").text == "w"
    until(lambda: ["ws-target", "ok"] in seen(dev, "ws-watcher"), "the consumer is told")


def test_no_call_after_a_deployment_reaches_the_old_version(daemon: Daemon) -> None:
    """
    While callers keep calling, each deployment, rollback and alias is seen by the next call.
    """
    versions = {}
    for text in ("red", "blue"):
        stored = daemon.upload("switched", TARGET.format(text=text)).result
        versions[text] = stored["version_id"]
    pinned = to("switched", environment="chosen")
    assert daemon.upload("switching", CALLER, bindings=[to("switched")]).status == 200
    assert daemon.upload("pinning", CALLER, bindings=[pinned]).status == 200
    going = threading.Event()

    def keep_calling() -> None:
        while not going.is_set():
            daemon.function("switching")

    threads = [threading.Thread(target=keep_calling) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        for n in range(20):
            text, version = tuple(versions.items())[n % 2]
            share = {"version_id": version, "percentage": 100}
            deployment = {"strategy": "percentage", "versions": [share]}
            answer = daemon.api("POST", "/workers/scripts/switched/deployments", deployment)
            assert answer.status == 200
            assert daemon.function("switching").text == text
            alias = {"version_id": version}
            answer = daemon.api("PUT", "/workers/scripts/switched/aliases/chosen", alias)
            assert answer.status == 200
            assert daemon.function("pinning").text == text
    finally:
        going.set()
        for thread in threads:
            thread.join()


def test_handlers_are_called_through_a_binding(daemon: Daemon) -> None:
    """
    `scheduled()` and `queue()` of a binding run the target's, with their outcome and what was
    retried; a socket by `connect()` ends.
    """
    target = """
    export default {
      fetch: () => new Response(),
      scheduled({ cron }) { if (cron === "bad") throw new Error("bad"); console.log("ran", cron); },
      queue({ messages }) { messages[0].ack(); messages[1].retry(); },
    }
    """
    caller = """
    export default { async fetch(request, env) {
      const message = (id) => ({ id, timestamp: new Date(), body: id, attempts: 1 });
      const queue = await env.TARGET.queue("q", [message("a"), message("b")]);
      const ran = await env.TARGET.scheduled({ cron: "* * * * *" });
      const bad = await env.TARGET.scheduled({ cron: "bad" });
      const { done } = await env.TARGET.connect("any:1").readable.getReader().read();
      return Response.json({ queue, ran: ran.outcome, bad: bad.outcome, done });
    } }
    """
    assert daemon.upload("handling", target).status == 200
    assert daemon.upload("handled", caller, bindings=[to("handling")]).status == 200
    answer = daemon.function("handled").document
    assert (answer["ran"], answer["bad"], answer["done"]) == ("ok", "exception", True)
    assert answer["queue"]["explicitAcks"] == ["a"]
    assert [each["msgId"] for each in answer["queue"]["retryMessages"]] == ["b"]
    until(
        lambda: ["ran", "* * * * *"] in seen(daemon, "handling"), "the run is in the target's log"
    )


def test_another_accounts_function_is_no_target(daemon: Daemon) -> None:
    """
    A function of another account cannot be bound to, and is not told from one that is not there;
    neither can it consume events.
    """
    stranger, account = daemon.new_token("stranger-to-services")
    assert daemon.upload("private-target", TARGET.format(text="secret")).status == 200

    def theirs(**metadata: Any) -> Any:
        code = CALLER.encode()
        document = {"main_module": "index.js", "compatibility_date": "2026-11-01", **metadata}
        content_type, body = multipart(
            ("metadata", None, json.dumps(document).encode()),
            ("index.js", "application/javascript+module", code),
        )
        return daemon.ask(
            "PUT",
            f"/accounts/{account}/workers/scripts/their-caller",
            token=stranger,
            body=body,
            headers={"Content-Type": content_type},
        )

    refused = [theirs(bindings=[to(name)]).document for name in ("private-target", "no-target")]
    texts = [each["errors"][0]["message"] for each in refused]
    assert texts[0].replace("private-target", "no-target") == texts[1]
    answer = theirs(tail_consumers=[{"service": "private-target"}])
    assert answer.document["errors"][0]["code"] == 10143


@pytest.mark.parametrize(
    ("binding", "said"),
    [
        ({"type": "service", "name": "B"}, "'service'"),
        ({"type": "service", "name": "B", "service": 5}, "'service'"),
        ({"type": "service", "name": "B", "service": "../x"}, "'service'"),
        (to("self-made", "B", entrypoint=5), "'entrypoint'"),
        (to("self-made", "B", props=[1]), "'props'"),
        (to("self-made", "B", environment="a\nb"), "'environment'"),
    ],
)
def test_bindings_that_are_wrong(daemon: Daemon, binding: Any, said: str) -> None:
    """
    Each wrong field is refused by its name.
    """
    answer = daemon.upload("self-made", CALLER, bindings=[binding])
    assert answer.status == 400
    assert said in answer.document["errors"][0]["message"]


def test_a_ring_of_functions_ends(daemon: Daemon) -> None:
    """
    Two functions that call each other are stopped with an error; others do not notice.
    """
    code = "export default { fetch: (request, env) => env.TARGET.fetch(request) }"
    assert daemon.upload("ring-b", "export default { fetch: () => new Response() }").status == 200
    assert daemon.upload("ring-a", code, bindings=[to("ring-b")]).status == 200
    assert daemon.upload("ring-b", code, bindings=[to("ring-a")]).status == 200
    assert daemon.function("ring-a").status == 500

    def said() -> bool:
        invocations = daemon.api("GET", "/workers/scripts/ring-a/logs").result
        messages = [e["message"] for each in invocations for e in each["exceptions"]]
        return any("Subrequest depth limit exceeded" in message for message in messages)

    until(said, "the reason is in the log")


@pytest.mark.parametrize("isolation", ["function", "shared"])
def test_calls_at_other_isolation_levels(isolation: str) -> None:
    """
    Calls, deployments and the border between accounts hold whoever shares a process.
    """
    with running(ISOLATION=isolation) as daemon:
        assert daemon.upload("target", TARGET.format(text="one")).status == 200
        assert daemon.upload("caller", CALLER, bindings=[to("target")]).status == 200
        assert daemon.function("caller").text == "one"
        assert daemon.upload("target", TARGET.format(text="two")).status == 200
        assert daemon.function("caller").text == "two"
        # The name comes to belong to another account: the binding does not follow it there.
        assert daemon.api("DELETE", "/workers/scripts/target").status == 200
        daemon.token, daemon.account = daemon.new_token("another")
        assert daemon.upload("target", TARGET.format(text="another account's")).status == 200
        assert daemon.function("target").text == "another account's"
        assert daemon.function("caller").status == 500
