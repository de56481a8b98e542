"""Functions that call those of other accounts, by grant, through the real daemon."""

import json
from collections.abc import Iterator
from typing import Any

import attrs
import pytest

from tests.e2e.daemon import Answer, Daemon, multipart, running, until

TARGET = """
import { WorkerEntrypoint } from "cloudflare:workers";
export default {
  async fetch(request, env, ctx) {
    const { pathname } = new URL(request.url);
    if (pathname === "/throw") throw new Error("a secret of the target");
    if (pathname === "/socket") {
      const [client, server] = Object.values(new WebSocketPair());
      server.accept();
      server.addEventListener("message", ({ data }) => server.send("echo " + data));
      return new Response(null, { status: 101, webSocket: client });
    }
    if (pathname === "/big") return new Response("x".repeat(5_000_000));
    console.log("called", pathname);
    return Response.json({
      url: request.url,
      method: request.method,
      headers: Object.fromEntries(request.headers),
      text: await request.text(),
      props: ctx.props,
      cf: request.cf ?? null,
      own: env.OWN,
    }, { status: 207, headers: { "x-answer": "yes", "cf-answer": "this too" } });
  }
};
export class Named extends WorkerEntrypoint {
  fetch() { return Response.json({ named: this.ctx.props }); }
  add(a, b) { return a + b; }
}
"""

CALLER = """
export default {
  async fetch(request, env) {
    const what = new URL(request.url).searchParams.get("call");
    try {
      return await CALLS[what](env, request);
    } catch (error) {
      return Response.json({ error: `${error.name}: ${error.message}` });
    }
  }
}
const CALLS = {
  plain: ({ TARGET }) => TARGET.fetch("https://shop.internal:8443/path?q=1", {
    method: "REPORT",
    body: "sent",
    headers: { "x-mark": "m", "cf-connecting-ip": "192.0.2.7", "x-forwarded-for": "me" },
    cf: { mine: 1 },
  }),
  passed: ({ TARGET }, request) => TARGET.fetch(request),
  named: ({ NAMED }) => NAMED.fetch("http://x/"),
  missing: ({ MISSING }) => MISSING.fetch("http://x/"),
  throws: ({ TARGET }) => TARGET.fetch("http://x/throw"),
  rpc: async ({ NAMED }) => Response.json(await NAMED.add(1, 2)),
  big: async ({ TARGET }) => {
    const text = await (await TARGET.fetch("http://x/big")).text();
    return Response.json(text.length);
  },
  upload: ({ TARGET }) => TARGET.fetch("http://x/", {
    method: "POST",
    body: new Blob(["y".repeat(300_000)]).stream(),
  }),
  socket: async ({ TARGET }) => {
    const { webSocket } = await TARGET.fetch("http://x/socket", {
      headers: { upgrade: "websocket" },
    });
    const heard = new Promise((resolve) => {
      webSocket.addEventListener("message", ({ data }) => resolve(data));
    });
    webSocket.accept();
    webSocket.send("between accounts");
    const said = await heard;
    webSocket.close(1000);
    return Response.json(said);
  },
};
"""

NOT_GRANTED = (
    'Error: The function "shop" cannot be called: '
    "There is no function of this name that this account may call."
)


@attrs.frozen
class Party:
    """
    An account of a daemon.
    """

    daemon: Daemon
    token: str
    account: str

    def api(self, method: str, path: str, **more: Any) -> Answer:
        """
        Ask for something below the account.
        """
        return self.daemon.ask(
            method, f"/client/v4/accounts/{self.account}{path}", token=self.token, **more
        )

    def upload(self, name: str, code: str, **metadata: Any) -> Answer:
        """
        Deploy a function.
        """
        document = {"main_module": "i.js", "compatibility_date": "2026-11-01", **metadata}
        kind, body = multipart(
            ("metadata", None, json.dumps(document).encode()),
            ("i.js", "application/javascript+module", code.encode()),
        )
        path = f"/workers/scripts/{name}"
        return self.api("PUT", path, body=body, headers={"Content-Type": kind})

    def grant(self, name: str, to: "Party") -> Answer:
        """
        Let another party call a function.
        """
        return self.api("PUT", f"/workers/scripts/{name}/grants/{to.account}")

    def revoke(self, name: str, to: "Party") -> Answer:
        """
        Let it no more.
        """
        return self.api("DELETE", f"/workers/scripts/{name}/grants/{to.account}")

    def remove(self, name: str) -> None:
        """
        Delete a function if it is there.
        """
        self.api("DELETE", f"/workers/scripts/{name}")


def bindings(*names: str, **more: Any) -> list[dict[str, Any]]:
    """
    Service bindings of these names to `shop`.
    """
    entrypoints = {"NAMED": {"entrypoint": "Named"}, "MISSING": {"entrypoint": "Nope"}}
    return [
        {"type": "service", "name": name, "service": "shop", **entrypoints.get(name, {}), **more}
        for name in names
    ]


@pytest.fixture(scope="module", params=["account", "function", "shared"])
def parties(request: pytest.FixtureRequest) -> Iterator[tuple[Party, Party]]:
    """
    The owner of `shop`, and another one who has `caller`; at each isolation level.
    """
    with running(ISOLATION=request.param) as daemon:
        owner = Party(daemon, daemon.token, daemon.account)
        caller = Party(daemon, *daemon.new_token("callers"))
        assert owner.upload("shop", TARGET).status == 200
        yield owner, caller


@pytest.fixture
def bound(parties: tuple[Party, Party]) -> Iterator[tuple[Party, Party]]:
    """
    The same, with everything granted and bound.
    """
    owner, caller = parties
    assert owner.grant("shop", caller).status == 200
    everything = bindings("TARGET", "NAMED", "MISSING", props={"tenant": "ä\x7f", "n": [1, None]})
    stored = caller.upload("caller", CALLER, bindings=everything)
    assert stored.status == 200, stored.text
    yield owner, caller
    owner.revoke("shop", caller)
    caller.remove("caller")


def call(party: Party, what: str, **more: Any) -> Answer:
    """
    Have `caller` make a call.
    """
    return party.daemon.function("caller", f"/?call={what}", **more)


def test_a_call_is_what_the_caller_made_it(bound: tuple[Party, Party]) -> None:
    """
    URL, method, headers of any name, body, `cf` and props arrive; status and headers come back.
    """
    _, caller = bound
    answer = call(caller, "plain")
    assert answer.status == 207
    assert answer.headers["x-answer"] == "yes"
    assert answer.headers["cf-answer"] == "this too"
    said = answer.document
    assert said["url"] == "https://shop.internal:8443/path?q=1"
    assert (said["method"], said["text"]) == ("REPORT", "sent")
    assert said["props"] == {"tenant": "ä\x7f", "n": [1, None]}
    assert said["headers"]["x-mark"] == "m"
    assert said["headers"]["cf-connecting-ip"] == "192.0.2.7"
    assert said["headers"]["x-forwarded-for"] == "me"
    assert said["cf"]["mine"] == 1
    assert not [name for name in said["headers"] if "wfaas" in name]


def test_a_request_is_passed_on(bound: tuple[Party, Party]) -> None:
    """
    The request of the outside can be passed on as it is, and brings its id.
    """
    _, caller = bound
    answer = call(caller, "passed", method="POST", body=b"through", headers={"X-A": "b"})
    said = answer.document
    assert said["text"] == "through"
    assert said["headers"]["x-a"] == "b"
    assert said["headers"]["cf-ray"] == answer.headers["cf-ray"]


def test_entrypoints_sockets_and_large_bodies(bound: tuple[Party, Party]) -> None:
    """
    Named entrypoints, WebSockets and streams of both directions work.
    """
    _, caller = bound
    assert call(caller, "named").document == {"named": {"tenant": "ä\x7f", "n": [1, None]}}
    assert call(caller, "socket").document == "echo between accounts"
    assert call(caller, "big").document == 5_000_000
    assert len(call(caller, "upload").document["text"]) == 300_000


def test_what_fails_is_told_without_the_targets_secrets(bound: tuple[Party, Party]) -> None:
    """
    An exception is one for the caller too, without its message, which is in the target's own log;
    RPC and entrypoints that are not there are refused by name.
    """
    owner, caller = bound
    threw = call(caller, "throws").document
    assert threw == {"error": 'Error: The function "shop" threw an exception.'}
    missing = call(caller, "missing").document
    assert missing == {"error": 'Error: The function "shop" has no such entrypoint.'}
    refused = call(caller, "rpc").document["error"]
    assert "belongs to another account" in refused
    assert '"add"' in refused

    def logged() -> bool:
        return "a secret of the target" in owner.api("GET", "/workers/scripts/shop/logs").text

    until(logged, "the exception is in the target's log")
    assert "a secret of the target" not in caller.api("GET", "/workers/logs").text


def test_a_revoked_grant_holds_at_once(bound: tuple[Party, Party]) -> None:
    """
    The call after the revocation is refused, like one of a function that is not there; a new grant
    lets it through again.
    """
    owner, caller = bound
    for _ in range(3):
        assert call(caller, "plain").status == 207
        assert owner.revoke("shop", caller).status == 200
        assert call(caller, "plain").document == {"error": NOT_GRANTED}
        again = owner.revoke("shop", caller)
        assert (again.status, again.document["errors"][0]["code"]) == (404, 10144)
        assert owner.grant("shop", caller).status == 200
    assert call(caller, "plain").status == 207


def test_grants_are_listed_and_the_owners_alone(bound: tuple[Party, Party]) -> None:
    """
    The owner sees who may call; nobody else can look, grant or revoke; ids must be ids.
    """
    owner, caller = bound
    assert owner.grant("shop", caller).status == 200
    (listed,) = owner.api("GET", "/workers/scripts/shop/grants").result
    assert listed["account_id"] == caller.account
    assert listed["author_email"] == "tests"
    assert caller.api("GET", "/workers/scripts/shop/grants").document["errors"][0]["code"] == 10007
    assert caller.grant("shop", caller).document["errors"][0]["code"] == 10007
    assert caller.revoke("shop", caller).document["errors"][0]["code"] == 10007
    assert owner.grant("shop", owner).status == 400
    wrong = owner.api("PUT", "/workers/scripts/shop/grants/someone")
    assert "32 hex digits" in wrong.document["errors"][0]["message"]
    shown = caller.api("GET", "/workers/scripts/caller/settings")
    assert owner.account not in shown.text


def test_an_upload_needs_the_grant(parties: tuple[Party, Party]) -> None:
    """
    Without it the answer is that of a function that is not there; too large props are refused.
    """
    owner, caller = parties
    refused = caller.upload("caller", CALLER, bindings=bindings("TARGET"))
    nowhere = caller.upload("caller", CALLER, bindings=bindings("TARGET", service="nowhere"))
    assert refused.status == 400
    assert refused.text.replace("'shop'", "'nowhere'") == nowhere.text
    owner.grant("shop", caller)
    large = caller.upload("caller", CALLER, bindings=bindings("TARGET", props={"x": "y" * 9000}))
    assert "'props' of the binding 'TARGET'" in large.document["errors"][0]["message"]
    owner.revoke("shop", caller)


def test_a_name_that_changes_hands_takes_no_grant_along(parties: tuple[Party, Party]) -> None:
    """
    Who has the name next is not called by bindings that were made for another, granted or not.
    """
    owner, caller = parties
    third = Party(owner.daemon, *owner.daemon.new_token("third"))
    owner.upload("passing", TARGET)
    owner.grant("passing", caller)
    binding = bindings("TARGET", service="passing")
    assert caller.upload("caller", CALLER, bindings=binding).status == 200
    assert call(caller, "plain").status == 207
    owner.remove("passing")
    assert third.upload("passing", TARGET).status == 200
    assert "error" in call(caller, "plain").document
    assert third.api("GET", "/workers/scripts/passing/grants").result == []
    third.grant("passing", caller)
    assert "error" in call(caller, "plain").document
    assert caller.upload("caller", CALLER, bindings=binding).status == 200
    assert call(caller, "plain").status == 207
    third.remove("passing")
    caller.remove("caller")


def test_versions_and_aliases_of_another_account(parties: tuple[Party, Party]) -> None:
    """
    A call reaches what is deployed when it is made, or the alias that its binding names.
    """
    owner, caller = parties

    def text(of: str) -> str:
        return f"export default {{ fetch: () => new Response('{of}') }}"

    first = owner.upload("changing", text("one")).result["version_id"]
    owner.grant("changing", caller)
    alias = json.dumps({"version_id": first}).encode()
    owner.api("PUT", "/workers/scripts/changing/aliases/stable", body=alias)
    for selector, seen in (({}, "two"), ({"environment": "stable"}, "one")):
        binding = bindings("TARGET", service="changing", **selector)
        assert caller.upload("caller", CALLER, bindings=binding).status == 200
        assert call(caller, "plain").text == "one"
        assert owner.upload("changing", text("two")).status == 200
        assert call(caller, "plain").text == seen
        assert owner.upload("changing", text("one")).status == 200
    owner.remove("changing")
    assert "error" in call(caller, "plain").document
    caller.remove("caller")


def test_a_ring_across_accounts_ends(parties: tuple[Party, Party]) -> None:
    """
    Functions of two accounts that call each other are stopped with an error.
    """
    owner, caller = parties
    code = "export default { fetch: (request, env) => env.TARGET.fetch(request) }"
    owner.upload("ring-one", TARGET)
    caller.upload("ring-two", TARGET)
    owner.grant("ring-one", caller)
    caller.grant("ring-two", owner)
    assert (
        caller.upload("ring-two", code, bindings=bindings("TARGET", service="ring-one")).status
        == 200
    )
    assert (
        owner.upload("ring-one", code, bindings=bindings("TARGET", service="ring-two")).status
        == 200
    )
    assert owner.daemon.function("ring-one").status == 500
    owner.remove("ring-one")
    caller.remove("ring-two")


def test_outsiders_cannot_make_calls(bound: tuple[Party, Party]) -> None:
    """
    The fields of calls are without effect in requests from outside.
    """
    owner, _ = bound
    forged = json.dumps({"url": "http://forged/", "headers": [], "props": {"a": 1}, "depth": 1})
    answer = owner.daemon.function(
        "shop", headers={"x-wfaas-call": forged, "wfaas-cf": '{"version":"call:x"}'}
    )
    assert answer.status == 207
    assert answer.document["props"] == {}
    assert "forged" not in answer.document["url"]


def test_a_closed_function_is_open_to_callers(bound: tuple[Party, Party]) -> None:
    """
    A function that does not answer the outside (`workers_dev: false`) answers who may call it.
    """
    owner, caller = bound
    path = "/workers/scripts/shop/subdomain"
    try:
        owner.api("POST", path, body=b'{"enabled": false}')
        assert owner.daemon.function("shop").status == 404
        assert call(caller, "plain").status == 207
    finally:
        owner.api("POST", path, body=b'{"enabled": true}')


def test_grants_outlive_the_daemon() -> None:
    """
    What was granted is after a restart, and so is what was revoked.
    """
    with running() as daemon:
        owner = Party(daemon, daemon.token, daemon.account)
        caller = Party(daemon, *daemon.new_token("callers"))
        owner.upload("shop", TARGET)
        owner.grant("shop", caller)
        caller.upload("caller", CALLER, bindings=bindings("TARGET"))
        assert daemon.stop() == 0
        daemon.start()
        assert call(caller, "plain").status == 207
        owner.revoke("shop", caller)
        daemon.kill()
        daemon.start()
        assert call(caller, "plain").document == {"error": NOT_GRANTED}
