"""The metadata document of an upload."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workerd_faas.domain.errors import Kind, Problem
from workerd_faas.domain.model import Binding, BindingKind
from workerd_faas.wire.metadata import DEFAULT_COMPATIBILITY_DATE, Metadata, parse_metadata


def parse(document: Any) -> Metadata:
    """
    Parse with bounds that no test here meets by chance.
    """
    return parse_metadata(json.dumps(document).encode(), max_bytes=9999, max_depth=20, max_flags=5)


def problem(document: Any) -> Problem:
    """
    What parsing ends in.
    """
    with pytest.raises(Problem) as caught:
        parse(document)
    return caught.value


def test_what_wrangler_sends_is_understood() -> None:
    """
    A usual Wrangler upload is read with all it says.
    """
    metadata = parse(
        {
            "main_module": "index.js",
            "bindings": [
                {"name": "A", "type": "plain_text", "text": "x"},
                {"name": "B", "type": "json", "json": {"n": 1}},
            ],
            "compatibility_date": "2026-11-01",
            "compatibility_flags": ["nodejs_compat"],
            "keep_bindings": ["secret_text", "secret_key"],
            "annotations": {"workers/message": "hi", "workers/tag": "v1", "workers/alias": "next"},
            "code_update_strategy": {"mode": "deferred", "max_delay": 300},
            "logpush": False,
        }
    )
    assert metadata.bindings == (
        Binding(name="A", kind=BindingKind.PLAIN_TEXT, value="x"),
        Binding(name="B", kind=BindingKind.JSON, value={"n": 1}),
    )
    assert metadata.compatibility_flags == ("nodejs_compat",)
    assert (metadata.message, metadata.tag, metadata.alias) == ("hi", "v1", "next")
    assert metadata.keep == {BindingKind.SECRET_TEXT}
    assert metadata.notes == (
        "'code_update_strategy' is accepted but has no effect on this platform.",
    )


def test_the_short_form_of_variables_is_understood() -> None:
    """
    A binding of only a name and a text is a plain-text variable.
    """
    metadata = parse({"main_module": "a.js", "bindings": [{"name": "A", "text": "x"}]})
    assert metadata.bindings == (Binding(name="A", kind=BindingKind.PLAIN_TEXT, value="x"),)
    assert metadata.compatibility_date == DEFAULT_COMPATIBILITY_DATE


def test_inherit_and_keep_are_read() -> None:
    """
    Bindings to take over from the newest version are told apart from those sent.
    """
    metadata = parse(
        {
            "main_module": "a.js",
            "bindings": [{"name": "OLD", "type": "inherit"}],
            "keep_bindings": ["plain_text", "json"],
        }
    )
    assert metadata.inherit == ("OLD",)
    assert metadata.keep == {BindingKind.PLAIN_TEXT, BindingKind.JSON}


@pytest.mark.parametrize(
    "kind",
    [
        "ai",
        "vectorize",
        "browser",
        "durable_object_namespace",
        "workflow",
        "r2_bucket",
        "",
        7,
        None,
    ],
)
def test_other_bindings_are_refused_by_name(kind: Any) -> None:
    """
    A binding that does not work yet is refused with its name, not dropped.
    """
    found = problem({"main_module": "a.js", "bindings": [{"name": "MINE", "type": kind}]})
    assert found.kind is Kind.UNSUPPORTED
    assert "'MINE'" in found.message


def test_a_binding_is_named_before_what_comes_with_it() -> None:
    """
    An upload that binds a Durable Object and brings its migrations is refused by the binding.
    """
    migrations = {"new_tag": "v1", "steps": [{"new_sqlite_classes": ["Counter"]}]}
    binding = {"name": "MINE", "type": "durable_object_namespace", "class_name": "Counter"}
    found = problem({"main_module": "a.js", "bindings": [binding], "migrations": migrations})
    assert found.kind is Kind.UNSUPPORTED
    assert "'MINE'" in found.message


@pytest.mark.parametrize(
    "key",
    ["assets", "migrations", "exports", "containers", "limits"],
)
def test_features_that_do_not_work_are_refused_by_name(key: str) -> None:
    """
    A setting that would change what the code does is refused with its key.
    """
    found = problem({"main_module": "a.js", key: {"x": 1}})
    assert found.kind is Kind.UNSUPPORTED
    assert key in found.message


def test_code_is_a_module_or_a_script() -> None:
    """
    `body_part` names a script in the place of `main_module`; both are refused.
    """
    parsed = parse({"body_part": "script"})
    assert (parsed.main_module, parsed.is_script) == ("script", True)
    assert not parse({"main_module": "a.js"}).is_script
    assert "both" in problem({"main_module": "a.js", "body_part": "a.js"}).message


def test_unknown_keys_are_refused() -> None:
    """
    A key that nobody knows is an error that names it.
    """
    assert "metadata.surprise" in problem({"main_module": "a.js", "surprise": 1}).message


@pytest.mark.parametrize(
    "document",
    [
        None, 1, "x", [], {}, {"main_module": 1}, {"main_module": ""},
        {"main_module": "a.js", "compatibility_date": "2026-13-01"},
        {"main_module": "a.js", "compatibility_date": "tomorrow"},
        {"main_module": "a.js", "compatibility_date": 20260101},
        {"main_module": "a.js", "compatibility_flags": "nodejs_compat"},
        {"main_module": "a.js", "compatibility_flags": ["a\nb"]},
        {"main_module": "a.js", "compatibility_flags": ["x"] * 6},
        {"main_module": "a.js", "bindings": {}},
        {"main_module": "a.js", "bindings": [1]},
        {"main_module": "a.js", "bindings": [{"type": "plain_text", "text": "x"}]},
        {"main_module": "a.js", "bindings": [{"name": "", "text": "x"}]},
        {"main_module": "a.js", "bindings": [{"name": "__proto__", "text": "x"}]},
        {"main_module": "a.js", "bindings": [{"name": "A\n", "text": "x"}]},
        {"main_module": "a.js", "bindings": [{"name": "A", "text": 1}]},
        {"main_module": "a.js", "bindings": [{"name": "A", "type": "json"}]},
        {"main_module": "a.js", "bindings": [{"name": "A", "text": "x"}] * 2},
        {"main_module": "a.js", "keep_bindings": "plain_text"},
        {"main_module": "a.js", "annotations": []},
        {"main_module": "a.js", "annotations": {"workers/message": "x" * 1001}},
    ],
)  # fmt: skip
def test_malformed_metadata_is_refused(document: Any) -> None:
    """
    A document of another shape is refused as invalid metadata.
    """
    assert problem(document).kind is Kind.INVALID_METADATA


def test_a_bad_alias_is_refused() -> None:
    """
    The alias of an upload obeys the rules of aliases.
    """
    document = {"main_module": "a.js", "annotations": {"workers/alias": "Not A Label"}}
    assert problem(document).kind is Kind.INVALID_NAME


KEYS = ["main_module", "bindings", "name", "type", "text", "annotations"]

documents = st.recursive(
    st.none() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(KEYS), inner),
)


@given(documents)
def test_any_json_is_read_or_refused(document: Any) -> None:
    """
    No document causes anything but a Problem.
    """
    try:
        parse(document)
    except Problem as found:
        assert found.message


def test_a_service_binding_keeps_what_it_names() -> None:
    """
    Target, entrypoint, environment and props are kept; what is empty is not.
    """
    bindings = [
        {
            "type": "service",
            "name": "A",
            "service": "shop",
            "entrypoint": "Stock",
            "environment": "stable",
            "props": {"tenant": 7},
            "anything": "else",
        },
        {"type": "service", "name": "B", "service": "shop", "environment": "", "props": None},
    ]
    first, second = parse({"main_module": "i.js", "bindings": bindings}).bindings
    assert first.value == {
        "service": "shop",
        "entrypoint": "Stock",
        "environment": "stable",
        "props": {"tenant": 7},
    }
    assert second.value == {"service": "shop"}


@pytest.mark.parametrize(
    "value",
    [{}, "x", [5], [{}], [{"service": 5}], [{"service": "UPPER"}], [{"service": "a"}] * 11],
)
def test_tail_consumers_that_are_wrong(value: Any) -> None:
    """
    Anything but a list of at most ten functions is refused.
    """
    assert problem({"main_module": "i.js", "tail_consumers": value}).kind is Kind.INVALID_METADATA


def test_tail_consumers() -> None:
    """
    None and an empty list are told apart: nothing is said, and nobody shall be told.
    """
    assert parse({"main_module": "i.js"}).tail_consumers is None
    assert parse({"main_module": "i.js", "tail_consumers": []}).tail_consumers == ()
    named = [{"service": "a"}, {"service": "b", "environment": "x"}, {"service": "a"}]
    metadata = parse({"main_module": "i.js", "tail_consumers": named})
    assert metadata.tail_consumers == ("a", "b")


@pytest.mark.parametrize(
    "wrong",
    [
        {"entrypoint": "__workerd_faas"},
        {"entrypoint": "__workerd_faas_more"},
        {"environment": "shop.call/owner/caller/"},
        {"environment": "shop.call/owner/caller#"},
        {"environment": "user@shop"},
        {"environment": "UPPER"},
        {"environment": "two.labels"},
    ],
)
def test_a_service_binding_selects_nothing_of_ours_and_no_other_place(wrong: Any) -> None:
    """
    An entrypoint of the platform, or a version name that cannot be one, is refused by its binding.
    """
    binding = {"type": "service", "name": "S", "service": "shop", **wrong}
    refused = problem({"main_module": "i.js", "bindings": [binding]})
    assert refused.kind is Kind.INVALID_METADATA
    assert "'S'" in refused.message


@pytest.mark.parametrize(
    "selector", ["production", "latest", "next", "0123abcd", "0123abcd-", "0123abcd-" + "0" * 27]
)
def test_a_service_binding_selects_aliases_and_versions(selector: str) -> None:
    """
    Whatever can name a version in a host can name it in a binding.
    """
    binding = {"type": "service", "name": "S", "service": "shop", "environment": selector}
    (read,) = parse({"main_module": "i.js", "bindings": [binding]}).bindings
    assert read.value["environment"] == selector
