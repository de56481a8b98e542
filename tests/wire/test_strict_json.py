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
        (b"[" * 200_000, "more than 64 levels"),
        (b'{"a":' * 200_000, "more than 64 levels"),
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
        parse_json(f'{{{keys},"249ef":0}}'.encode(), max_bytes=1 << 22)
