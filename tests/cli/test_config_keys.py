"""Every key of the pinned Wrangler's schema is supported, sent, refused or warned of."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest

from tests.cli.support import ROOT
from workerd_faas.cli.config.bindings import LISTS, NESTED, SINGLE
from workerd_faas.cli.config.files import ConfigFile
from workerd_faas.cli.config.keys import LOCAL, TOP_LEVEL_ONLY
from workerd_faas.cli.config.project import Project, read_project
from workerd_faas.cli.failure import Failure

SCHEMA = json.loads((ROOT / "node_modules/wrangler/config-schema.json").read_bytes())["definitions"]
KEYS = SCHEMA["RawConfig"]["properties"]


def resolved(schema: dict[str, Any]) -> dict[str, Any]:
    """
    A schema without a reference or a choice at its top.
    """
    while "$ref" in schema or "anyOf" in schema or "allOf" in schema:
        if "$ref" in schema:
            schema = SCHEMA[schema["$ref"].rpartition("/")[2]]
        else:
            choice = [*schema.get("anyOf", ()), *schema.get("allOf", ())]
            schema = next((each for each in choice if each.get("type") != "null"), choice[0])
    return schema


def sample(schema: dict[str, Any], path: str) -> Any:
    """
    A value that fits the schema and asks for something; texts are their own path.
    """
    schema = resolved(schema)
    if "enum" in schema or "const" in schema:
        return schema.get("enum", [schema.get("const")])[-1]
    kind = schema.get("type", "object")
    kind = kind[0] if isinstance(kind, list) else kind
    if kind == "array":
        items = schema.get("items", {})
        return [sample(items[0] if isinstance(items, list) else items, f"{path}[0]")]
    if kind == "object":
        found = {
            name: sample(each, f"{path}.{name}")
            for name, each in schema.get("properties", {}).items()
            if name != "env" and not name.startswith("$") and path.count(".") < 3
        }
        return found or {"X": "x"}
    return {"boolean": True, "number": 7, "integer": 7}.get(kind, path)


def read(content: dict[str, Any]) -> Project:
    """
    The project of a configuration.
    """
    path = Path("/work/wrangler.json")
    return read_project(ConfigFile(path=path, user_path=path, content=content), None)[0]


def outcome(content: dict[str, Any]) -> tuple[str, Project | None]:
    """
    Everything that is said about a configuration, and the project if it has no mistakes.
    """
    try:
        project = read(content)
    except Failure as failure:
        return "\n".join(failure.details), None
    return "\n".join(project.remarks), project


FITTING: dict[str, Any] = {
    "compatibility_date": "2020-01-01",
    "triggers": {"crons": ["1 1 * * *"]},
    "rules": [{"type": "Text", "globs": ["*.md"]}],
    "queues": {"producers": [{"binding": "Q", "queue": "q"}], "consumers": [{"queue": "q"}]},
    "keep_names": False,
    "unsafe": {"bindings": [{"name": "U", "type": "u"}]},
    "assets": {"directory": "public"},
    "workers_dev": False,
    "preview_urls": False,
    "compliance_region": "fedramp_high",
}
"""Where a value that fits the schema is not yet one that makes a difference."""


@pytest.mark.parametrize("key", sorted(set(KEYS) - {"env"}))
def test_no_key_is_dropped_without_a_word(key: str) -> None:
    """
    A key changes the project, is a mistake, is warned of by name, or says nothing of the deploy.
    """
    value = FITTING.get(key, sample(KEYS[key], key))
    said, project = outcome({key: value})
    assert "is not a key" not in said
    if key in LOCAL:
        assert said == ""
        return
    unchanged = project is not None and attrs.evolve(project, remarks=()) == read({})
    assert any(line.startswith((f"{key} ", f"{key}.", f"{key}[")) for line in said.split("\n")) or (
        not unchanged
    ), value


def below(schema: dict[str, Any], path: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """
    The keys of an object, or of the objects of a list, with their schemas.
    """
    schema = resolved(schema)
    if schema.get("type") == "array":
        yield from below(schema.get("items", {}), f"{path}[]")
    for name, each in schema.get("properties", {}).items():
        yield f"{path}.{name}", each


def known_below(key: str) -> set[str]:
    """
    What we know of the keys below one with bindings.
    """
    if key in NESTED:
        inner, kind = NESTED[key]
        prefix = f"{key}.{inner}[]"
    else:
        kind = LISTS.get(key) or SINGLE[key]
        prefix = f"{key}[]" if key in LISTS else key
    return {f"{prefix}.{name}" for name in (kind.name, *kind.fields, *kind.local)}


@pytest.mark.parametrize("key", sorted({*LISTS, *SINGLE, *NESTED}))
def test_every_field_of_a_binding_is_known(key: str) -> None:
    """
    Each field that Wrangler's schema gives a binding is sent, or is of `wrangler dev` alone.
    """
    schema, path = KEYS[key], key
    if key in NESTED:
        inner = NESTED[key][0]
        schema, path = resolved(schema)["properties"][inner], f"{key}.{inner}"
    assert {name for name, _ in below(schema, path)} <= known_below(key)


@pytest.mark.parametrize(
    "key", ["assets", "build", "durable_objects", "queues", "rules", "tail_consumers", "triggers"]
)
def test_every_key_below_is_known(key: str) -> None:
    """
    No key that stands below one that we support is taken for a typing mistake.
    """
    assert "is not a key" not in outcome({key: sample(KEYS[key], key)})[0]


def test_the_table_of_the_top_level_is_wranglers() -> None:
    """
    What we take from the top level alone may not stand in an environment of Wrangler's either.
    """
    assert not TOP_LEVEL_ONLY & SCHEMA["RawEnvironment"]["properties"].keys()
