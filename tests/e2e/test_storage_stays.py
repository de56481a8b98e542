"""Storage outlasts processes and functions, and stays its account's own."""

import json
import os
import signal
from collections.abc import Iterator
from typing import Any

import pytest

from tests.e2e.daemon import Daemon, running, until, workerds_of

CODE = """
export default {
  async fetch(request, env) {
    const { pathname } = new URL(request.url);
    const key = pathname.slice(1);
    if (key === "all") {
      const { keys } = await env.KV.list();
      const rows = await env.D1.prepare("SELECT key FROM seen ORDER BY key").raw();
      const { backlogCount } = await env.JOBS.metrics();
      const names = keys.map(({ name }) => name).filter((name) => !name.startsWith("got/"));
      const got = keys.map(({ name }) => name).filter((name) => name.startsWith("got/"));
      return Response.json({ keys: names, rows: rows.flat(), backlogCount, got });
    }
    await env.D1.exec("CREATE TABLE IF NOT EXISTS seen (key TEXT)");
    await env.KV.put(key, "v".repeat(70_000));
    await env.D1.prepare("INSERT INTO seen VALUES (?)").bind(key).run();
    await env.JOBS.send(key);
    return new Response("kept");
  },
  async queue(batch, env) {
    for (const { body } of batch.messages) await env.KV.put("got/" + body, "1");
  },
};
"""


class Storage:
    """
    A function with one of each.
    """

    def __init__(self, daemon: Daemon, name: str) -> None:
        self.daemon, self.name = daemon, name
        made = daemon.api("POST", "/storage/kv/namespaces", {"title": f"{name} kv"})
        self.namespace = made.result["id"]
        self.queue = daemon.api("POST", "/queues", {"queue_name": name}).result["queue_id"]
        self.deploy()

    def deploy(self) -> None:
        """
        Upload the function.
        """
        done = self.daemon.upload(
            self.name,
            CODE,
            bindings=[
                {"type": "kv_namespace", "name": "KV", "namespace_id": self.namespace},
                {"type": "queue", "name": "JOBS", "queue_name": self.name},
            ],
        )
        assert done.status == 200, done.text

    def write(self, key: str) -> None:
        """
        Put a value, insert a row, send a message.
        """
        answer = self.daemon.function(self.name, f"/{key}")
        assert answer.text == "kept", answer.text

    @property
    def content(self) -> Any:
        """
        What is there.
        """
        answer = self.daemon.function(self.name, "/all")
        assert answer.status == 200, answer.text
        return answer.document

    def consume(self) -> None:
        """
        Make the function its queue's consumer.
        """
        document = {
            "type": "worker",
            "script_name": self.name,
            "settings": {"max_wait_time_ms": 0},
        }
        done = self.daemon.api("POST", f"/queues/{self.queue}/consumers", document)
        assert done.status == 200, done.text


@pytest.fixture
def own() -> Iterator[Daemon]:
    """
    A daemon that may be killed.
    """
    with running() as daemon:
        yield daemon


def test_what_was_acknowledged_outlasts_every_kill(own: Daemon) -> None:
    """
    After SIGKILL of the processes, of the daemon, and of both, everything that was acknowledged is
    there; messages are delivered then without anybody asking.
    """
    storage = Storage(own, "lasting")
    keys = []
    for number in range(6):
        keys.append(f"k{number}")
        storage.write(keys[-1])
        if number % 2:
            for pid in workerds_of(own):
                os.kill(pid, signal.SIGKILL)
        if number % 3:
            own.kill()
            own.start()
        found = storage.content
        assert (found["keys"], found["rows"]) == (keys, keys)
        assert found["backlogCount"] == len(keys)
    storage.consume()
    own.kill()
    own.start()
    until(lambda: len(storage.content["got"]) == len(keys), "messages are delivered")
    until(lambda: not storage.content["backlogCount"], "the queue is empty")


def test_a_deleted_function_leaves_its_storage(dev: Daemon) -> None:
    """
    Deleting a function keeps what it stored, with its own database, for the function of that name
    that comes next; what it used is listed before.
    """
    storage = Storage(dev, "leaving")
    storage.write("a")
    listed = dev.api("GET", "/workers/scripts/leaving/storage").result
    assert {(each["type"], each["name"]) for each in listed} == {
        ("kv", "leaving kv"),
        ("queue", "leaving"),
        ("d1", "leaving-d1"),
    }
    assert dev.api("DELETE", "/workers/scripts/leaving").status == 200
    assert dev.api("GET", "/d1/database/leaving-d1").status == 200
    storage.deploy()
    assert storage.content["rows"] == ["a"]
    assert storage.content["keys"] == ["a"]


def test_strangers_cannot_bind_or_reach_storage(dev: Daemon) -> None:
    """
    Another account's token sees nothing of a namespace, database or queue, and its uploads cannot
    bind them, whether by id or by name.
    """
    storage = Storage(dev, "guarded")
    storage.write("secret")
    database = dev.api("GET", "/d1/database/guarded-d1").result["uuid"]
    token, account = dev.new_token("strangers")
    ours, theirs = dev.account, account
    paths = (
        ("GET", f"/storage/kv/namespaces/{storage.namespace}"),
        ("GET", f"/storage/kv/namespaces/{storage.namespace}/keys"),
        ("GET", f"/storage/kv/namespaces/{storage.namespace}/values/secret"),
        ("PUT", f"/storage/kv/namespaces/{storage.namespace}/values/secret"),
        ("DELETE", f"/storage/kv/namespaces/{storage.namespace}"),
        ("POST", f"/d1/database/{database}/query"),
        ("POST", f"/d1/database/{database}/export"),
        ("DELETE", f"/d1/database/{database}"),
        ("GET", "/d1/database/guarded-d1"),
        ("GET", f"/queues/{storage.queue}"),
        ("POST", f"/queues/{storage.queue}/purge"),
        ("DELETE", f"/queues/{storage.queue}"),
        ("GET", "/workers/scripts/guarded/storage"),
    )
    for account_id, expected in ((ours, {403}), (theirs, {400, 403, 404})):
        for method, path in paths:
            if account_id == theirs and path.endswith("/scripts/guarded/storage"):
                continue
            answer = dev.ask(
                method,
                f"/client/v4/accounts/{account_id}{path}",
                token=token,
                body=json.dumps({"sql": "SELECT 1"}).encode(),
            )
            assert answer.status in expected, (method, path, answer.text)
    stolen = (
        {"type": "kv_namespace", "name": "X", "namespace_id": storage.namespace},
        {"type": "d1", "name": "X", "id": database},
        {"type": "queue", "name": "X", "queue_name": "guarded"},
    )
    dev_account, dev.account = dev.account, theirs
    try:
        for binding in stolen:
            refused = dev.upload("thieving", CODE, token=token, bindings=[binding])
            assert refused.status == 400, refused.text
            assert "your account has no" in refused.text
    finally:
        dev.account = dev_account
    assert storage.content["keys"] == ["secret"]


def test_keys_cannot_leave_their_namespace(dev: Daemon) -> None:
    """
    Whatever a key looks like, it is a key of this namespace and no other path of the storage.
    """
    made = [
        dev.api("POST", "/storage/kv/namespaces", {"title": f"walls {n}"}).result["id"]
        for n in range(2)
    ]
    keys = (
        "..%2F..%2Fother",
        "a%2Fb%3Fexpiration_ttl%3D1",
        "bulk%2Fget",
        "%2E%2E%2F",
        "x%0D%0Astate-id%3A%20other",
        "%F0%9F%98%80",
    )
    for key in keys:
        path = f"/storage/kv/namespaces/{made[0]}/values/{key}"
        assert dev.api("PUT", path, body=key.encode()).status == 200, key
        assert dev.api("GET", path).text == key
    for key in ("", "%2E%2E", "%00", "x" * 513):
        path = f"/storage/kv/namespaces/{made[0]}/values/{key}"
        assert dev.api("PUT", path, body=b"x").status in (400, 404, 405, 414), key
    assert len(dev.api("GET", f"/storage/kv/namespaces/{made[0]}/keys").result) == len(keys)
    assert dev.api("GET", f"/storage/kv/namespaces/{made[1]}/keys").result == []
