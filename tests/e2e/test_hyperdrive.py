"""Databases by `hyperdrive` bindings: Wrangler's commands, and what functions reach."""

import json
import socketserver
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.daemon import Daemon, running
from tests.e2e.postgres import postgres_url
from tests.e2e.wrangling import environment, wrangler

PASSWORD = "open sesame/@:"
CODE = """
import { connect } from "cloudflare:sockets";
export default {
  async fetch(request, env) {
    const { searchParams } = new URL(request.url);
    if (searchParams.has("show")) return Response.json(env);
    try {
      const socket = searchParams.has("address")
        ? connect(searchParams.get("address"))
        : env.DB.connect();
      const { value } = await socket.readable.getReader().read();
      return new Response(value);
    } catch (error) {
      return new Response(String(error), { status: 500 });
    }
  },
};
"""


class _Hello(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        """
        Say who this is.
        """
        self.request.sendall(b"database")


@pytest.fixture
def address() -> Iterator[tuple[str, int]]:
    """
    A server on loopback that greets.
    """
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), _Hello) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield "127.0.0.1", server.server_address[1]
        server.shutdown()


@pytest.fixture(scope="module")
def daemon() -> Iterator[Daemon]:
    """
    A daemon that lets configurations name loopback, and functions otherwise reach nothing private.
    """
    with running(HYPERDRIVE_ALLOW="127.0.0.1/32") as started:
        yield started


def config(address: tuple[str, int], **more: Any) -> dict[str, Any]:
    """
    What `wrangler hyperdrive create` sends.
    """
    origin = {
        "scheme": "postgresql",
        "host": address[0],
        "port": address[1],
        "database": "shop",
        "user": "clerk",
        "password": PASSWORD,
        **more,
    }
    return {"name": f"db-{address[1]}", "origin": origin}


def create(daemon: Daemon, address: tuple[str, int]) -> str:
    """
    Make a configuration; returns its id.
    """
    made = daemon.api("POST", "/hyperdrive/configs", config(address))
    id_: str = made.result["id"]
    assert PASSWORD not in made.text
    return id_


def bind(id_: str) -> list[dict[str, Any]]:
    """
    The binding of it.
    """
    return [{"name": "DB", "type": "hyperdrive", "id": id_}]


def test_an_address_is_open_while_a_deployed_version_binds_it(
    daemon: Daemon, address: tuple[str, int]
) -> None:
    """
    Bound, it is reached; without the binding, before and after, it is not, and another account's
    functions never reach it.
    """
    direct = f"/?address={address[0]}:{address[1]}"
    daemon.upload("shop", CODE)
    assert daemon.function("shop", direct).status == 500
    id_ = create(daemon, address)
    assert daemon.function("shop", direct).status == 500
    daemon.upload("shop", CODE, bindings=bind(id_))
    assert daemon.function("shop").text == "database"
    token, account = daemon.new_token("strangers")
    ours, daemon.account = daemon.account, account
    try:
        daemon.upload("spy", CODE, token=token)
        refused = daemon.upload("thief", CODE, token=token, bindings=bind(id_))
    finally:
        daemon.account = ours
    assert daemon.function("spy", direct).status == 500
    assert "'DB'" in refused.document["errors"][0]["message"]
    assert daemon.api("DELETE", f"/hyperdrive/configs/{id_}").status == 400
    daemon.upload("shop", CODE)
    assert daemon.function("shop", direct).status == 500
    assert daemon.api("DELETE", f"/hyperdrive/configs/{id_}").status == 200


def test_a_function_gets_all_it_needs_to_connect(daemon: Daemon, address: tuple[str, int]) -> None:
    """
    The binding has the parts and a URL in which they are encoded, and follows an update at once.
    """
    id_ = create(daemon, address)
    daemon.upload("shown", CODE, bindings=bind(id_))
    url = f"postgres://clerk:open%20sesame%2F%40%3A@127.0.0.1:{address[1]}/shop"
    assert daemon.function("shown", "/?show").document == {
        "DB": {
            "connectionString": url,
            "host": "127.0.0.1",
            "port": address[1],
            "user": "clerk",
            "password": PASSWORD,
            "database": "shop",
        }
    }
    update = {"origin": {"user": "boss", "password": "other"}}
    changed = daemon.api("PATCH", f"/hyperdrive/configs/{id_}", update).result
    assert changed["origin"]["user"] == "boss"
    assert changed["origin"]["database"] == "shop"
    shown = daemon.function("shown", "/?show").document["DB"]
    assert (shown["user"], shown["password"]) == ("boss", "other")


def test_the_password_is_nowhere(daemon: Daemon, address: tuple[str, int]) -> None:
    """
    Neither the API nor the log nor any file has it, and a change of keys reaches it too.
    """
    id_ = create(daemon, address)
    daemon.upload("quiet", CODE, bindings=bind(id_))
    daemon.function("quiet")
    said = daemon.api("GET", "/hyperdrive/configs").text
    said += daemon.api("GET", f"/hyperdrive/configs/{id_}").text
    said += daemon.api("GET", "/workers/scripts/quiet/settings").text + daemon.log
    assert PASSWORD not in said
    for file in (daemon.directory / "data").rglob("*"):
        if file.is_file():
            assert PASSWORD.encode() not in file.read_bytes(), file
    daemon.operator("secrets", "rotate", "--new-key")
    daemon.operator("secrets", "rotate", "--forget-old")
    assert daemon.function("quiet", "/?show").document["DB"]["password"] == PASSWORD


@pytest.mark.parametrize(
    ("host", "what"),
    [
        ("10.1.2.3", "HYPERDRIVE_ALLOW"),
        ("169.254.169.254", "HYPERDRIVE_ALLOW"),
        ("::ffff:10.1.2.3", "HYPERDRIVE_ALLOW"),
        ("::1", "HYPERDRIVE_ALLOW"),
        ("no-such-host.invalid", "HYPERDRIVE_ALLOW"),
        ("not a host", "origin.host"),
        ("127.0.0.1/x", "origin.host"),
    ],
)
def test_what_the_operator_does_not_allow_is_refused(daemon: Daemon, host: str, what: str) -> None:
    """
    A configuration opens no private address by itself, however it is written.
    """
    refused = daemon.api("POST", "/hyperdrive/configs", config((host, 5432)))
    assert refused.status in (400, 403)
    assert what in refused.document["errors"][0]["message"]


def test_openings_are_there_after_a_restart(tmp_path: Path, address: tuple[str, int]) -> None:
    """
    A daemon that starts opens what deployed versions need before it takes requests.
    """
    with running(HYPERDRIVE_ALLOW="127.0.0.0/8") as daemon:
        daemon.upload("kept", CODE, bindings=bind(create(daemon, address)))
        assert daemon.function("kept").text == "database"
        assert daemon.stop() == 0
        daemon.start()
        assert daemon.function("kept").text == "database"


def test_wrangler_keeps_configurations(tmp_path: Path) -> None:
    """
    create, list, get, update and delete of the unmodified Wrangler do what they say.
    """
    with running(dev=True, HYPERDRIVE_ALLOW="127.0.0.1/32") as dev:
        variables = environment(tmp_path / "home", dev)

        def run(*arguments: str, expect: int = 0) -> str:
            return wrangler(tmp_path, variables, "hyperdrive", *arguments, expect=expect)

        url = "--connection-string=postgres://u:pass%40@127.0.0.1:5433/shop"
        said = run("create", "shop", url)
        (made,) = dev.api("GET", "/hyperdrive/configs").result
        assert made["id"] in said
        assert "shop" in run("list")
        assert json.loads(run("get", made["id"]))["origin"]["port"] == 5433
        run("update", made["id"], "--origin-user=v", "--origin-password=w")
        assert json.loads(run("get", made["id"]))["origin"]["user"] == "v"
        assert "2017" in run("create", "shop", url, expect=1)
        run("delete", made["id"])
        assert "2001" in run("get", made["id"], expect=1)
        assert "pass@" not in dev.log


def test_a_real_database_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    The package pg queries a real PostgreSQL through the binding's connection string.
    """
    from tests.e2e.daemon import ROOT

    source = (ROOT / "examples/postgres/src/index.js").read_text()
    source = source.replace("env.DATABASE_URL", "env.DB.connectionString")
    with (
        postgres_url(monkeypatch) as url,
        running(dev=True, HYPERDRIVE_ALLOW="127.0.0.1/32") as dev,
    ):
        (tmp_path / "index.js").write_text(source)
        (tmp_path / "node_modules").symlink_to(ROOT / "node_modules")
        variables = environment(tmp_path / "home", dev)
        wrangler(tmp_path, variables, "hyperdrive", "create", "pg", f"--connection-string={url}")
        (made,) = dev.api("GET", "/hyperdrive/configs").result
        document = {
            "name": "with-pg",
            "main": "index.js",
            "compatibility_date": "2026-11-01",
            "compatibility_flags": ["nodejs_compat"],
            "hyperdrive": [{"binding": "DB", "id": made["id"]}],
        }
        (tmp_path / "wrangler.json").write_text(json.dumps(document))
        wrangler(tmp_path, variables, "deploy")
        assert dev.function("with-pg").document["greeting"] == "Hello, World!"
