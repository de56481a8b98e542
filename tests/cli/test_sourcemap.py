"""Reading source maps."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workerd_faas.cli.bundle.sourcemap import relocate
from workerd_faas.wire.sourcemap import (
    MalformedMap,
    Position,
    SourceMap,
    decode_vlq,
    map_positions,
)

_DIGITS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"


def encode_vlq(number: int) -> str:
    value = abs(number) << 1 | (number < 0)
    out = ""
    while True:
        digit, value = value & 31, value >> 5
        out += _DIGITS[digit | (32 if value else 0)]
        if not value:
            return out


def a_map(mappings: str, sources: list[str]) -> bytes:
    return json.dumps({"version": 3, "sources": sources, "mappings": mappings}).encode()


@given(st.lists(st.integers(-(2**31), 2**31)))
def test_numbers_survive(numbers: list[int]) -> None:
    """
    Decoding gives back every list of numbers that was encoded.
    """
    assert decode_vlq("".join(map(encode_vlq, numbers))) == numbers


@pytest.mark.parametrize("text", ["!", "g", "gggggggggggggggggggggg", "é"])
def test_bad_numbers(text: str) -> None:
    """
    What is no base 64, cut short or without end is refused.
    """
    with pytest.raises(MalformedMap):
        decode_vlq(text)


def segments(*groups: list[list[int]]) -> str:
    return ";".join(
        ",".join("".join(map(encode_vlq, segment)) for segment in line) for line in groups
    )


def test_positions_are_found_by_the_segment_before_them() -> None:
    """
    A position belongs to the last segment that begins at or before it, on its line only.
    """
    mappings = segments([[4, 0, 9, 2]], [], [[0, 1, -9, 0], [10]])
    found = SourceMap.parse(a_map(mappings, ["src/a.ts", "src/b.ts"]))
    assert found.original(1, 4) is None
    assert found.original(1, 5) == Position("src/a.ts", 10, 3)
    assert found.original(1, 500) == Position("src/a.ts", 10, 3)
    assert found.original(2, 1) is None
    assert found.original(3, 1) == Position("src/b.ts", 1, 3)
    assert found.original(3, 11) is None
    assert found.original(4, 1) is None
    assert found.original(0, 1) is None


@given(st.binary() | st.text(max_size=40).map(lambda text: a_map(text, ["a"])))
def test_nonsense_is_refused_or_read(content: bytes) -> None:
    """
    Whatever the bytes are, the result is a map or MalformedMap.
    """
    try:
        SourceMap.parse(content).original(1, 1)
    except MalformedMap as error:
        assert str(error) is not None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Uncaught Error: x\n  at index.js:1:5", "Uncaught Error: x\n  at src/a.ts:10:3"),
        ("at fetch (index.js:1:5)", "at fetch (src/a.ts:10:3)"),
        ("at file:///index.js:1:5 in x", "at src/a.ts:10:3 in x"),
        ("at ./index.js:1:5", "at src/a.ts:10:3"),
        ("at file:///bundle/index.js:1:5 in f", "at src/a.ts:10:3 in f"),
        ("at file:///bundle/a%20b/c.js:1:5", "at src/a.ts:10:3"),
        ("at other.js:1:5", "at other.js:1:5"),
        ("at index.js:9:9", "at index.js:9:9"),
        ("at file:///bundle/other.js:2", "at other.js:2"),
        ("12:30:59 https://example.com:80:1", "12:30:59 https://example.com:80:1"),
    ],
)
def test_messages_are_mapped(text: str, expected: str) -> None:
    """
    Positions in a module with a map are replaced, everything else stays as it is.
    """
    content = a_map(segments([[4, 0, 9, 2]]), ["src/a.ts"])
    maps = {"index.js": content, "a b/c.js": content}
    assert map_positions(text, maps) == expected


def test_a_broken_map_changes_nothing() -> None:
    """
    A map that cannot be read leaves the message alone.
    """
    assert map_positions("at index.js:1:5", {"index.js": b"{}"}) == "at index.js:1:5"


def test_relocation() -> None:
    """
    The file, the root and each source are rewritten, the rest is kept.
    """
    content = json.dumps(
        {"version": 3, "sources": ["a.ts"], "sourceRoot": "../src", "names": ["n"], "mappings": ""}
    ).encode()
    assert json.loads(relocate(content, "index.js", lambda source: f"<{source}>")) == {
        "version": 3,
        "sources": ["<../src/a.ts>"],
        "names": ["n"],
        "mappings": "",
        "file": "index.js",
    }
