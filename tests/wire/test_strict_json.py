"""JSON from outside."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workerd_faas.wire.strict_json import RefusedJson, parse_json

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=20,
)  # fmt: skip


@given(values)
def test_json_is_read(value: Any) -> None:
    """
    What JSON can express is read as it was written.
    """
    assert parse_json(json.dumps(value).encode(), max_bytes=1 << 20) == value


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b"", "Expecting value"),
        (b"{", "line 1 column 2"),
        (b"\xff", "not UTF-8 at byte 0"),
        (b'{"a":1,"a":2}', "'a' stands there twice"),
        (b"[NaN]", "NaN is not JSON"),
        (b"[1e999]", "a number is too large"),
        (b"[-1e999]", "a number is too large"),
        (b"[-Infinity]", "-Infinity is not JSON"),
        (b'["\\ud800"]', "lone surrogate"),
        (b'{"\\ud800":1}', "lone surrogate"),
        (b"[" * 65 + b"]" * 65, "more than 64 levels"),
        (b"[" * 15_000, "more than 64 levels"),
        (b'{"a":' * 15_000, "more than 64 levels"),
        (b"[" * 200_000, "more than 20000 values"),
        (b"1" * 5000, "digits"),
        (b'"' + b"x" * (1 << 20) + b'"', "longer than"),
    ],
)
def test_what_cannot_be_taken_is_refused_with_a_reason(text: bytes, reason: str) -> None:
    """
    Bad JSON of any kind and depth is refused with a message, never with another exception.
    """
    with pytest.raises(RefusedJson, match=reason):
        parse_json(text, max_bytes=1 << 20)


@given(st.binary(max_size=100))
def test_no_bytes_cause_another_exception(data: bytes) -> None:
    """
    Any bytes are either read or refused.
    """
    try:
        parse_json(data, max_bytes=80)
    except RefusedJson:
        return
    assert len(data) <= 80


def test_repeated_key_among_many() -> None:
    """
    The repeated one of 150 000 keys is named in one pass: pass by pass it takes minutes.
    """
    keys = ",".join(f'"{number:x}":0' for number in range(150_000))
    with pytest.raises(RefusedJson, match="'249ef' stands there twice"):
        parse_json(f'{{{keys},"249ef":0}}'.encode(), max_bytes=1 << 22, max_values=150_001)


@pytest.mark.parametrize(
    ("text", "most"),
    [
        (b"[1,1,1]", 3),
        (b"[[],[]]", 4),
        (b'{"a":1,"b":{}}', 3),
        (b'["a,[{","\\\\",",\\",[{"]', 3),
        (b'["\\\\\\",[","x"]', 2),
    ],
)
def test_values_are_counted_outside_strings(text: bytes, most: int) -> None:
    """
    What opens and separates values counts, what looks like it in strings does not.
    """
    parse_json(text, max_bytes=100, max_values=most)
    with pytest.raises(RefusedJson, match=f"more than {most - 1} values"):
        parse_json(text, max_bytes=100, max_values=most - 1)


@given(values)
def test_no_document_has_more_values_than_are_counted(value: Any) -> None:
    """
    However values nest and whatever stands in their strings.
    """

    def size(value: Any) -> int:
        inner = value.values() if isinstance(value, dict) else value
        if not isinstance(value, list | dict):
            return 0
        return 1 + max(len(value) - 1, 0) + sum(map(size, inner))

    text = json.dumps(value).encode()
    assert parse_json(text, max_bytes=1 << 20, max_values=size(value)) == value
    if size(value):
        with pytest.raises(RefusedJson):
            parse_json(text, max_bytes=1 << 20, max_values=size(value) - 1)


def test_a_flood_of_values_is_refused_before_it_is_read() -> None:
    """
    Ten MiB of brackets, numbers or empty strings build nothing.
    """
    for flood in (b"[" * 60 + b"]" * 60 + b",", b"1,", b'"",', b'{"":0},', b'"\\"",'):
        text = b"[" + flood * ((10 << 20) // len(flood)) + b"1]"
        with pytest.raises(RefusedJson, match="more than 20000 values"):
            parse_json(text, max_bytes=11 << 20)
