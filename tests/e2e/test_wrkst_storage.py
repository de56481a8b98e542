"""`wrkst kv`, `wrkst d1`, `wrkst queues`, and deploys that make and consume storage."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.daemon import BIN, Daemon, until
from tests.e2e.developer import Developer

CODE = """
export default {
  async fetch(request, env) {
    const { pathname } = new URL(request.url);
    if (pathname === "/send") return Response.json(await env.JOBS.send({ n: 7 }));
    if (pathname === "/kv") return Response.json(await env.MY_STORE.get("seen", "json"));
    const { results } = await env.DB.prepare("SELECT name FROM people ORDER BY id").all();
    return Response.json(results);
  },
  async queue(batch, env) {
    const bodies = batch.messages.map((message) => message.body);
    await env.MY_STORE.put("seen", JSON.stringify({ queue: batch.queue, bodies }));
  },
};
"""


class Project:
    """
    A developer in a directory.
    """

    def __init__(self, home: Path, daemon: Daemon) -> None:
        self.developer, self.daemon = Developer(home, daemon), daemon
        self.directory = home / "project"
        self.directory.mkdir()

    def configure(self, **settings: Any) -> None:
        """
        Write the Worker and its configuration.
        """
        document = {"main": "index.js", "compatibility_date": "2026-11-01"} | settings
        self.write("wrangler.json", json.dumps(document))
        self.write("index.js", CODE)

    def write(self, name: str, text: str) -> None:
        """
        Write a file.
        """
        (self.directory / name).parent.mkdir(exist_ok=True)
        (self.directory / name).write_text(text)

    def run(self, *arguments: str, stdin: bytes = b"", expect: int = 0) -> bytes:
        """
        Run wrkst; returns what it said, or complained of.
        """
        done = subprocess.run(
            [BIN / "wrkst", *arguments],
            cwd=self.directory,
            env=self.developer.environment,
            input=stdin,
            capture_output=True,
            check=False,
        )
        assert done.returncode == expect, (done.returncode, done.stdout, done.stderr)
        return done.stdout if expect == 0 else done.stderr

    def json(self, *arguments: str) -> Any:
        """
        Run wrkst with `--json`.
        """
        return json.loads(self.run(*arguments, "--json"))


@pytest.fixture
def project(tmp_path: Path, dev: Daemon) -> Project:
    """
    An empty project.
    """
    return Project(tmp_path, dev)


def test_kv(project: Project) -> None:
    """
    Namespaces are made, listed, renamed and deleted, and keys put, read, listed and deleted, one by
    one and many at once.
    """
    made = project.json("kv", "namespace", "create", "wrkst first")
    project.run("kv", "namespace", "rename", "wrkst first", "--new-name", "wrkst things")
    titles = {each["id"]: each["title"] for each in project.json("kv", "namespace", "list")}
    assert titles[made["id"]] == "wrkst things"
    project.configure(name="any", kv_namespaces=[{"binding": "KV", "id": made["id"]}])
    for here in (("--binding", "KV"), ("--namespace-id", made["id"], "--remote")):
        for key in ("plain", "a/b c", "%41?x=1&y#z", "ünï"):
            project.run("kv", "key", "put", key, f"value of {key}", *here)
            assert project.run("kv", "key", "get", key, *here).decode() == f"value of {key}"
    binary = bytes(range(256)) * 1000
    project.run("kv", "key", "put", "b", *here, "--metadata", '{"a": [1]}', stdin=binary)
    assert project.run("kv", "key", "get", "b", *here) == binary
    assert "base64" in project.json("kv", "key", "get", "b", *here)
    project.run("kv", "key", "put", "short", "x", "--ttl", "3600", *here)
    assert b"60" in project.run("kv", "key", "put", "x", "x", "--ttl", "5", *here, expect=1)
    listed = {each["name"]: each for each in project.json("kv", "key", "list", *here)}
    assert listed["b"]["metadata"] == {"a": [1]}
    assert listed["short"]["expiration"] > 0
    assert len(listed) == 6
    project.run("kv", "key", "delete", "a/b c", *here)
    (left,) = project.json("kv", "key", "list", "--prefix", "sh", *here)
    assert left["name"] == "short"

    pairs = [{"key": f"bulk/{n}", "value": str(n)} for n in range(1500)]
    project.write("pairs.json", json.dumps(pairs))
    project.run("kv", "bulk", "put", "pairs.json", *here, "--metadata", '"all"')
    project.write("keys.json", json.dumps(["bulk/3", {"name": "bulk/1499"}, "none"]))
    found = json.loads(project.run("kv", "bulk", "get", "keys.json", *here))
    assert found == {"bulk/3": "3", "bulk/1499": "1499", "none": None}
    names = project.json("kv", "key", "list", "--prefix", "bulk/", *here)
    assert len(names) == 1500
    assert names[0]["metadata"] == "all"
    project.run("kv", "bulk", "delete", "keys.json", "-f", *here)
    assert len(project.json("kv", "key", "list", "--prefix", "bulk/", *here)) == 1498
    project.run("kv", "namespace", "delete", "wrkst things", "-y")
    assert b"no KV namespace" in project.run("kv", "namespace", "delete", "wrkst things", expect=1)


def test_d1_and_its_migrations(project: Project) -> None:
    """
    Databases are made, queried, filled, exported and deleted; migrations are applied once each, and
    one that fails changes nothing.
    """
    made = project.json("d1", "create", "wrkst-people")
    database = {"binding": "DB", "database_name": "wrkst-people", "database_id": made["uuid"]}
    project.configure(name="wrkst-migrated", d1_databases=[database])
    sql = "CREATE TABLE t (a, b); INSERT INTO t VALUES (1, 'x;y'); SELECT * FROM t"
    results = project.json("d1", "execute", "DB", "--command", sql)
    assert results[2]["results"] == [{"a": 1, "b": "x;y"}]
    project.write(
        "more.sql", "INSERT INTO t VALUES (2, NULL);\n-- comment\nINSERT INTO t VALUES (3, 3);"
    )
    assert project.json("d1", "execute", "wrkst-people", "--file", "more.sql")["num_queries"] == 2
    project.write("bad.sql", "DELETE FROM t; NOT SQL;")
    assert b"NOT" in project.run("d1", "execute", "DB", "--file", "bad.sql", expect=1)
    printed = project.run("d1", "execute", "DB", "--command", "SELECT * FROM t ORDER BY a")
    assert printed == b"1\tx;y\n2\tNULL\n3\t3\n"
    assert b"INSERT INTO" in project.run("d1", "export", "DB", "--output", "-", "--no-schema")
    project.run("d1", "export", "DB", "--output", "dump.sql")
    assert "CREATE TABLE t" in (project.directory / "dump.sql").read_text()
    assert project.json("d1", "info", "DB")["num_tables"] == 1

    first = project.json("d1", "migrations", "create", "DB", "make people")["file"]
    assert first.endswith("migrations/0001_make_people.sql")
    text = (
        "CREATE TABLE people (id INTEGER PRIMARY KEY, name TEXT);\nINSERT INTO people (name) VALUES"
    )
    project.write("migrations/0001_make_people.sql", f"{text} ('Ada'), ('Grace');")
    project.write("migrations/0010_last.sql", "UPDATE people SET name = 'G' WHERE name = 'Grace';")
    project.write("migrations/0002_bad.sql", "DELETE FROM people; OOPS;")
    names = ["0001_make_people.sql", "0002_bad.sql", "0010_last.sql"]
    assert project.json("d1", "migrations", "list", "DB") == names
    assert b"0002_bad" in project.run("d1", "migrations", "apply", "DB", expect=1)
    assert project.json("d1", "migrations", "list", "DB") == names[1:]
    (project.directory / "migrations/0002_bad.sql").unlink()
    assert project.json("d1", "migrations", "apply", "DB") == names[2:]
    assert project.json("d1", "migrations", "apply", "DB") == []
    project.run("deploy")
    answer = project.daemon.function("wrkst-migrated")
    assert answer.document == [{"name": "Ada"}, {"name": "G"}]
    project.run("d1", "delete", "DB", "-y")
    assert b"no D1 database" in project.run("d1", "info", "wrkst-people", expect=1)


def test_a_deploy_makes_what_it_needs(project: Project) -> None:
    """
    What the configuration names without an id is made at the first deploy and found at the next,
    and the function consumes what it says.
    """
    project.run("queues", "create", "wrkst-jobs")
    project.configure(
        name="wrkst-needy",
        kv_namespaces=[{"binding": "MY_STORE"}],
        d1_databases=[{"binding": "DB", "database_name": "wrkst-needed"}],
        queues={
            "producers": [{"binding": "JOBS", "queue": "wrkst-jobs"}],
            "consumers": [{"queue": "wrkst-jobs", "max_batch_timeout": 0.5, "max_retries": 1}],
        },
    )
    project.run("deploy")
    sql = "CREATE TABLE people (id, name); INSERT INTO people VALUES (1, 'Ada')"
    project.run("d1", "execute", "wrkst-needed", "--command", sql)
    project.run("deploy")
    assert project.daemon.function("wrkst-needy").document == [{"name": "Ada"}]
    titles = [each["title"] for each in project.json("kv", "namespace", "list")]
    assert titles.count("wrkst-needy-my-store") == 1
    (consumer,) = project.json("queues", "consumer", "list", "wrkst-jobs")
    assert consumer["settings"] == {"max_wait_time_ms": 500, "max_retries": 1}
    project.daemon.function("wrkst-needy", "/send")
    seen = until(lambda: project.daemon.function("wrkst-needy", "/kv").document, "it is consumed")
    assert seen == {"queue": "wrkst-jobs", "bodies": [{"n": 7}]}
    info = project.json("queues", "info", "wrkst-jobs")
    assert [each["script"] for each in info["producers"]] == ["wrkst-needy"]


def test_queues(project: Project) -> None:
    """
    Queues are made, changed, paused, purged and deleted, and consumers added and removed.
    """
    project.configure(name="wrkst-worker")
    project.run("deploy")
    project.run("queues", "create", "wrkst-queue", "--delivery-delay-secs", "5")
    assert b"already exists" in project.run("queues", "create", "wrkst-queue", expect=1)
    changed = project.json("queues", "update", "wrkst-queue", "--delivery-delay-secs", "0")
    assert changed["settings"]["delivery_delay"] == 0
    add = ("queues", "consumer", "add", "wrkst-queue")
    project.run(*add, "wrkst-worker", "--batch-size", "7", "--dead-letter-queue", "wrkst-dead")
    project.run(*add, "wrkst-worker", "--batch-size", "8", "--dead-letter-queue", "wrkst-dead")
    (consumer,) = project.json("queues", "consumer", "list", "wrkst-queue")
    assert (consumer["settings"], consumer["dead_letter_queue"]) == (
        {"batch_size": 8},
        "wrkst-dead",
    )
    assert b"nobody" in project.run(*add, "nobody", expect=1)
    assert project.json("queues", "pause-delivery", "wrkst-queue")["settings"]["delivery_paused"]
    resumed = project.json("queues", "resume-delivery", "wrkst-queue")
    assert not resumed["settings"]["delivery_paused"]
    project.run("queues", "purge", "wrkst-queue", "--force")
    project.run("queues", "consumer", "remove", "wrkst-queue", "wrkst-worker")
    assert project.json("queues", "consumer", "list", "wrkst-queue") == []
    names = {each["queue_name"] for each in project.json("queues", "list")}
    assert names >= {"wrkst-queue", "wrkst-dead"}
    project.run("queues", "delete", "wrkst-queue", "-y")
    assert b"no queue" in project.run("queues", "info", "wrkst-queue", expect=1)


def test_storage_goes_with_its_function_if_asked(project: Project) -> None:
    """
    `wrkst delete` keeps what the function stored; with `--with-storage` what it alone used goes,
    and what another function uses stays.
    """
    dev = project.daemon
    for title in ("wrkst-own", "wrkst-shared"):
        project.run("kv", "namespace", "create", title)
    ids = {each["title"]: each["id"] for each in project.json("kv", "namespace", "list")}
    bindings = [
        {"binding": name, "id": ids[title]}
        for name, title in (("MY_STORE", "wrkst-own"), ("SHARED", "wrkst-shared"))
    ]
    project.configure(name="wrkst-other", kv_namespaces=bindings[1:])
    project.run("deploy")
    database = [{"binding": "DB", "database_name": "wrkst-going"}]
    project.configure(name="wrkst-going", kv_namespaces=bindings, d1_databases=database)
    for flags, left in (((), True), (("--with-storage",), False)):
        project.run("deploy")
        project.run("delete", "--yes", *flags)
        assert dev.function("wrkst-going").status == 404
        titles = {each["title"] for each in project.json("kv", "namespace", "list")}
        names = {each["name"] for each in project.json("d1", "list")}
        assert "wrkst-shared" in titles
        assert ("wrkst-own" in titles) == left
        assert ("wrkst-going" in names) == left
