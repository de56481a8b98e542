"""Everything that a machine may have, after a restore on an empty one; also as an ordinary user."""

import os
import pwd
import site
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from tests.assets.sites import upload_files
from tests.e2e.daemon import ROOT, Daemon, User, running, until, workerds_of
from tests.e2e.test_backup import backed_up, restored

CODE: Final = """
export default {
  async fetch(request, env) {
    const { pathname, searchParams } = new URL(request.url);
    if (pathname === "/send") await env.QUEUE.send(searchParams.get("text"));
    if (pathname === "/keep") {
      await env.KV.put("key", searchParams.get("text"));
      await env.D1.exec("CREATE TABLE notes (text TEXT)");
      await env.D1.prepare("INSERT INTO notes VALUES (?)").bind(searchParams.get("text")).run();
    }
    if (pathname === "/got") return Response.json((await env.GOT.list()).keys.map((k) => k.name));
    const note = await env.D1.prepare("SELECT text FROM notes").first("text").catch(() => null);
    return Response.json({
      which: env.WHICH, secret: env.SECRET, kept: await env.KV.get("key"), note,
    });
  },
  async scheduled() { console.log("ran"); },
  async queue(batch, env) {
    for (const { body } of batch.messages) await env.GOT.put(body, "");
  },
};
"""
FILES: Final = {"/index.html": "<h1>front</h1>", "/styles/main.css": "b { color: red }"}
SECRET: Final = "what nobody may see, for tests"
FUNCTION: Final = "whole"


def an_ordinary_user() -> User | None:
    """
    One who can run the daemon; None if we are one.
    """
    if os.geteuid() != 0:
        return None
    uid = pwd.getpwnam("nobody").pw_uid
    path = ":".join([str(ROOT), *site.getsitepackages()])
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    for python in (sys.executable, f"/usr/bin/{version}", f"/usr/local/bin/{version}"):
        try:
            subprocess.run(
                [python, "-c", "import twisted, workerd_faas"],
                user=uid,
                group=uid,
                extra_groups=[],
                env={"PYTHONPATH": path},
                cwd="/",
                check=True,
                capture_output=True,
            )
        except (OSError, subprocess.CalledProcessError):
            continue
        return User(uid, python, path)
    pytest.skip("no Python of this version that an ordinary user can run")


def upload(daemon: Daemon, which: str, *, deploy: bool = True) -> str:
    """
    A version with everything; returns its id.
    """
    namespaces = {
        each["title"]: each["id"] for each in daemon.api("GET", "/storage/kv/namespaces").result
    }
    made = daemon.upload(
        FUNCTION,
        CODE,
        deploy=deploy,
        assets={"jwt": upload_files(daemon, FUNCTION, FILES)},
        bindings=[
            {"type": "plain_text", "name": "WHICH", "text": which},
            {"type": "secret_text", "name": "SECRET", "text": SECRET},
            {"type": "kv_namespace", "name": "KV", "namespace_id": namespaces["kept"]},
            {"type": "kv_namespace", "name": "GOT", "namespace_id": namespaces["got"]},
            {"type": "queue", "name": "QUEUE", "queue_name": "waiting"},
        ],
    )
    assert made.status == 200, made.text
    version: str = made.result.get("deployment_id") or made.result["id"]
    return version


def schedule(daemon: Daemon) -> Any:
    """
    The function's one schedule.
    """
    (found,) = daemon.api("GET", f"/workers/scripts/{FUNCTION}/schedules").result["schedules"]
    return found


def has_run(daemon: Daemon) -> bool:
    """
    Whether the schedule has.
    """
    last = schedule(daemon)["last_run"]
    return last is not None and last["ended_on"] is not None


def furnish(daemon: Daemon) -> str:
    """
    A function with a site, a secret, an alias, a schedule that has run, and messages that wait; and
    a token besides. Returns that token.
    """
    for title in ("kept", "got"):
        assert daemon.api("POST", "/storage/kv/namespaces", {"title": title}).status == 200
    assert daemon.api("POST", "/queues", {"queue_name": "waiting"}).status == 200
    first = upload(daemon, "first")
    upload(daemon, "second")
    path = f"/workers/scripts/{FUNCTION}"
    assert daemon.api("PUT", f"{path}/aliases/stable", {"version_id": first}).status == 200
    assert daemon.api("PUT", f"{path}/schedules", [{"cron": "0 0 1 1 *"}]).status == 200
    assert daemon.function(FUNCTION, "/keep?text=kept").document["kept"] == "kept"
    for text in ("one", "two", "three"):
        assert daemon.function(FUNCTION, f"/send?text={text}").status == 200
    assert daemon.stop() == 0
    # A schedule that was missed runs at the start.
    with sqlite3.connect(daemon.directory / "data" / "faas.db") as database:
        database.execute("UPDATE schedules SET next_at = '2026-01-01T00:00:00.000000Z'")
    database.close()
    daemon.start()
    until(lambda: has_run(daemon), "the schedule runs")
    return daemon.new_token("tests")[0]


def look_at(daemon: Daemon, token: str) -> None:
    """
    All of it is there and works.
    """
    front = daemon.function(FUNCTION)
    assert (front.text, front.headers["content-type"]) == (
        *("<h1>front</h1>", "text/html; charset=utf-8"),
    )
    tagged = {"If-None-Match": front.headers["etag"]}
    assert daemon.function(FUNCTION, headers=tagged).status == 304
    assert daemon.function(FUNCTION, "/styles/main.css").text == "b { color: red }"
    kept = {"secret": SECRET, "kept": "kept", "note": "kept"}
    assert daemon.function(FUNCTION, "/look").document == {"which": "second", **kept}
    assert daemon.function(f"stable.{FUNCTION}", "/look").document == {"which": "first", **kept}
    assert daemon.api("GET", "/workers/scripts", token=token).status == 200
    assert daemon.api("GET", "/workers/scripts", token=token[:-1] + "x").status == 401
    secrets = daemon.api("GET", f"/workers/scripts/{FUNCTION}/secrets").result
    assert [each["name"] for each in secrets] == ["SECRET"]


def test_everything_is_there_after_a_restore(whole: Daemon) -> None:
    """
    A site, secrets, messages that wait, a schedule's history, a token and an alias are on the new
    machine as they were, the messages are delivered there, and both machines go on.
    """
    token = furnish(whole)
    look_at(whole, token)
    ran = schedule(whole)
    archive = whole.directory / "b.tar"
    made = backed_up(whole, archive, "--with-keys", "--logs")
    assert made["damaged"] == []
    with restored(whole, archive) as copy:
        look_at(copy, token)
        assert schedule(copy) == ran
        logged = copy.api("GET", f"/workers/scripts/{FUNCTION}/logs").result
        assert ["ran"] in [line["message"] for each in logged for line in each["logs"]]
        # A message is with a machine until its consumer has it: here there was none so far.
        for daemon in (copy, whole):
            assert daemon.function(FUNCTION, "/got").document == []
            (queue,) = daemon.api("GET", "/queues?name=waiting").result
            settings = {"max_wait_time_ms": 0}
            consumer = {"type": "worker", "script_name": FUNCTION, "settings": settings}
            path = f"/queues/{queue['queue_id']}/consumers"
            assert daemon.api("POST", path, consumer).status == 200
            until(lambda: len(daemon.function(FUNCTION, "/got").document) == 3, "all are delivered")  # noqa: B023
            assert set(daemon.function(FUNCTION, "/got").document) == {"one", "two", "three"}
        upload(copy, "third")
        assert copy.function(FUNCTION, "/look").document["which"] == "third"
        assert whole.function(FUNCTION, "/look").document["which"] == "second"


@pytest.mark.parametrize("whole", ["as an ordinary user"], indirect=True)
def test_an_ordinary_user_needs_nobody_elses_leave(whole: Daemon) -> None:
    """
    No process of a daemon that an ordinary user has started is another's, nor is any file of it.
    """
    uid = os.geteuid() if whole.user is None else whole.user.uid
    assert whole.process is not None
    for pid in (whole.process.pid, *workerds_of(whole)):
        status = Path(f"/proc/{pid}/status").read_text()
        assert f"\nUid:\t{uid}\t{uid}\t{uid}\t{uid}\n" in status
    data = whole.directory / "data"
    assert {each.lstat().st_uid for each in [data, *data.rglob("*")]} == {uid}


@pytest.fixture(scope="module", params=["as we are", "as an ordinary user"])
def whole(request: pytest.FixtureRequest) -> Iterator[Daemon]:
    """
    A daemon of ours, and one of an ordinary user.
    """
    user = an_ordinary_user() if request.param == "as an ordinary user" else None
    with running(user=user) as daemon:
        yield daemon
