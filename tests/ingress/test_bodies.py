"""Where bodies end."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workerd_faas.ingress.bodies import (
    MAX_LINE,
    MAX_OVERHEAD,
    Body,
    ChunkedBody,
    LengthBody,
    OpenBody,
)
from workerd_faas.ingress.http1 import Malformed

chunk = st.tuples(
    st.binary(min_size=1, max_size=40),
    st.sampled_from([b"", b";a", b" ; a=b", b';x="y z"']),
    st.booleans(),
)


def encoded(chunks: list[tuple[bytes, bytes, bool]], trailers: bytes = b"") -> bytes:
    """
    Chunks with extensions, sizes in either case.
    """
    lines = []
    for data, extension, upper in chunks:
        size = (b"%X" if upper else b"%x") % len(data)
        lines += [size, extension, b"\r\n", data, b"\r\n"]
    return b"".join([*lines, b"0\r\n", trailers, b"\r\n"])


def feed_all(body: Body, data: bytes, cuts: list[int]) -> tuple[bytes, bytes]:
    """
    Feed data in pieces; return what was passed on and what was left over.
    """
    out = b""
    edges = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    for start, end in itertools.pairwise(edges):
        passed, rest = body.feed(data[start:end])
        out += passed
        if body.done:
            return out, rest + data[end:]
        assert not rest
    return out, b""


@given(st.lists(chunk, max_size=6), st.lists(st.integers(0, 400), max_size=8), st.binary())
def test_chunks(chunks: list[tuple[bytes, bytes, bool]], cuts: list[int], after: bytes) -> None:
    """
    However a chunked body is cut up, its canonical form comes out, and what follows is left over.
    """
    canonical = encoded([(data, b"", upper) for data, _, upper in chunks])
    trailers = b"A: b\r\nC: d\r\n" if chunks else b""
    data = encoded(chunks, trailers) + after
    assert feed_all(ChunkedBody(), data, cuts) == (canonical, after)
    bare = b"".join(data for data, _, _ in chunks)
    assert feed_all(ChunkedBody(bare=True), data, cuts) == (bare, after)


def test_every_cut() -> None:
    """
    A chunked body may be cut at every byte.
    """
    data = encoded([(b"hello", b";x", False), (b"\r\n0\r\n\r\n", b"", True)], b"T: x\r\n")
    whole = encoded([(b"hello", b"", False), (b"\r\n0\r\n\r\n", b"", True)])
    for first in range(len(data) + 1):
        for second in range(first, len(data) + 1):
            assert feed_all(ChunkedBody(), data, [first, second]) == (whole, b"")


def test_untouched() -> None:
    """
    Canonical bytes are passed on as the object that they came in.
    """
    data = encoded([(b"x" * 1000, b"", False)])
    assert ChunkedBody().feed(data)[0] is data


@pytest.mark.parametrize(
    "data",
    [
        b"\r\n",
        b"5\n",
        b"5\rhello",
        b"5 \r\n",
        b" 5\r\n",
        b"+5\r\n",
        b"-5\r\n",
        b"0x5\r\n",
        b"5g\r\n",
        b"\xb25\r\n",
        b"ffffffffffffffff\r\n",
        b"0000000000000005\r\n",
        b"5;a\x00\r\n",
        b"5;a\nb\r\n",
        b"5\r\nhelloX\r\n",
        b"5\r\nhello\n",
        b"5\r\nhello\r\r\n",
        b"0\r\nA b: c\r\n",
        b"0\r\n A: b\r\n",
        b"0\r\nA: b\n",
        b"0\r\n\n",
        b"5" * (MAX_LINE + 1),
        b"5;" + b"x" * MAX_LINE + b"\r\n",
        b"0\r\nA: " + b"x" * MAX_LINE,
        b"1;" + b"x" * 1000,
    ],
)
def test_malformed(data: bytes) -> None:
    """
    Broken framing is found wherever it is cut.
    """
    if data.endswith(b"x" * 1000):
        data = (data + b"\r\na\r\n") * (MAX_OVERHEAD // 1000 + 1)
    for cuts in ([], list(range(min(len(data), 60)))):
        with pytest.raises(Malformed):
            feed_all(ChunkedBody(), data, cuts)


@given(st.binary(), st.integers(0, 100), st.lists(st.integers(0, 200), max_size=5))
def test_length(data: bytes, length: int, cuts: list[int]) -> None:
    """
    A body of a known length ends there.
    """
    body = LengthBody(length)
    if body.done:
        assert length == 0
        return
    out, rest = feed_all(body, data, cuts)
    assert body.done is (len(data) >= length)
    assert (out, rest) == (data[:length], data[length:])
    assert body.at_least == max(0, length - len(data))


def test_open() -> None:
    """
    A body without an end passes everything.
    """
    body = OpenBody()
    assert body.feed(b"abc") == (b"abc", b"")
    assert not body.done
