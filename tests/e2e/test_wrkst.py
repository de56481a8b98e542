"""The road of a developer with wrkst, against a daemon as `make run` starts it."""

import json
import shutil
import socket
import stat
from pathlib import Path

import pytest
from websockets.sync.client import connect

from tests.e2e.daemon import Daemon, running
from tests.e2e.developer import EXAMPLES, Developer
from tests.e2e.postgres import postgres_url


def test_from_nothing_to_a_deployed_function(dev: Daemon, tmp_path: Path) -> None:
    """
    set-url, login, init, deploy: the new function answers, under the name's own account.
    """
    developer = Developer(tmp_path, dev, token=False)
    developer.run("config", "set-url", dev.url)
    assert "wrkst login" in developer.run("whoami", expect=3)
    developer.login("grace")
    assert "grace" in developer.run("whoami")
    (credentials,) = tmp_path.glob(".config/wrkst/credentials*.json")
    assert stat.S_IMODE(credentials.stat().st_mode) == 0o600

    developer.run("init", "first-worker")
    printed = developer.run("deploy", cwd=tmp_path / "first-worker")
    assert f"http://first-worker.localhost:{dev.port}" in printed
    assert dev.function("first-worker").status == 200

    (function,) = developer.json("list")
    assert function["id"] == "first-worker"
    developer.run("logout")
    developer.run("list", expect=3)


def test_two_people_have_two_accounts(dev: Daemon, tmp_path: Path) -> None:
    """
    Who signs in under another name sees and can change nothing of the first one's.
    """
    ada, eve = (Developer(tmp_path / name, dev, token=False) for name in ("ada", "eve"))
    for developer in (ada, eve):
        developer.run("config", "set-url", dev.url)
        developer.login(developer.home.name)
        developer.run("init", "owned-by-ada")
    ada.run("deploy", cwd=ada.home / "owned-by-ada")
    printed = eve.run("deploy", cwd=eve.home / "owned-by-ada", expect=1)
    assert "taken" in printed
    assert eve.json("list") == []
    eve.run("delete", "--name", "owned-by-ada", "--yes", expect=1)
    assert dev.function("owned-by-ada").status == 200


def test_versions_aliases_and_rollback(dev: Daemon, tmp_path: Path) -> None:
    """
    Old versions answer on their hosts, an alias moves, and one command rolls back.
    """
    developer = Developer(tmp_path, dev)
    project = tmp_path / "rolling"
    project.mkdir()
    settings = {"name": "rolling", "main": "index.ts", "compatibility_date": "2026-11-01"}
    (project / "wrangler.jsonc").write_text(json.dumps(settings) + "// a comment\n")
    ids = []
    for text in ("one", "two"):
        code = f"export default {{ fetch: (): Response => new Response({text!r}) }};\n"
        (project / "index.ts").write_text(code)
        developer.run("deploy", "--message", text, cwd=project)
        ids.append(
            developer.json("deployments", "status", cwd=project)["versions"][0]["version_id"]
        )
    assert dev.function("rolling").text == "two"
    assert dev.function(f"{ids[0][:8]}.rolling").text == "one"

    developer.run("alias", "set", "stable", ids[0], cwd=project)
    assert dev.function("stable.rolling").text == "one"
    developer.run("alias", "set", "stable", ids[1], cwd=project)
    assert dev.function("stable.rolling").text == "two"
    assert developer.json("alias", "list", cwd=project)[0]["name"] == "stable"

    developer.run("rollback", cwd=project)
    assert dev.function("rolling").text == "one"
    developer.run("versions", "deploy", f"{ids[1][:8]}@100%", "-y", cwd=project)
    assert dev.function("rolling").text == "two"
    developer.run("delete", "--yes", cwd=project)
    assert dev.function("rolling").status == 404


def test_a_token_made_by_one_machine_works_until_it_is_revoked(dev: Daemon, tmp_path: Path) -> None:
    """
    A token is shown once, deploys, and stops working when revoked.
    """
    developer = Developer(tmp_path, dev, token=False)
    developer.run("config", "set-url", dev.url)
    developer.login("linus")
    made = developer.json("token", "create", "ci")
    ci = Developer(tmp_path / "ci", dev, token=False)
    ci.environment |= {"WRKST_URL": dev.url, "WRKST_TOKEN": made["value"]}
    assert "linus" in ci.run("whoami")
    listed = developer.json("token", "list")
    assert [token["name"] for token in listed] == ["ci"]
    assert made["value"] not in json.dumps(listed)
    developer.run("token", "revoke", made["id"])
    ci.run("whoami", expect=3)


def test_a_mistake_is_shown_in_the_users_own_file(dev: Daemon, tmp_path: Path) -> None:
    """
    An exception at start-up names the TypeScript file and line, and nothing is deployed.
    """
    developer = Developer(tmp_path, dev)
    project = tmp_path / "mistaken"
    project.mkdir()
    (project / "wrangler.toml").write_text(
        'name = "mistaken"\nmain = "index.ts"\ncompatibility_date = "2026-11-01"\n'
    )
    (project / "index.ts").write_text(
        "type T = number;\nconst n: T = 1;\nthrow new Error('bad ' + n);\nexport default {};\n"
    )
    printed = developer.run("deploy", cwd=project, expect=1)
    assert "bad 1" in printed
    assert "index.ts:3" in printed
    assert dev.function("mistaken").status == 404


@pytest.fixture(scope="module")
def deployed(dev: Daemon, tmp_path_factory: pytest.TempPathFactory) -> Developer:
    """
    All examples but the one that needs a database, deployed with wrkst.
    """
    developer = Developer(tmp_path_factory.mktemp("examples"), dev)
    for name in ("greeter", "hono", "wasm", "websocket-echo", "streaming", "d1"):
        developer.run("deploy", cwd=developer.example(name))
    return developer


def test_the_greeter_example_answers(deployed: Developer) -> None:
    """
    It greets.
    """
    assert "Hello" in deployed.daemon.function("greeter").text


def test_the_hono_example_answers(deployed: Developer) -> None:
    """
    Its routes, variables and errors work.
    """
    dev = deployed.daemon
    assert "sells 2 things" in dev.function("hono").text
    assert dev.function("hono", "/items/2").document["name"] == "biscuits"
    assert dev.function("hono", "/items/9").status == 404
    quote = dev.function("hono", "/quote", method="POST", body=b'[{"id":1,"count":3}]')
    assert quote.status == 200


def test_the_wasm_example_answers(deployed: Developer) -> None:
    """
    It computes in WebAssembly.
    """
    assert deployed.daemon.function("wasm", "/?a=48&b=36").document["gcd"] == 12


def test_the_d1_example_counts(deployed: Developer) -> None:
    """
    Its database is there without configuration, and is the one that `wrkst d1` shows.
    """
    dev = deployed.daemon
    assert "number 1." in dev.function("d1", "/?name=Ada").text
    assert "number 2." in dev.function("d1", "/?name=Ada").text
    assert dev.function("d1").document == [{"name": "Ada", "visits": 2}]
    found = deployed.json("d1", "execute", "d1-d1", "--command", "SELECT visits FROM guests")
    assert found[0]["results"] == [{"visits": 2}]


def test_the_package_for_d1_is_resolved_as_any_other(tmp_path: Path, dev: Daemon) -> None:
    """
    Code that imports `getD1` from the installed package `wrkst-d1`, by name, default or subpath,
    runs as it is.
    """
    developer = Developer(tmp_path, dev)
    project = tmp_path / "packaged"
    shutil.copytree(EXAMPLES / "d1" / "wrkst-d1", project / "node_modules" / "wrkst-d1")
    (project / "wrangler.toml").write_text(
        'name = "packaged"\nmain = "index.ts"\ncompatibility_date = "2025-09-01"\n'
    )
    (project / "index.ts").write_text(
        """
        import byDefault, { getD1 } from 'wrkst-d1';
        import { getD1 as bySubpath } from 'wrkst-d1/client';
        export default {
          async fetch(request: Request, env: any) {
            const db = getD1(env);
            await db.exec(`
              CREATE TABLE IF NOT EXISTS users (
                id INTEGER PRIMARY KEY AUTOINCREMENT,
                email TEXT UNIQUE NOT NULL
              )
            `);
            await db.prepare('INSERT OR IGNORE INTO users (email) VALUES (?)').bind('a@b.c').run();
            const user = await byDefault(env).prepare('SELECT * FROM users WHERE id = ?').bind(1);
            return Response.json([await user.first(), bySubpath(env) === db]);
          },
        };
        """
    )
    developer.run("deploy", cwd=project)
    assert dev.function("packaged").document == [{"id": 1, "email": "a@b.c"}, True]


def test_the_websocket_example_echoes(deployed: Developer) -> None:
    """
    Text and binary come back, and it closes when told goodbye.
    """
    port = deployed.daemon.port
    sock = socket.create_connection(("127.0.0.1", port))
    with connect(f"ws://websocket-echo.localhost:{port}/", sock=sock) as websocket:
        for message in ("hi", b"\0\xff"):
            websocket.send(message)
            assert websocket.recv(timeout=30) == message
        websocket.send("goodbye")
        assert list(websocket) == []
        assert websocket.close_code == 1000


def test_the_streaming_example_streams(deployed: Developer) -> None:
    """
    Events come in order, and bodies of some size go both ways.
    """
    dev = deployed.daemon
    events = dev.function("streaming", "/events?to=3&every=10").text
    assert events == "".join(f"id: {n}\ndata: {n}\n\n" for n in (1, 2, 3))


def test_the_postgres_example_queries(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    With the database's network allowed, a well-known driver speaks to a real PostgreSQL over TCP;
    without, it does not.
    """
    with postgres_url(monkeypatch) as url:
        for allowed, expected in (("127.0.0.1/32", 200), ("", 502)):
            with running(dev=True, EGRESS_ALLOW=allowed) as dev:
                developer = Developer(tmp_path / f"home-{expected}", dev)
                project = developer.example("postgres")
                developer.run("deploy", "--var", f"DATABASE_URL:{url}", cwd=project)
                answer = dev.function("postgres", "/?name=Ada")
                assert answer.status == expected, answer.text
                if expected == 200:
                    assert answer.document["greeting"] == "Hello, Ada!"
