"""What the relay remembers is bounded."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workerd_faas.domain.errors import Problem
from workerd_faas.ingress.memo import Memo
from workerd_faas.ingress.misses import Misses
from workerd_faas.ingress.websocket import Frames, close_frame


@given(st.lists(st.integers(0, 30)))
def test_memo(keys: list[int]) -> None:
    """
    A memo never lies, keeps nothing that was seen once, and never holds more than two generations.
    """
    memo: Memo[int, str] = Memo(4)
    seen: set[int] = set()
    for key in keys:
        value = memo.get(key)
        assert value in (None, str(key))
        assert value is None or key in seen
        if value is None:
            memo.offer(key, str(key))
            assert memo.get(key) in ({None, str(key)} if key in seen else {None})
        seen.add(key)
        assert len(memo._young) + len(memo._old) <= 8
        assert len(memo._seen) <= 32


def test_memo_keeps_what_is_used() -> None:
    """
    What is asked for again and again is not lost to what is asked for twice.
    """
    memo: Memo[int, str] = Memo(4)
    for key in range(-1, 100):
        memo.offer(key, "x")
        memo.offer(key, "x")
        assert memo.get(-1) == "x"


def test_misses() -> None:
    """
    A client that has missed too often waits for the end of the minute; others do not.
    """
    misses = Misses(most=3)
    for _ in range(3):
        misses.check("a", 100.0)
        misses.missed("a", 100.0)
    with pytest.raises(Problem) as caught:
        misses.check("a", 130.0)
    assert caught.value.retry_after == 30
    misses.check("b", 130.0)
    misses.check("a", 160.0)


def test_misses_are_bounded() -> None:
    """
    However many clients miss, the count of them is bounded, and newcomers share one.
    """
    misses = Misses(most=3)
    for number in range(20_000):
        misses.missed(f"client {number}", 1.0)
    assert len(misses._counts) <= 10_001
    with pytest.raises(Problem):
        misses.check("newcomer", 2.0)
    misses.check("client 5", 2.0)


def frame(payload: bytes, *, masked: bool, opcode: int = 1) -> bytes:
    """
    A frame in the shortest form that fits.
    """
    size, mask = len(payload), 0x80 * masked
    if size < 126:
        head = bytes([0x80 | opcode, mask | size])
    elif size < 65536:
        head = bytes([0x80 | opcode, mask | 126]) + size.to_bytes(2, "big")
    else:
        head = bytes([0x80 | opcode, mask | 127]) + size.to_bytes(8, "big")
    return head + b"\xff" * 4 * masked + payload


@given(
    st.lists(st.tuples(st.sampled_from([0, 1, 125, 126, 300, 70_000]), st.booleans()), max_size=5),
    st.lists(st.integers(0, 100_000), max_size=6),
)
def test_frames(sizes: list[tuple[int, bool]], cuts: list[int]) -> None:
    """
    However a WebSocket's bytes are cut, it is between frames where frames end, and only there.
    """
    data, ends = b"", {0}
    for size, masked in sizes:
        data += frame(b"\x88" * size, masked=masked)
        ends.add(len(data))
    frames = Frames()
    edges = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    for start, end in itertools.pairwise(edges):
        frames.feed(data[start:end])
        assert frames.between is (end in ends)
    assert not frames.closed


def test_close_frames() -> None:
    """
    Our own close frames are frames, and are noticed as closing ones.
    """
    assert close_frame(1012) == b"\x88\x02\x03\xf4"
    assert close_frame(1012, b"\xff\x0f\0\0") == b"\x88\x82\xff\x0f\0\0\xfc\xfb"
    for mask in (b"abcd", b""):
        frames = Frames()
        frames.feed(close_frame(1012, mask))
        assert frames.between
        assert frames.closed


def test_flood_of_frames() -> None:
    """
    A flood of empty frames is not followed, and then nowhere counts as between frames.
    """
    frames = Frames()
    frames.feed(b"\x81\x00" * 900)
    assert frames.between
    frames.feed(b"\x81\x00" * 100_000)
    frames.feed(b"\x81\x00")
    assert frames.lost
    assert not frames.between
