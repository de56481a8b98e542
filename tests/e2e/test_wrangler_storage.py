"""The real Wrangler's storage commands: KV, D1, and bindings that it provisions."""

import json
import re

from tests.e2e.wrangling import Shell

CODE = """
export default {
  async fetch(request, env) {
    const { pathname } = new URL(request.url);
    if (pathname === "/kv") return Response.json(await env.STORE.get("seen", "json"));
    const { results } = await env.DB.prepare("SELECT name FROM people ORDER BY id").all();
    return Response.json(results);
  },
};
"""


def test_kv_namespaces_and_keys(shell: Shell) -> None:
    """
    Namespaces are made, listed, renamed and deleted; keys of any spelling are put, read and listed.
    """
    printed = shell.run("kv", "namespace", "create", "first things")
    found = re.search(r'"id": "([0-9a-f]{32})"', printed)
    assert found is not None, printed
    here = ("--namespace-id", found[1], "--remote")
    assert "already exists" in shell.run("kv", "namespace", "create", "first things", expect=1)
    assert {each["title"] for each in shell.json("kv", "namespace", "list")} >= {"first things"}
    shell.run("kv", "namespace", "rename", "first things", "--new-name", "things")

    for key in ("plain", "a/b c", "%41?x=1&y#z", "ünï/ço∂é", "//", "100%", "a..b/../c"):
        shell.run("kv", "key", "put", key, f"value of {key}", *here)
        assert shell.run("kv", "key", "get", key, "--text", *here).strip() == f"value of {key}"
    listed = shell.json("kv", "key", "list", *here, "--prefix", "a")
    assert [each["name"] for each in listed] == ["a..b/../c", "a/b c"]
    assert len(shell.json("kv", "key", "list", *here)) == 7
    shell.run("kv", "key", "delete", "100%", *here)
    assert "404" in shell.run("kv", "key", "get", "100%", *here, expect=1)

    binary = shell.directory / "binary"
    binary.write_bytes(bytes(range(256)) * 5000)
    shell.run("kv", "key", "put", "binary", "--path", str(binary), *here, "--metadata", '{"a":[1]}')
    (listed,) = shell.json("kv", "key", "list", *here, "--prefix", "binary")
    assert listed == {"name": "binary", "metadata": {"a": [1]}}
    shell.run("kv", "key", "put", "short-lived", "x", "--ttl", "3600", *here)
    (listed,) = shell.json("kv", "key", "list", *here, "--prefix", "short")
    assert listed["expiration"] > 0
    assert "60" in shell.run("kv", "key", "put", "too-short", "x", "--ttl", "5", *here, expect=1)

    pairs = shell.directory / "pairs.json"
    pairs.write_text(
        json.dumps(
            [
                {"key": "bulk/1", "value": "one", "metadata": {"n": 1}},
                {"key": "bulk/2", "value": "dHdv", "base64": True},
            ]
        )
    )
    shell.run("kv", "bulk", "put", "pairs.json", *here)
    keys = shell.directory / "keys.json"
    keys.write_text(json.dumps(["bulk/1", "bulk/2", "none"]))
    got = shell.json("kv", "bulk", "get", "keys.json", *here)
    assert got["bulk/2"] in ("two", {"value": "two"})
    shell.run("kv", "bulk", "delete", "keys.json", *here, "--force")
    assert shell.json("kv", "key", "list", *here, "--prefix", "bulk") == []

    shell.configure(CODE, name="bound", kv_namespaces=[{"binding": "STORE", "id": found[1]}])
    shell.run("kv", "key", "put", "seen", "[1]", "--binding", "STORE", "--remote")
    # Wrangler knows no --namespace here: titles are for `kv namespace delete` and `rename` alone.
    by_title = ("kv", "key", "put", "other", "x", "--namespace", "things", "--remote")
    assert "Unknown argument: namespace" in shell.run(*by_title, expect=1)
    shell.run("deploy")
    assert shell.daemon.function("bound", "/kv").document == [1]
    (shell.directory / "wrangler.jsonc").unlink()
    shell.run("kv", "namespace", "delete", "--namespace-id", found[1], "-y")
    assert shell.daemon.function("bound", "/kv").status == 500
    assert found[1] not in shell.run("kv", "namespace", "list")


def test_kv_by_binding_and_title(shell: Shell) -> None:
    """
    A binding without an id is the deployed function's, one with a preview id is either of them;
    namespaces are renamed by their id and deleted by their title; no jurisdiction is promised.
    """
    made = [shell.run("kv", "namespace", "create", title) for title in ("two", "two preview")]
    ids = [each[1] for each in map(re.compile(r'"id": "([0-9a-f]{32})"').search, made) if each]
    spaces = [{"binding": "NEW"}, {"binding": "TWO", "id": ids[0], "preview_id": ids[1]}]
    shell.configure(CODE, name="by-binding", kv_namespaces=spaces)
    new, two = ("--remote", "--binding", "NEW"), ("--remote", "--binding", "TWO")
    assert "10007" in shell.run("kv", "key", "put", "a", "1", *new, expect=1)
    shell.run("deploy")
    shell.run("kv", "key", "put", "a", "of new", *new)
    assert [each["name"] for each in shell.json("kv", "key", "list", *new)] == ["a"]
    assert shell.run("kv", "key", "get", "a", "--text", *new).strip() == "of new"
    (shell.directory / "keys.json").write_text('["a", "none"]')
    assert shell.json("kv", "bulk", "get", "keys.json", *new)["none"] is None
    shell.run("kv", "key", "delete", "a", *new)
    assert shell.json("kv", "key", "list", *new) == []
    shell.run("kv", "key", "put", "a", "of preview", *two, "--preview")
    assert "404" in shell.run("kv", "key", "get", "a", *two, expect=1)
    assert shell.run("kv", "key", "get", "a", "--text", *two, "--preview").strip() == "of preview"
    shell.run("kv", "namespace", "rename", "--namespace-id", ids[1], "--new-name", "other")
    shell.run("kv", "namespace", "delete", "other", "-y")
    assert ids[1] not in shell.run("kv", "namespace", "list")
    for create in (("kv", "namespace", "create"), ("d1", "create")):
        refused = shell.run(*create, "in-eu", "--jurisdiction", "eu", expect=1)
        assert "Jurisdictions are not supported" in refused


def test_d1_databases(shell: Shell) -> None:
    """
    Databases are made, queried, filled from files, exported, migrated and deleted.
    """
    printed = shell.run("d1", "create", "people")
    found = re.search(r'"database_id": "([0-9a-f-]{36})"', printed)
    assert found is not None, printed
    here = ("people", "--remote")
    assert "exists" in shell.run("d1", "create", "people", expect=1)
    assert "people" in {each["name"] for each in shell.json("d1", "list", "--json")}
    statements = "CREATE TABLE t (a, b); INSERT INTO t VALUES (1, 'x;y'); SELECT * FROM t;"
    results = shell.json("d1", "execute", *here, "--command", statements, "--json")
    assert results[2]["results"] == [{"a": 1, "b": "x;y"}]
    assert results[1]["meta"]["changes"] == 1
    broken = "INSERT INTO t VALUES (2, 2); SELECT * FROM nowhere"
    printed = shell.run("d1", "execute", *here, "--command", broken, expect=1)
    assert "no such table: nowhere" in printed
    results = shell.json("d1", "execute", *here, "--command", "SELECT count(*) n FROM t", "--json")
    assert results[0]["results"] == [{"n": 1}]

    (shell.directory / "more.sql").write_text(
        "INSERT INTO t VALUES (3, NULL);\n-- a comment\n"
        "CREATE TRIGGER g AFTER INSERT ON t"
        " BEGIN UPDATE t SET b = 'g' WHERE a = 4; SELECT 1; END;\n"
        "INSERT INTO t VALUES (4, 'four');\n"
    )
    shell.run("d1", "execute", *here, "--file", "more.sql", "-y")
    (shell.directory / "bad.sql").write_text("INSERT INTO t VALUES (5, 5);\nNOT SQL;\n")
    assert "NOT" in shell.run("d1", "execute", *here, "--file", "bad.sql", "-y", expect=1)
    results = shell.json("d1", "execute", *here, "--command", "SELECT a, b FROM t", "--json")
    assert results[0]["results"] == [
        {"a": 1, "b": "x;y"},
        {"a": 3, "b": None},
        {"a": 4, "b": "g"},
    ]
    shell.run("d1", "export", *here, "--output", "dump.sql")
    dump = (shell.directory / "dump.sql").read_text()
    assert "CREATE TABLE t (a, b);" in dump
    assert "VALUES(1,'x;y')" in dump
    assert "num_tables" in shell.run("d1", "info", "people", "--json")
    for names in (("people",), ()):
        refused = shell.run("d1", "insights", *names, expect=1)
        assert "D1 insights are not supported" in refused

    shell.configure(
        CODE,
        name="migrated",
        d1_databases=[{"binding": "DB", "database_name": "people", "database_id": found[1]}],
    )
    migrations = shell.directory / "migrations"
    migrations.mkdir()
    (migrations / "0001_people.sql").write_text(
        "CREATE TABLE people (id INTEGER PRIMARY KEY, name TEXT);\n"
        "INSERT INTO people (name) VALUES ('Ada'), ('Grace');\n"
    )
    (migrations / "0002_bad.sql").write_text("INSERT INTO people (name) VALUES ('Eve'); OOPS;\n")
    assert "0002_bad" in shell.run("d1", "migrations", "list", "people", "--remote")
    shell.run("d1", "migrations", "apply", "people", "--remote", expect=1)
    (migrations / "0002_bad.sql").unlink()
    assert "No migrations to apply" in shell.run("d1", "migrations", "list", "people", "--remote")
    shell.run("deploy")
    answer = shell.daemon.function("migrated")
    assert answer.status == 200, answer.text + shell.daemon.log[-3000:]
    assert answer.document == [{"name": "Ada"}, {"name": "Grace"}]

    for verb in (
        ("info",),
        ("info", "--timestamp", "2026-11-20T00:00:00Z"),
        ("restore", "--bookmark", "0-1-2-3"),
        ("restore", "--timestamp", "2026-11-20T00:00:00Z"),
    ):
        refused = shell.run("d1", "time-travel", *verb[:1], "people", *verb[1:], expect=1)
        assert "Time Travel is not supported" in refused
    schema = shell.run("d1", "export", *here, "--output", "schema.sql", "--no-data")
    assert "INSERT INTO" not in (shell.directory / "schema.sql").read_text(), schema
    shell.run("d1", "migrations", "create", "people", "one more")
    assert "0002_one_more.sql" in shell.run("d1", "migrations", "list", "DB", "--remote")
    by_binding = ("d1", "execute", "DB", "--remote", "--json", "--command")
    assert shell.json(*by_binding, "SELECT count(*) AS n FROM people")[0]["results"] == [{"n": 2}]

    shell.run("d1", "delete", "people", "-y")
    assert "people" not in {each["name"] for each in shell.json("d1", "list", "--json")}


def test_a_dump_makes_the_same_database(shell: Shell) -> None:
    """
    What `d1 export` writes makes the same database anew, also if rows refer to a table that was
    made after their own, as after a migration that made a table again under its old name.
    """
    (shell.directory / "first.sql").write_text(
        "CREATE TABLE orders (id INTEGER PRIMARY KEY, buyer INTEGER REFERENCES Buyers (id));\n"
        "CREATE TABLE new_buyers (id INTEGER PRIMARY KEY, name TEXT);\n"
        "INSERT INTO new_buyers VALUES (1, 'A;''\n');\n"
        "ALTER TABLE new_buyers RENAME TO buyers;\n"
        "INSERT INTO orders VALUES (7, 1);\n"
        "CREATE TRIGGER later AFTER INSERT ON orders BEGIN DELETE FROM buyers; END;\n"
    )
    dumps = []
    for name, file in (("shop", "first.sql"), ("shop-again", "shop.sql")):
        shell.run("d1", "create", name)
        shell.run("d1", "execute", name, "--remote", "--file", file, "-y")
        shell.run("d1", "export", name, "--remote", "--output", f"{name}.sql")
        dumps.append((shell.directory / f"{name}.sql").read_text())
        shell.run("d1", "delete", name, "-y")
    assert dumps[0] == dumps[1]
    assert dumps[0].count("INSERT INTO") == 2


def test_bindings_without_ids_are_provisioned(shell: Shell) -> None:
    """
    Wrangler makes what a configuration names without an id, and finds it again at the next deploy.
    """
    shell.configure(
        CODE,
        name="provisioned",
        kv_namespaces=[{"binding": "STORE"}],
        d1_databases=[{"binding": "DB"}],
        queues={"producers": [{"binding": "JOBS", "queue": "provisioned-jobs"}]},
    )
    shell.daemon.api("POST", "/queues", {"queue_name": "provisioned-jobs"})
    shell.run("deploy")
    titles = {each["title"] for each in shell.daemon.api("GET", "/storage/kv/namespaces").result}
    assert "provisioned-store" in titles
    assert shell.daemon.function("provisioned", "/kv").document is None
    shell.run("deploy")
    again = {each["title"] for each in shell.daemon.api("GET", "/storage/kv/namespaces").result}
    assert again == titles
