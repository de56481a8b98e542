"""Service-worker scripts: the form of Workers before modules, with the real Wrangler."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.daemon import ROOT, Answer, Daemon, multipart, until
from tests.e2e.developer import Developer
from tests.e2e.wrangling import environment, wrangler
from workerd_faas.cli.failure import Exit

SCRIPT = """
const began = typeof GREETING;
self.addEventListener("fetch", (event) => {
  event.respondWith(answer(event));
});
addEventListener("scheduled", (event) => {
  event.waitUntil(Promise.resolve().then(() => console.log("ran", event.cron)));
});
async function answer(event) {
  const { pathname } = new URL(event.request.url);
  if (pathname === "/throw") throw new RangeError("out of it");
  event.waitUntil(KV.put("last", pathname));
  return Response.json({
    began,
    greeting: GREETING,
    limit: LIMIT,
    secret: typeof SECRET === "undefined" ? null : SECRET,
    method: event.request.method,
    text: await event.request.text(),
    last: await KV.get("last"),
    kind: event.type,
  });
}
"""


@pytest.fixture
def project(tmp_path: Path, dev: Daemon) -> Path:
    """
    A project of one script.
    """
    directory = tmp_path / "project"
    directory.mkdir()
    (directory / "index.js").write_text(SCRIPT)
    namespace = dev.api("POST", "/storage/kv/namespaces", {"title": f"of {tmp_path.name}"})
    configuration = {
        "name": "of-old",
        "main": "index.js",
        "compatibility_date": "2026-11-01",
        "vars": {"GREETING": "hello", "LIMIT": 7},
        "kv_namespaces": [{"binding": "KV", "id": namespace.result["id"]}],
        "triggers": {"crons": ["0 3 * * *"]},
    }
    (directory / "wrangler.json").write_text(json.dumps(configuration))
    return directory


def test_wrangler_deploys_a_script(project: Path, tmp_path: Path, dev: Daemon) -> None:
    """
    Bindings are global variables, listeners answer, secrets and versions work as for modules.
    """
    variables = environment(tmp_path / "home", dev)
    wrangler(project, variables, "deploy")
    wrangler(project, variables, "deploy")
    answer = dev.function("of-old", "/a", method="POST", body=b"sent").document
    assert answer["began"] == "string"
    assert (answer["greeting"], answer["limit"], answer["secret"]) == ("hello", 7, None)
    assert (answer["method"], answer["text"], answer["kind"]) == ("POST", "sent", "fetch")
    until(lambda: dev.function("of-old", "/b").document["last"] == "/b", "the key is written")
    wrangler(project, variables, "secret", "put", "SECRET", stdin="sesame")
    assert dev.function("of-old").document["secret"] == "sesame"
    said = wrangler(project, variables, "versions", "upload")
    assert "Worker Version ID" in said
    newest = dev.api("GET", "/workers/scripts/of-old/versions").result["items"][0]
    assert newest["resources"]["script"]["handlers"] == ["fetch", "scheduled"]
    assert dev.function("of-old", "/throw").status == 500

    def logged() -> bool:
        found = dev.api("GET", "/workers/scripts/of-old/logs").result
        stacks = [e.get("stack", "") for each in found for e in each["exceptions"]]
        return any("index.js:11" in stack for stack in stacks)

    until(logged, "the exception is in the log with its place in the user's file")


@pytest.mark.parametrize("bundler", ["esbuild", "wrangler"])
def test_wrkst_deploys_a_script(project: Path, tmp_path: Path, dev: Daemon, bundler: str) -> None:
    """
    With either bundler, imports included; what is wrong is told with its place.
    """
    developer = Developer(tmp_path / "home", dev)
    (project / "node_modules").symlink_to(ROOT / "node_modules")
    (project / "words.ts").write_text('export const words: string = "in other words";\n')
    (project / "index.js").write_text(
        'import { words } from "./words";\n'
        'addEventListener("fetch", (event) => event.respondWith(new Response(words + GREETING)));\n'
    )
    developer.run("deploy", "--bundler", bundler, cwd=project)
    assert dev.function("of-old").text == "in other wordshello"
    (project / "index.js").write_text('addEventListener("fetch", nothing);\n')
    said = developer.run("deploy", "--bundler", bundler, cwd=project, expect=Exit.REFUSED)
    assert "nothing is not defined" in said
    assert "index.js:1" in said


def upload(daemon: Daemon, code: str, kind: str = "application/javascript", **more: Any) -> Answer:
    """
    Upload a script without Wrangler.
    """
    metadata = {"body_part": "script", "compatibility_date": "2026-11-01", **more}
    content_type, body = multipart(
        ("metadata", None, json.dumps(metadata).encode()), ("script", kind, code.encode())
    )
    return daemon.api(
        "PUT", "/workers/scripts/bare", body=body, headers={"Content-Type": content_type}
    )


def test_what_is_wrong_with_a_script_is_said(daemon: Daemon) -> None:
    """
    An exception at start, no listener, a module in a script's place, and one after the other: each
    is refused with what is wrong.
    """
    thrown = upload(daemon, "let a = 1;\nthrow new TypeError('at start');")
    assert "TypeError: at start" in thrown.text
    assert "script:2:" in thrown.text
    assert "no registered event handlers" in upload(daemon, "const a = 1;").text
    module = upload(daemon, "export default {};", "application/javascript+module")
    assert "'body_part' names a script: application/javascript" in module.text
    assert upload(daemon, "export default {};").document["errors"][0]["code"] == 10021


def test_listeners(daemon: Daemon) -> None:
    """
    The first listener that responds answers; listener objects count; one that was removed does not;
    a request that nobody responds to is an error.
    """
    code = """
    const gone = (event) => event.respondWith(new Response("gone"));
    addEventListener("fetch", gone);
    removeEventListener("fetch", gone);
    addEventListener("fetch", { handleEvent(event) {
      if (event.request.url.endsWith("/object")) event.respondWith(new Response("object"));
    } });
    addEventListener("fetch", (event) => {
      if (event.request.url.endsWith("/nobody")) return;
      event.respondWith(new Response("function"));
      try { event.respondWith(new Response("twice")); } catch ({ name }) { console.log(name); }
    });
    """
    assert upload(daemon, code).status == 200, upload(daemon, code).text
    assert daemon.function("bare", "/object").text == "object"
    assert daemon.function("bare", "/").text == "function"
    assert daemon.function("bare", "/nobody").status == 500
    until(
        lambda: "InvalidStateError" in daemon.api("GET", "/workers/scripts/bare/logs").text,
        "the second answer is refused",
    )
