"""The management API as somebody meets it who wants to break it."""

import json
import os
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.daemon import Daemon, running
from tests.e2e.hostile import BODIES, QUERIES, SEGMENTS, Hostile, routes, twisted

SCRIPT = "/accounts/{account}/workers/scripts/target"
KV = "/accounts/{account}/storage/kv/namespaces"
D1 = "/accounts/{account}/d1/database"
QUEUE = "/accounts/{account}/queues"
CODE = "export default { fetch() { return new Response('here'); } }"


@pytest.fixture(scope="module")
def victim() -> Iterator[Daemon]:
    """
    A daemon of our own, since every route is asked, those that delete and restart included.
    """
    with running() as started:
        yield started


@pytest.fixture
def hostile(victim: Daemon) -> Iterator[Hostile]:
    """
    Fails the test if an answer was not in the envelope, was the server's fault, or is in its log.
    """
    with closing(Hostile(victim)) as client:
        yield client
        assert client.wrong == []
        assert client.asked > 5
        assert "Traceback" not in victim.log


def test_no_body_makes_a_route_fail(hostile: Hostile) -> None:
    """
    Whatever bytes stand in a body, the answer is in the envelope and below 500.
    """
    for route in routes():
        for body in BODIES:
            hostile.ask(route.method, route.at(account=hostile.account), body)


def test_no_path_or_query_makes_a_route_fail(hostile: Hostile) -> None:
    """
    Segments that decode to slashes, dots, NUL or no text, and parameters that are no numbers or
    times, are answered likewise.
    """
    for route in routes():
        for name in route.parameters:
            for segment in SEGMENTS:
                path = route.at(**{"account": hostile.account, name: segment})
                hostile.ask(route.method, path, None if route.method == "GET" else b"{}")
        if route.method == "GET":
            for query in QUERIES:
                hostile.ask("GET", route.at(account=hostile.account) + query)


def documents(
    version: str, namespace: str, database: str, queue: str
) -> list[tuple[str, str, Any]]:
    """
    For each route that reads a document: the method, the path, and one that is right.
    """
    origin = {"scheme": "postgres", "host": "192.0.2.1", "port": 5432, "user": "u"}
    settings = {"delivery_delay": 1, "delivery_paused": False}
    annotations = {"workers/message": "m", "workers/triggered_by": "deployment"}
    return [
        ("POST", "/user/tokens", {
            "name": "n", "expires_on": "2030-01-01T00:00:00Z", "scopes": ["workers:write"],
            "functions": ["target"],
        }),
        ("POST", f"{SCRIPT}/deployments", {
            "strategy": "percentage", "versions": [{"version_id": version, "percentage": 100}],
            "annotations": annotations,
        }),
        ("PUT", f"{SCRIPT}/aliases/preview", {"version_id": version}),
        ("PUT", f"{SCRIPT}/secrets", {"name": "S", "text": "t", "type": "secret_text"}),
        ("PATCH", f"{SCRIPT}/secrets-bulk", {
            "secrets": {"A": {"name": "A", "text": "b", "type": "secret_text"}}
        }),
        ("PUT", f"{SCRIPT}/schedules", [{"cron": "* * * * *"}]),
        ("POST", f"{SCRIPT}/subdomain", {"enabled": True, "previews_enabled": True}),
        ("PATCH", f"{SCRIPT}/script-settings", {"tail_consumers": [], "observability": {}}),
        ("POST", f"{SCRIPT}/tails", {"filters": [
            {"sampling_rate": 1.0}, {"outcome": ["ok"]}, {"header": {"key": "a", "query": "b"}},
        ]}),
        ("POST", f"{SCRIPT}/assets-upload-session", {
            "manifest": {"/a.html": {"hash": "0" * 32, "size": 3}}
        }),
        ("POST", KV, {"title": "title"}),
        ("PUT", f"{KV}/{namespace}/bulk", [{
            "key": "k", "value": "v", "base64": False, "metadata": {"a": 1}, "expiration": 10**10,
        }]),
        ("POST", f"{KV}/{namespace}/bulk/delete", ["k"]),
        ("POST", f"{KV}/{namespace}/bulk/get", {
            "keys": ["k"], "type": "text", "withMetadata": True
        }),
        ("POST", D1, {"name": "name", "primary_location_hint": "weur"}),
        ("POST", f"{D1}/{database}/query", {"sql": "select ?1", "params": ["a"]}),
        ("POST", f"{D1}/{database}/export", {
            "output_format": "polling", "dump_options": {"no_data": False, "tables": []},
        }),
        ("POST", QUEUE, {"queue_name": "name", "settings": settings}),
        ("PATCH", f"{QUEUE}/{queue}", {"queue_name": "renamed", "settings": settings}),
        ("POST", f"{QUEUE}/{queue}/consumers", {
            "type": "worker", "script_name": "target", "dead_letter_queue": "dead",
            "settings": {"batch_size": 1, "max_retries": 1, "max_wait_time_ms": 1},
        }),
        ("POST", "/accounts/{account}/hyperdrive/configs", {
            "name": "h", "origin": {**origin, "password": "p", "database": "d"},
            "caching": {"disabled": False}, "origin_connection_limit": 20,
        }),
    ]  # fmt: skip


def test_no_field_makes_a_route_fail(hostile: Hostile, victim: Daemon) -> None:
    """
    A document with any one value of another type, size or sense is taken or refused, never a bug.
    """
    version = victim.upload("target", CODE).result["deployment_id"]
    namespace = victim.api("POST", "/storage/kv/namespaces", {"title": "t"}).result["id"]
    database = victim.api("POST", "/d1/database", {"name": "d"}).result["uuid"]
    queue = victim.api("POST", "/queues", {"queue_name": "q"}).result["queue_id"]
    for method, path, document in documents(version, namespace, database, queue):
        for changed in twisted(document):
            body = json.dumps(changed).encode()
            hostile.ask(method, path.replace("{account}", hostile.account), body)


def test_values_and_metadata_that_are_hard_to_say_as_json(hostile: Hostile, victim: Daemon) -> None:
    """
    Metadata that nobody could read again are refused, lone surrogates that a function stored are
    listed, and a value comes as it is however deep it is nested.
    """
    space = victim.api("POST", "/storage/kv/namespaces", {"title": "hard"}).result["id"]
    base = f"/accounts/{hostile.account}/storage/kv/namespaces/{space}"
    for metadata in (b"[" * 5000 + b"]" * 5000, b"NaN", b'"\\ud800"', b"{", b"9" * 5000):
        form = b"".join(
            b'--BB\r\nContent-Disposition: form-data; name="%s"\r\n\r\n%s\r\n' % part
            for part in ((b"value", b"v"), (b"metadata", metadata))
        )
        answer = hostile.ask(
            "PUT",
            f"{base}/values/k",
            form + b"--BB--\r\n",
            **{"Content-Type": "multipart/form-data; boundary=BB"},
        )
        assert answer.status == 400, metadata[:20]
    stored = [{"key": "odd", "value": "v", "metadata": "\ud800"}]
    assert hostile.ask("PUT", f"{base}/bulk", json.dumps(stored).encode()).status == 200
    assert hostile.ask("GET", f"{base}/keys").result == [{"name": "odd", "metadata": "\ud800"}]
    assert hostile.ask("GET", f"{base}/metadata/odd").result == "\ud800"
    deep = b"[" * 5000 + b"]" * 5000
    assert hostile.ask("PUT", f"{base}/values/deep", deep).status == 200
    for kind, told in (("text", json.dumps(deep.decode()).encode()), ("json", deep)):
        question = json.dumps({"keys": ["deep"], "type": kind}).encode()
        answer = victim.ask("POST", f"/client/v4{base}/bulk/get", body=question, token=victim.token)
        assert answer.status == 200
        assert answer.body.startswith(b'{"success":true,"result":{"values":{"deep":' + told)


def test_what_one_account_asks_for_keeps_nobody_waiting(victim: Daemon) -> None:
    """
    Documents of ten MiB that are all brackets, and results of a million rows, are not read where
    everybody's requests are served: the daemon has less to do with them than a second's work.
    """
    database = victim.api("POST", "/d1/database", {"name": "long"}).result["uuid"]
    query = f"/d1/database/{database}/query"
    assert victim.api("POST", query, {"sql": "select 1"}).status == 200
    before = cpu_seconds(victim)
    for flood in (b"[" * 60 + b"]" * 60 + b",", b"1,", b'"",'):
        body = b"[" + flood * ((10 << 20) // len(flood) - 2) + b"1]"
        answer = victim.api("POST", query, body=body)
        assert answer.status == 400
        assert "more than 200000 values" in answer.text
    count = "with recursive c(x) as (select 1 union all select x + 1 from c limit 300000)"
    answer = victim.api("POST", query, {"sql": f"{count} select x as number from c"})
    assert answer.body.count(b'"number":') == 300_000
    assert cpu_seconds(victim) - before < 1


def cpu_seconds(daemon: Daemon) -> float:
    """
    What the daemon has used so far, its children not counted.
    """
    assert daemon.process is not None
    fields = Path(f"/proc/{daemon.process.pid}/stat").read_text("utf-8").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
