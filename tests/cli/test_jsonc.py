"""JSON with comments."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workerd_faas.cli.config.jsonc import JsoncError, parse_jsonc

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(json_values)
def test_plain_json_is_itself(value: Any) -> None:
    """
    Every JSON text means the same as JSONC.
    """
    assert parse_jsonc(json.dumps(value)) == value
    assert parse_jsonc(json.dumps(value, indent=1, ensure_ascii=False)) == value


@given(st.text())
def test_nothing_but_a_value_or_an_error(text: str) -> None:
    """
    Any text gives a value or a JsoncError.
    """
    try:
        parse_jsonc(text)
    except JsoncError as error:
        assert str(error)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('{"a": 1, // x\n"b": [1, 2,],}', {"a": 1, "b": [1, 2]}),
        ('/* {"a": } */ ["//", "/*", "*/"]', ["//", "/*", "*/"]),
        ('{"a": ",]", "b": "\\"}," /* , */ , }', {"a": ",]", "b": '"},'}),
        ("\ufeff[]", []),
        ('"\\\\"', "\\"),
    ],
)
def test_comments_and_trailing_commas(text: str, value: Any) -> None:
    """
    Comments and one comma before an end are blanks; inside strings they are text.
    """
    assert parse_jsonc(text) == value


@pytest.mark.parametrize(
    "text", ["[,]", "{,}", "[1,,]", "{'a': 1}", "[1] // x\n]", "[NaN]", "/* ", '"a\nb"', ""]
)
def test_everything_else_stays_an_error(text: str) -> None:
    """
    Single quotes, lonely commas, open comments and other extensions are refused.
    """
    with pytest.raises(JsoncError):
        parse_jsonc(text)


def test_positions_are_those_of_the_file() -> None:
    """
    An error after comments names the line and column where it really is.
    """
    with pytest.raises(JsoncError, match="line 3, column 8"):
        parse_jsonc('{ // one\n/* two */\n  "a": ?\n}')
