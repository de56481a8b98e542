"""Whose host it is."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workerd_faas.domain.errors import Kind, Problem
from workerd_faas.ingress.hosts import ApiHost, FunctionHost, place_of

label = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,20}[a-z0-9])?", fullmatch=True)
port = st.one_of(st.just(""), st.integers(0, 65535).map(lambda number: f":{number}"))


def kind_of(raw: bytes, base: str = "example.com") -> Kind:
    """
    The kind of problem that a host is.
    """
    place = place_of(raw, base)
    assert isinstance(place, Problem)
    return place.kind


@pytest.mark.parametrize(
    "raw",
    [b"example.com", b"EXAMPLE.Com", b"example.com:8080", b"example.com.", b"example.com.:1"],
)
def test_api(raw: bytes) -> None:
    """
    The base domain is the API's host in any case, with a port or a final dot.
    """
    assert place_of(raw, "example.com") == ApiHost()


@pytest.mark.parametrize(
    ("raw", "place"),
    [
        (b"hello.example.com", FunctionHost("hello")),
        (b"HELLO.example.COM:443", FunctionHost("hello")),
        (b"v1.hello.example.com.", FunctionHost("hello", "v1")),
        (b"example.com.example.com", FunctionHost("com", "example")),
        (b"-x_.example.com", FunctionHost("-x_")),
    ],
)
def test_functions(raw: bytes, place: FunctionHost) -> None:
    """
    One label below the base domain is a function, two are a selector and a function.
    """
    assert place_of(raw, "example.com") == place


@pytest.mark.parametrize(
    "raw",
    [
        b"evilexample.com",
        b"hello-example.com",
        b"helloXexample.com",
        b"example.com.evil",
        b"hello.example.org",
        b"a.b.hello.example.com",
        b"com",
        b"xn--bcher-kva.example",
    ],
)
def test_not_ours(raw: bytes) -> None:
    """
    A host that merely looks like ours is nobody's; one without a dot is no host.
    """
    assert kind_of(raw) is (Kind.HOST_UNKNOWN if b"." in raw else Kind.HOST_INVALID)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b".",
        b"..",
        b".example.com",
        b"hello..example.com",
        b"hello.example.com..",
        b"hello.example.com:",
        b"hello.example.com:65536",
        b"hello.example.com:-1",
        b"hello.example.com:80:80",
        b"hello.example.com:8o",
        b"hello.example.com ",
        b"hello.example.com,example.com",
        b"hello.example.com/",
        b"user@hello.example.com",
        b"h%65llo.example.com",
        b"h\xc3\xa4llo.example.com",
        b"hello.example.com\x00",
        b"[::1]",
        b"[::1]:8080",
        b"127.0.0.1",
        b"127.1:80",
        b"0x7f.0.0.0x1",
        b"x" * 64 + b".example.com",
        b"a." * 130 + b"example.com",
        b"x" * 100_000,
    ],
)
def test_invalid(raw: bytes) -> None:
    """
    What is not one host name is invalid, unless it is harmless: an empty port is allowed.
    """
    if raw.endswith(b"com:"):
        assert place_of(raw, "example.com") == FunctionHost("hello")
    else:
        assert kind_of(raw) is Kind.HOST_INVALID


@pytest.mark.parametrize("base", ["localhost", "127.0.0.1"])
def test_short_bases(base: str) -> None:
    """
    The base domain may be a single label or an address.
    """
    assert place_of(base.encode() + b":8080", base) == ApiHost()
    assert place_of(b"hello." + base.encode(), base) == FunctionHost("hello")


@given(st.binary(max_size=300))
def test_never_raises(raw: bytes) -> None:
    """
    Any bytes have a place or a problem.
    """
    assert isinstance(place_of(raw, "example.com"), ApiHost | FunctionHost | Problem)


@given(label, st.none() | label, port, st.booleans())
def test_only_its_own(function: str, selector: str | None, end: str, upper: bool) -> None:
    """
    A function's host leads to that function alone, however it is written.
    """
    name = (f"{selector}." if selector else "") + f"{function}.example.com{end}"
    raw = (name.upper() if upper else name).encode()
    assert place_of(raw, "example.com") == FunctionHost(function, selector)


@given(st.text(alphabet="abAB.-:0eExXmMpPlLcCoO", max_size=40))
def test_dot_boundary(text: str) -> None:
    """
    Nothing is served unless it is the base domain or ends in a dot and the base domain.
    """
    place = place_of(text.encode(), "example.com")
    name = text.partition(":")[0].lower().removesuffix(".")
    served = name == "example.com" or name.endswith(".example.com")
    assert served or isinstance(place, Problem)
