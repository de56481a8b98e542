"""Reading configurations: files, environments, mistakes. Compared with Wrangler's own schema."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from tests.cli.support import write_files
from workerd_faas.cli.config.consumers import QueueConsumer
from workerd_faas.cli.config.files import load_config
from workerd_faas.cli.config.project import Project, read_project
from workerd_faas.cli.failure import Exit, Failure


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def read(
    work: Path, content: dict[str, Any] | str, environment: str | None = None
) -> tuple[Project, list[str]]:
    text = content if isinstance(content, str) else json.dumps(content)
    (work / "wrangler.jsonc").write_text(text)
    return read_project(load_config(None, work), environment)


def problems(work: Path, content: dict[str, Any], environment: str | None = None) -> list[str]:
    with pytest.raises(Failure) as caught:
        read(work, content, environment)
    assert caught.value.exit_status is Exit.PROJECT
    assert "wrangler.jsonc" in caught.value.message
    return list(caught.value.details)


def test_all_that_we_use(work: Path) -> None:
    """
    Each supported key reaches the project with its paths made absolute.
    """
    project, warnings = read(
        work,
        {
            "$schema": "node_modules/wrangler/config-schema.json",
            "name": "hello",
            "main": "./src/index.ts",
            "compatibility_date": "2026-11-01",
            "compatibility_flags": ["nodejs_compat"],
            "account_id": "a1",
            "base_dir": "src",
            "rules": [{"type": "Text", "globs": ["**/*.md"], "fallthrough": True}],
            "find_additional_modules": True,
            "no_bundle": False,
            "preserve_file_names": True,
            "define": {"DEBUG": "false"},
            "alias": {"a": "./b"},
            "minify": True,
            "keep_names": False,
            "upload_source_maps": False,
            "tsconfig": "tsconfig.json",
            "jsx_factory": "h",
            "jsx_fragment": "Fragment",
            "keep_vars": True,
            "build": {"command": "make", "cwd": "src"},
            "dev": {"port": 1},
        },
    )
    assert (warnings, project.remarks) == ([], ())
    assert project.main == work / "src/index.ts"
    assert project.module_root == work / "src"
    assert project.tsconfig == work / "tsconfig.json"
    assert project.build is not None and project.build.cwd == work / "src"
    assert [(rule.type, rule.globs, rule.fallthrough) for rule in project.rules] == [
        ("Text", ("**/*.md",), True)
    ]
    assert (project.minify, project.keep_names, project.upload_source_maps) == (True, False, False)
    assert (project.keep_vars, project.preserve_file_names) == (True, True)
    assert (project.define, project.alias) == ({"DEBUG": "false"}, {"a": "./b"})


def test_environment_inherits_what_wrangler_inherits(work: Path) -> None:
    """
    Inherited keys come from the top level, others do not, and the name gets a suffix.
    """
    project, _ = read(
        work,
        {
            "name": "hello",
            "main": "index.js",
            "compatibility_date": "2026-11-01",
            "minify": True,
            "vars": {"A": "top", "B": "top"},
            "define": {"D": "1"},
            "kv_namespaces": [{"binding": "KV", "id": "1"}],
            "env": {"staging": {"minify": False, "vars": {"A": "staging"}}},
        },
        "staging",
    )
    assert project.name == "hello-staging"
    assert project.minify is False
    assert project.main == work / "index.js"
    assert list(project.bindings) == [{"name": "A", "type": "plain_text", "text": "staging"}]
    assert project.define == {}
    assert sorted(project.remarks) == [
        "define is set at the top level but not in env.staging, which does not inherit it",
        "env.staging.vars lacks B, which the top level has; vars is not inherited",
        "kv_namespaces is set at the top level but not in env.staging, which does not inherit it",
    ]


def test_environment_may_have_its_own_name(work: Path) -> None:
    """
    A name in the environment is taken as it is.
    """
    project, _ = read(work, {"name": "a", "env": {"e": {"name": "b"}}}, "e")
    assert project.name == "b"


def test_null_counts_as_not_set(work: Path) -> None:
    """
    A null in an environment inherits, as `??` does in Wrangler.
    """
    project, _ = read(work, {"minify": True, "env": {"e": {"minify": None}}}, "e")
    assert project.minify is True


def test_unknown_environment_is_refused(work: Path) -> None:
    """
    An environment that is not there, where others are, is an error that names those.
    """
    with pytest.raises(Failure, match="it has: prod, test"):
        read(work, {"env": {"test": {}, "prod": {}}}, "prd")


def test_environment_without_any_section_uses_the_top_level(work: Path) -> None:
    """
    Without any `env` the top level serves, with the suffixed name and all its variables.
    """
    project, warnings = read(work, {"name": "a", "vars": {"X": "1"}}, "prod")
    assert (project.name, len(project.bindings)) == ("a-prod", 1)
    (warning,) = warnings
    assert "'prod'" in warning and "'a-prod'" in warning


def test_every_mistake_is_told_at_once_with_its_key(work: Path) -> None:
    """
    Each wrong value is named by its key, that of an environment with the environment.
    """
    found = problems(
        work,
        {
            "name": 1,
            "main": "x.js",
            "minify": True,
            "env": {
                "e": {
                    "minify": "yes",
                    "compatibility_date": "soon",
                    "rules": [{"type": "Txt", "globs": ["*"]}, {"type": "Text", "globs": "x"}],
                    "define": {"A": 1},
                    "kv_namespaces": [{"id": "1"}, "x"],
                    "build": {"command": 1},
                }
            },
        },
        "e",
    )
    keys = sorted(line.split(" ")[0] for line in found)
    assert keys == [
        "env.e.build.command",
        "env.e.compatibility_date",
        "env.e.define.A",
        "env.e.kv_namespaces[0].binding",
        "env.e.kv_namespaces[1]",
        "env.e.minify",
        "env.e.rules[0].type",
        "env.e.rules[1].globs",
        "env.e.rules[1].globs",
        "name",
    ]


def test_unsupported_keys_are_warned_of_by_name(work: Path) -> None:
    """
    What we do not support is named with what that means; a typing mistake is named too.
    """
    project, warnings = read(
        work,
        {
            "name": "a",
            "routes": ["x"],
            "nmae": "b",
            "kv_namespaces": [],
            "env": {
                "e": {
                    "placement": {"mode": "smart"},
                    "alias": {"a": "b"},
                    "legacy_env": True,
                    "kv_namespaces": [{"binding": "KV", "id": "1", "idd": "2"}],
                }
            },
        },
        "e",
    )
    assert warnings == []
    assert [remark.split(" ")[0] for remark in project.remarks] == [
        "routes",
        "nmae",
        "env.e.placement",
        "env.e.alias",
        "env.e.kv_namespaces[0].idd",
    ]


def test_what_asks_for_nothing_is_not_warned_of(work: Path) -> None:
    """
    Values with which it is here as at Cloudflare, and empty ones, go without a word.
    """
    quiet = {"legacy_env": True, "first_party_worker": False, "routes": []}
    assert read(work, {"name": "a", **quiet})[0].remarks == ()
    loud = {"first_party_worker": True, "legacy_env": False}
    remarks = read(work, {"name": "a", **loud})[0].remarks
    assert [remark.split(" ")[0] for remark in remarks] == list(loud)


def test_settings_are_passed_on(work: Path) -> None:
    """
    What the server has to decide about is sent as it stands, if it asks for anything.
    """
    given = {
        "limits": {"cpu_ms": 5},
        "logpush": False,
        "unsafe": {"metadata": {"x": 1}, "bindings": [{"name": "U", "type": "odd", "y": 2}]},
    }
    project, _ = read(work, {"name": "a", **given})
    assert project.settings == {"limits": {"cpu_ms": 5}, "x": 1}
    assert project.bindings == ({"name": "U", "type": "odd", "y": 2},)
    inherited, _ = read(work, {"name": "a", **given, "env": {"e": {}}}, "e")
    assert inherited.settings == {"limits": {"cpu_ms": 5}}


def test_consumers_of_queues(work: Path) -> None:
    """
    Consumers have the numbers of the API; mistakes in them are told by their keys.
    """
    entry = {"queue": "q", "max_batch_timeout": 1.5, "max_retries": 3, "dead_letter_queue": "d"}
    project, _ = read(work, {"queues": {"consumers": [entry, {"queue": "r"}]}})
    assert project.consumers == (
        QueueConsumer(
            queue="q",
            dead_letter_queue="d",
            settings={"max_wait_time_ms": 1500, "max_retries": 3},
        ),
        QueueConsumer(queue="r"),
    )
    assert read(work, {"queues": {}})[0].consumers == ()
    assert read(work, {})[0].consumers is None
    wrong = [{"type": "http_pull", "queue": "q"}, {"max_retries": True}]
    assert sorted(
        line.split(" ")[0] for line in problems(work, {"queues": {"consumers": wrong}})
    ) == [
        "queues.consumers[0].type",
        "queues.consumers[1].max_retries",
        "queues.consumers[1].queue",
    ]


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["wrangler.toml", "wrangler.jsonc", "wrangler.json"], "json"),
        (["wrangler.toml", "wrangler.jsonc"], "jsonc"),
        (["wrangler.toml"], "toml"),
    ],
)
def test_order_of_files(work: Path, names: list[str], expected: str) -> None:
    """
    wrangler.json comes before wrangler.jsonc before wrangler.toml, searched upwards.
    """
    for name in names:
        kind = name.rpartition(".")[2]
        text = 'name = "toml"' if kind == "toml" else json.dumps({"name": kind})
        (work / name).write_text(text)
    below = work / "a" / "b"
    below.mkdir(parents=True)
    config = load_config(None, below)
    assert config.content["name"] == expected
    assert read_project(config, None)[0].root == work


def test_toml_dates_are_refused(work: Path) -> None:
    """
    A TOML date or infinity among the variables is an error, because JSON has none.
    """
    (work / "wrangler.toml").write_text(
        'name = "a"\n[vars]\nD = 2026-11-23\nI = { deep = [1.5, inf] }\nS = "2026-11-23"\nF = 1.5\n'
    )
    with pytest.raises(Failure) as caught:
        read_project(load_config(None, work), None)
    assert [line.split(" ")[0] for line in caught.value.details] == ["vars.D", "vars.I"]


@pytest.mark.parametrize("text", ['{"a": }', "[1]", '{"name": "x" /* no end', "name = "])
def test_broken_files_are_named(work: Path, text: str) -> None:
    """
    A file that cannot be parsed is an error with its name, and nothing else happens.
    """
    with pytest.raises(Failure, match=r"wrangler\.jsonc"):
        read(work, text)


def test_generated_configuration_is_used(work: Path) -> None:
    """
    What a build tool puts into .wrangler/deploy takes the place of the user's file.
    """
    write_files(
        work,
        {
            "wrangler.jsonc": '{"name": "mine"}',
            ".wrangler/deploy/config.json": '{"configPath": "../../dist/wrangler.json"}',
            "dist/wrangler.json": '{"name": "made", "main": "index.js"}',
        },
    )
    project, _ = read_project(load_config(None, work), None)
    assert (project.name, project.main) == ("made", work / "dist/index.js")
    assert project.root == work


def test_bindings_are_sent_with_the_names_of_the_api(work: Path) -> None:
    """
    Bindings of every shape become what the API calls them.
    """
    project, _ = read(
        work,
        {
            "kv_namespaces": [{"binding": "KV", "id": "k"}],
            "d1_databases": [{"binding": "DB", "database_id": "d", "database_name": "n"}],
            "queues": {"producers": [{"binding": "Q", "queue": "q"}], "consumers": []},
            "durable_objects": {"bindings": [{"name": "DO", "class_name": "C"}]},
            "services": [{"binding": "S", "service": "other", "entrypoint": "E"}],
            "ratelimits": [
                {"name": "R", "namespace_id": "1", "simple": {"limit": 1, "period": 10}}
            ],
            "version_metadata": {"binding": "V"},
        },
    )
    assert list(project.bindings) == [
        {"name": "KV", "type": "kv_namespace", "namespace_id": "k"},
        {"name": "DB", "type": "d1", "id": "d"},
        {"name": "S", "type": "service", "service": "other", "entrypoint": "E"},
        {
            "name": "R",
            "type": "ratelimit",
            "namespace_id": "1",
            "simple": {"limit": 1, "period": 10},
        },
        {"name": "DO", "type": "durable_object_namespace", "class_name": "C"},
        {"name": "Q", "type": "queue", "queue_name": "q"},
        {"name": "V", "type": "version_metadata"},
    ]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_a_strangers_file_above_is_refused(work: Path) -> None:
    """
    A configuration that another user left in a directory above is not used unless it is named.
    """
    (work / "wrangler.json").write_text('{"name": "a"}')
    below = work / "mine"
    below.mkdir()
    os.chown(work / "wrangler.json", 54321, -1)
    with pytest.raises(Failure, match="another user"):
        load_config(None, below)
    assert load_config(work / "wrangler.json", below).content["name"] == "a"
    os.chown(below, 54321, -1)
    assert load_config(None, below).content["name"] == "a"


def test_schedules_and_tail_consumers(work: Path) -> None:
    """
    `triggers` holds in environments that do not set it; `tail_consumers` must be repeated.
    """
    project, _ = read(
        work,
        {
            "name": "a",
            "triggers": {"crons": ["*/5 * * * *", "0 0 * * MON#1"]},
            "tail_consumers": [{"service": "watcher"}],
            "env": {"e": {}},
        },
        "e",
    )
    assert project.crons == ("*/5 * * * *", "0 0 * * MON#1")
    assert project.tail_consumers == ()
    assert any("tail_consumers" in remark for remark in project.remarks)


def test_a_schedule_that_cannot_be_is_told_before_anything_is_sent(work: Path) -> None:
    """
    A wrong cron expression is a mistake of the configuration, with its key.
    """
    (problem,) = problems(work, {"name": "a", "triggers": {"crons": ["61 * * * *"]}})
    assert problem.startswith("triggers.crons ")
    assert "0 to 59" in problem


def test_no_triggers_is_not_no_schedules(work: Path) -> None:
    """
    A configuration without `triggers.crons` leaves the schedules alone; an empty list clears them.
    """
    assert read(work, {"name": "a", "triggers": {}})[0].crons is None
    assert read(work, {"name": "a", "triggers": {"crons": []}})[0].crons == ()
