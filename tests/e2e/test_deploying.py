"""Versions, deployments and aliases, seen from the functions' hosts."""

import threading
from concurrent.futures import ThreadPoolExecutor

from tests.e2e.daemon import Daemon, multipart


def says(text: str) -> str:
    """
    Code of a function that answers with a text.
    """
    return f"export default {{ fetch() {{ return new Response({text!r}); }} }};"


def test_a_deployed_function_answers_and_a_new_version_replaces_it(daemon: Daemon) -> None:
    """
    Right after each deploy the next request gets the new version; the old ones stay reachable.
    """
    ids = []
    for text in ("one", "two", "three"):
        ids.append(daemon.upload("replaced", says(text)).result["deployment_id"])
        assert daemon.function("replaced").text == text
    for version_id, text in zip(ids, ("one", "two", "three"), strict=True):
        assert daemon.function(f"{version_id[:8]}.replaced").text == text
        assert daemon.function(f"{version_id}.replaced").text == text
    assert daemon.function("latest.replaced").text == "three"


def test_a_version_is_deployed_when_asked_for(daemon: Daemon) -> None:
    """
    An uploaded version answers on its own host at once, on the function's after its deployment.
    """
    daemon.upload("staged", says("old"))
    new = daemon.upload("staged", says("new"), deploy=False).result["id"]
    assert daemon.function("staged").text == "old"
    assert daemon.function(f"{new[:8]}.staged").text == "new"
    splits = [{"version_id": new, "percentage": 100}]
    deployment = {"strategy": "percentage", "versions": splits}
    assert daemon.api("POST", "/workers/scripts/staged/deployments", deployment).result["id"]
    assert daemon.function("staged").text == "new"


def test_a_function_without_deployment_says_so(daemon: Daemon) -> None:
    """
    A function that only has versions answers 404 with a reason on its own host.
    """
    daemon.upload("draft", says("x"), deploy=False)
    answer = daemon.function("draft")
    assert answer.status == 404
    assert "no deployment" in answer.document["errors"][0]["message"]


def test_shares_are_kept_and_keys_stick(daemon: Daemon) -> None:
    """
    Requests spread over the shares of a deployment; the same key always gets the same version.
    """
    one = daemon.upload("split", says("1")).result["deployment_id"]
    two = daemon.upload("split", says("2"), deploy=False).result["id"]
    splits = [{"version_id": one, "percentage": 70}, {"version_id": two, "percentage": 30}]
    assert daemon.api("POST", "/workers/scripts/split/deployments", {"versions": splits}).result
    answers = [daemon.function("split").text for _ in range(200)]
    assert 95 < answers.count("1") < 185
    for key in ("alice", "bob", "carol"):
        headers = {"Cloudflare-Workers-Version-Key": key}
        assert len({daemon.function("split", headers=headers).text for _ in range(10)}) == 1


def test_an_alias_moves(daemon: Daemon) -> None:
    """
    The alias host serves what the alias names, at once, and 404 when it is gone.
    """
    one = daemon.upload("aliased", says("1")).result["deployment_id"]
    two = daemon.upload("aliased", says("2")).result["deployment_id"]
    path = "/workers/scripts/aliased/aliases/stable"
    for version_id, text in ((one, "1"), (two, "2"), (one, "1")):
        assert daemon.api("PUT", path, {"version_id": version_id}).result["url"]
        assert daemon.function("stable.aliased").text == text
    assert daemon.api("DELETE", path).status == 200
    assert daemon.function("stable.aliased").status == 404


def test_a_deleted_function_is_gone(daemon: Daemon) -> None:
    """
    After its deletion a function answers 404, and the name can be used again.
    """
    old = daemon.upload("deleted", says("old")).result["deployment_id"]
    assert daemon.function("deleted").text == "old"
    assert daemon.api("DELETE", "/workers/scripts/deleted").status == 200
    assert daemon.function("deleted").status == 404
    assert daemon.function(f"{old[:8]}.deleted").status == 404
    daemon.upload("deleted", says("new"))
    assert daemon.function("deleted").text == "new"
    assert daemon.function(f"{old[:8]}.deleted").status == 404


def test_every_kind_of_module_reaches_the_code(daemon: Daemon) -> None:
    """
    Binary stays binary, empty stays empty, nested paths and `./` names are found.
    """
    code = b"""
        import wasm from "./0123-empty.wasm";
        import text from "./texts/deep/a.txt";
        import empty from "./empty.txt";
        import data from "./all.bin";
        import { value } from "./lib/module.js";
        import common from "./common.cjs";
        import settings from "./settings.json";
        export default { async fetch(request, env) {
            return Response.json({
                wasm: wasm instanceof WebAssembly.Module, text, empty,
                data: [...new Uint8Array(data)].every((byte, index) => byte === index),
                size: data.byteLength, value, common, settings, env,
            });
        } };"""
    metadata = (
        b'{"main_module":"index.js","compatibility_date":"2026-11-01","bindings":'
        b'[{"name":"A","type":"plain_text","text":"h\xc3\xa9"},'
        b'{"name":"B","type":"json","json":{"a":[1,null]}},{"name":"C","text":"short"}]}'
    )
    esm = "application/javascript+module"
    content_type, body = multipart(
        ("metadata", None, metadata),
        ("index.js", esm, code),
        ("./0123-empty.wasm", "application/wasm", b"\0asm\1\0\0\0"),
        ("texts/deep/a.txt", "text/plain", "tëxt".encode()),
        ("empty.txt", "text/plain", b""),
        ("all.bin", "application/octet-stream", bytes(range(256))),
        ("lib/module.js", esm, b"export const value = 7;"),
        ("common.cjs", "application/javascript", b"module.exports = {c: 1};"),
        ("settings.json", "application/json", b'{"s":[true]}'),
        ("index.js.map", "application/source-map", b"{}"),
    )
    headers = {"Content-Type": content_type}
    assert daemon.api("PUT", "/workers/scripts/kinds", body=body, headers=headers).result
    assert daemon.function("kinds").document == {
        "wasm": True,
        "text": "tëxt",
        "empty": "",
        "data": True,
        "size": 256,
        "value": 7,
        "common": {"c": 1},
        "settings": {"s": [True]},
        "env": {"A": "hé", "B": {"a": [1, None]}, "C": "short"},
    }


def test_compatibility_flags_count(daemon: Daemon) -> None:
    """
    `nodejs_compat` makes node:buffer importable; without it the upload is refused.
    """
    code = (
        "import { Buffer } from 'node:buffer';"
        "export default { fetch() { return new Response(Buffer.from('hi').toString('hex')); } };"
    )
    refused = daemon.upload("noded", code, compatibility_date="2024-01-01")
    assert (refused.status, refused.document["errors"][0]["code"]) == (400, 10021)
    daemon.upload("noded", code, compatibility_flags=["nodejs_compat"])
    assert daemon.function("noded").text == "6869"


def test_code_that_does_not_load_is_refused_with_its_position(daemon: Daemon) -> None:
    """
    Syntax errors, missing imports, exceptions and endless loops at start-up are 400 with 10021
    and where they are, and no version is made.
    """
    for code, expected in [
        ("export default {\n  fetch() { this is wrong } };", ("SyntaxError", "index.js:2:")),
        ("import x from './missing.js';\nexport default {};", ("missing.js",)),
        ("\n\nthrow new TypeError('at start');", ("at start", "index.js:3:")),
        ("for (;;) {}", ("startup",)),
    ]:
        refused = daemon.upload("broken", code)
        assert refused.status == 400, refused.text
        (error,) = refused.document["errors"]
        assert error["code"] == 10021
        for text in expected:
            assert text in error["message"]
        assert "__workerd_faas" not in error["message"]
    assert daemon.function("broken").status == 404
    assert daemon.api("GET", "/workers/scripts/broken").status == 404
    assert daemon.upload("mended", says("fine")).status == 200


def test_two_accounts_are_kept_apart(daemon: Daemon) -> None:
    """
    A name belongs to its account: another account's upload is refused and changes nothing.
    """
    daemon.upload("mine", says("mine"))
    token, account = daemon.new_token("strangers")
    assert account != daemon.account
    assert daemon.upload("mine", says("stolen"), token=token).status == 403
    path = f"/client/v4/accounts/{account}/workers/scripts/mine"
    content_type, body = multipart(
        ("metadata", None, b'{"main_module":"index.js"}'),
        ("index.js", "application/javascript+module", says("stolen").encode()),
    )
    headers = {"Content-Type": content_type}
    assert daemon.ask("PUT", path, body=body, headers=headers, token=token).status == 403
    assert daemon.ask("GET", path, token=token).status == 404
    assert daemon.function("mine").text == "mine"


def test_deploys_and_requests_at_once(daemon: Daemon) -> None:
    """
    While one function is deployed again and again by several clients, every request to it is
    answered by one of the versions, and the last deployment listed is the one that serves.
    """
    daemon.upload("busy", says("0"))
    failed: list[str] = []
    done = threading.Event()

    def keep_asking() -> None:
        while not done.is_set():
            answer = daemon.function("busy")
            if answer.status != 200 or not answer.text.isdigit():
                failed.append(answer.text)

    with ThreadPoolExecutor(6) as pool:
        readers = [pool.submit(keep_asking) for _ in range(2)]
        try:
            answers = list(pool.map(lambda n: daemon.upload("busy", says(str(n))), range(1, 25)))
        finally:
            done.set()
        for reader in readers:
            reader.result()
    assert [answer.status for answer in answers] == [200] * 24
    assert failed == []
    deployments = daemon.api("GET", "/workers/scripts/busy/deployments").result["deployments"]
    current = deployments[0]["versions"][0]["version_id"]
    assert daemon.function("busy").text == daemon.function(f"{current[:8]}.busy").text


def test_a_function_knows_its_own_version(daemon: Daemon) -> None:
    """
    `version_metadata` gives id, tag and time of the version that runs.
    """
    stored = daemon.upload(
        "selfaware",
        "export default { fetch(_, env) { return Response.json(env.ME); } };",
        bindings=[{"name": "ME", "type": "version_metadata"}],
        annotations={"workers/tag": "v7"},
    ).result
    seen = daemon.function("selfaware").document
    assert seen["id"] == stored["version_id"]
    assert seen["tag"] == "v7"
    assert seen["timestamp"] == stored["created_on"]
    shown = daemon.api("GET", f"/workers/scripts/selfaware/versions/{seen['id']}").result
    assert shown["resources"]["bindings"] == [{"name": "ME", "type": "version_metadata"}]
