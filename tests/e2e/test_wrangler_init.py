"""`wrangler init --from-dash`: the real Wrangler downloads what is deployed here."""

import json
import shutil

import pytest

from tests.e2e.wrangling import Shell, wrangler

CODE = """
import note from "./note.txt";
export default {
  async fetch(request, env) {
    if (new URL(request.url).pathname === "/put") await env.STORE.put("key", "value");
    return Response.json([note, env.GREETING, env.NUMBER, env.SECRET, await env.STORE.get("key")]);
  },
  async scheduled() {},
};
"""
HERE = ("--no-delegate-c3", "-y")
"""
Without this Wrangler leaves the work to the program `create-cloudflare`, which calls it with this.
"""


def test_a_function_is_downloaded_and_deployed_again(shell: Shell) -> None:
    """
    Modules, variables, bindings, schedules and flags come back as a project whose deploy changes
    nothing; secrets stay where they are.
    """
    (shell.directory / "note.txt").write_text("noted")
    shell.configure(
        CODE,
        name="downloaded",
        compatibility_flags=["nodejs_compat"],
        vars={"GREETING": "hello", "NUMBER": 7},
        kv_namespaces=[{"binding": "STORE"}],
        triggers={"crons": ["*/5 * * * *", "0 3 * * MON"]},
    )
    shell.run("deploy")
    wrangler(
        shell.directory, shell.variables, "secret", "put", "SECRET", stdin="a secret for tests"
    )
    shell.daemon.function("downloaded", "/put")
    before = shell.daemon.function("downloaded").document
    assert before == ["noted", "hello", 7, "a secret for tests", "value"]

    shell.run("init", "--from-dash", "downloaded", *HERE)
    place = shell.directory / "downloaded"
    found = json.loads((place / "wrangler.jsonc").read_text())
    assert found["compatibility_flags"] == ["nodejs_compat"]
    assert found["triggers"]["crons"] == ["*/5 * * * *", "0 3 * * MON"]
    everything = b"".join(each.read_bytes() for each in place.rglob("*") if each.is_file())
    assert b"a secret for tests" not in everything

    again = shell.directory.parent / "again"
    shutil.move(place, again)
    wrangler(again, shell.variables, "deploy")
    assert shell.daemon.function("downloaded").document == before
    schedules = shell.daemon.api("GET", "/workers/scripts/downloaded/schedules").result
    assert [each["cron"] for each in schedules["schedules"]] == ["*/5 * * * *", "0 3 * * MON"]


def test_a_script_is_downloaded(shell: Shell) -> None:
    """
    A service-worker script comes back as one, and is deployed again.
    """
    shell.configure("addEventListener('fetch', e => e.respondWith(new Response('sw')));", name="sw")
    shell.run("deploy")
    shell.run("init", "--from-dash", "sw", *HERE)
    wrangler(shell.directory / "sw", shell.variables, "deploy", "--name", "sw-again")
    assert shell.daemon.function("sw-again").text == "sw"


@pytest.mark.parametrize("settings", [{}, {"main": None}])
def test_a_site_is_not_downloaded(shell: Shell, settings: dict[str, None]) -> None:
    """
    Wrangler says that it does not download sites, whether the code binds one or there is no code.
    """
    name = "not-downloaded" if settings else "nor-downloaded"
    (shell.directory / "public").mkdir()
    (shell.directory / "public" / "index.html").write_text("hello")
    shell.configure(CODE.replace('import note from "./note.txt";', "const note = 0;"), name=name)
    document = json.loads((shell.directory / "wrangler.jsonc").read_text())
    document |= settings | {"assets": {"directory": "public"}}
    kept = {key: value for key, value in document.items() if value is not None}
    (shell.directory / "wrangler.jsonc").write_text(json.dumps(kept))
    shell.run("deploy")
    printed = shell.run("init", "--from-dash", name, *HERE, expect=1)
    assert "not yet supported for Workers with Assets" in printed


def test_a_missing_function_is_not_downloaded(shell: Shell) -> None:
    """
    Wrangler says that there is none of that name, and an unknown environment is a 404.
    """
    printed = shell.run("init", "--from-dash", "nowhere-at-all", *HERE, expect=1)
    assert "couldn't find a Worker with that name" in printed
    shell.daemon.upload("somewhere", "export default { fetch() { return new Response('x') } }")
    path = "/workers/services/somewhere/environments/"
    assert shell.daemon.api("GET", path + "production").result["environment"] == "production"
    for end in ("", "/bindings", "/content/v2", "/subdomain", "/routes"):
        answer = shell.daemon.api("GET", path + "staging" + end)
        assert (answer.status, answer.document["errors"][0]["code"]) == (404, 10090)
