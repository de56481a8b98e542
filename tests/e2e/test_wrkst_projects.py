"""`wrkst deploy` and the real daemon: what a configuration says beside the code."""

import json
from pathlib import Path
from typing import Any

from tests.e2e.daemon import Daemon, until
from tests.e2e.developer import Developer
from workerd_faas.cli.failure import Exit

CODE = """\
export default {
  async fetch(request, env) {
    await env.JOBS.send("work");
    return new Response("sent");
  },
  async queue(batch, env) {
    await env.DONE.put("seen", batch.messages[0].body);
  },
};
"""


def project(home: Path, name: str, **settings: object) -> Path:
    """
    A project of one module.
    """
    directory = home / name
    directory.mkdir(exist_ok=True)
    (directory / "index.js").write_text(CODE)
    document = {"name": name, "main": "index.js", "compatibility_date": "2026-11-01", **settings}
    (directory / "wrangler.jsonc").write_text(json.dumps(document))
    return directory


def test_consumers_of_queues(tmp_path: Path, dev: Daemon) -> None:
    """
    A deploy needs its queues, consumes them from then on, and takes other settings next time.
    """
    developer = Developer(tmp_path / "home", dev)
    queues = {
        "producers": [{"binding": "JOBS", "queue": "consumed-jobs"}],
        "consumers": [{"queue": "consumed-jobs", "max_batch_size": 2, "max_batch_timeout": 0}],
    }
    namespace = dev.api("POST", "/storage/kv/namespaces", {"title": "consumed"}).result["id"]
    kv = [{"binding": "DONE", "id": namespace}]
    directory = project(developer.home, "consumer", queues=queues, kv_namespaces=kv)
    said = developer.run("deploy", cwd=directory, expect=Exit.PROJECT)
    assert "consumed-jobs" in said and "queues create" in said
    queue = dev.api("POST", "/queues", {"queue_name": "consumed-jobs"}).result
    assert "consumer of queue consumed-jobs" in developer.run("deploy", cwd=directory)

    def consumer() -> Any:
        found = dev.api("GET", f"/queues/{queue['queue_id']}").result
        assert found["producers_total_count"] == 1
        (only,) = found["consumers"]
        return only

    first = consumer()
    assert (first["script"], first["settings"]["batch_size"]) == ("consumer", 2)
    assert dev.function("consumer").text == "sent"
    seen = f"/storage/kv/namespaces/{namespace}/values/seen"
    until(lambda: dev.api("GET", seen).text == "work", "the message is consumed")
    queues["consumers"] = [{"queue": "consumed-jobs", "max_retries": 1}]
    project(developer.home, "consumer", queues=queues, kv_namespaces=kv)
    developer.run("triggers", "deploy", cwd=directory)
    second = consumer()
    assert second["settings"]["max_retries"] == 1
    assert second["consumer_id"] == first["consumer_id"]


def test_limits_are_refused_by_name(tmp_path: Path, dev: Daemon) -> None:
    """
    What Wrangler's deploy is refused, that of wrkst is refused too, with the same words.
    """
    developer = Developer(tmp_path / "home", dev)
    directory = project(developer.home, "limited", limits={"cpu_ms": 50})
    said = developer.run("deploy", cwd=directory, expect=Exit.REFUSED)
    assert "metadata.limits" in said and "not supported yet" in said


def test_the_host_of_a_function_is_no_server(tmp_path: Path, dev: Daemon) -> None:
    """
    `config set-url` of a function's host, or of one of its versions, tells the server's own.
    """
    developer = Developer(tmp_path / "home", dev, token=False)
    for host in ("hello", "latest.hello"):
        url = dev.url.replace("://", f"://{host}.")
        said = developer.run("config", "set-url", url, expect=Exit.REFUSED)
        assert f"`wrkst config set-url {dev.url}`" in said
    assert dev.url in developer.run("config", "set-url", dev.url)
