"""Readers of single values: what they take, what they refuse, and that they say why."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workerd_faas.settings import values
from workerd_faas.settings.endpoints import endpoints, parse


@given(st.text(max_size=60))
def test_no_text_gets_past_a_reader_as_another_exception(text: str) -> None:
    """Readers answer any text with a value or a `ValueError` whose message is one line."""
    for read in (
        values.domain,
        values.url,
        values.origin,
        values.issuer,
        values.networks,
        values.duration,
        values.size,
        values.count,
        values.flag,
        values.text,
        values.login_rules,
        values.signing_secret,
        values.given_secret,
        endpoints,
    ):
        try:
            read(text)
        except ValueError as error:
            assert str(error)
            assert "\n" not in str(error)


@pytest.mark.parametrize(
    "text",
    [
        "",
        ".",
        "a..b",
        "-a.com",
        "a-.com",
        "a_b.com",
        "a b.com",
        "*.com",
        "exämple.com",
        "10.0.0.1",
        "::1",
        "[::1]",
        "example.com:8080",
        "https://example.com",
        "a" * 64 + ".com",
        ".".join(["abc"] * 40),
    ],
)
def test_what_is_no_domain_is_refused(text: str) -> None:
    """Only a DNS name that leaves room for functions below it is a base domain."""
    with pytest.raises(ValueError, match=r"use|give"):
        values.domain(text)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("Example.COM", "example.com"),
        ("example.com.", "example.com"),
        ("localhost", "localhost"),
        ("xn--exmple-cua.com", "xn--exmple-cua.com"),
        ("a1.b2-c3.example", "a1.b2-c3.example"),
    ],
)
def test_a_domain_is_normalised(text: str, name: str) -> None:
    """Case and a final dot make no difference; an encoded international name is fine."""
    assert values.domain(text) == name


@pytest.mark.parametrize(
    "text",
    [
        "http://login.example.com",
        "http://10.0.0.1",
        "http://localhost.example.com",
        "http://127.0.0.1.example.com",
        "ftp://login.example.com",
        "//login.example.com",
        "login.example.com",
        "https://",
        "https://user:hunter2@login.example.com",
        "https://login.example.com/#fragment",
        "https://login.example.com/a b",
        "https://login.example.com\\@evil.example",
        "https://login.example.com:99999",
        "https://login.example.com:0",
        "https://[::1",
        "https://login.example.com/\n",
    ],
)
def test_what_is_no_safe_url_is_refused(text: str) -> None:
    """Secrets go over https to the host that is written there, or to this machine."""
    with pytest.raises(ValueError, match=": ") as caught:
        values.url(text)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        "https://login.example.com/realms/x?y=z",
        "http://localhost:9000/authorize",
        "http://127.0.0.1:9000",
        "http://[::1]:9000",
        "http://login.localhost",
    ],
)
def test_a_safe_url_stays_as_it_is(text: str) -> None:
    """An issuer is compared character by character, so that a URL is not rewritten."""
    assert values.url(text) == text


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("30", 30.0), ("1.5s", 1.5), ("500ms", 0.5), ("5m", 300.0), ("2h", 7200.0), ("1d", 86400.0)],
)
def test_durations(text: str, seconds: float) -> None:
    """A duration is a number of seconds or has its unit behind it."""
    assert values.duration(text) == seconds


@pytest.mark.parametrize("text", ["0", "0s", "-1", "1 year", "s", "1e3", "inf", "nan", "٣s", "1.s"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    """Nothing, less than nothing and numbers in other notations are no durations."""
    with pytest.raises(ValueError, match="no duration"):
        values.duration(text)


@pytest.mark.parametrize(
    ("text", "octets"), [("1", 1), ("2KiB", 2048), ("96MiB", 96 << 20), ("1 GiB", 1 << 30)]
)
def test_sizes(text: str, octets: int) -> None:
    """A size is a number of bytes or has its binary unit behind it."""
    assert values.size(text) == octets


@pytest.mark.parametrize("text", ["0", "-1", "1.5MiB", "1MB", "much", "٣", "MiB"])
def test_what_is_no_size_is_refused(text: str) -> None:
    """Fractions, decimal units and other digits are no sizes."""
    with pytest.raises(ValueError, match="no size"):
        values.size(text)


def test_code_is_no_larger_than_workerd_takes() -> None:
    """A limit above the worker loader's own 64 MiB is refused instead of failing at each load."""
    assert values.code_size("64MiB") == 64 << 20
    with pytest.raises(ValueError, match="at most 64MiB"):
        values.code_size("65MiB")


@pytest.mark.parametrize(
    ("text", "rules"),
    [
        ("", ()),
        ("Alice@Example.com, @Partner.example", ("alice@example.com", "@partner.example")),
        ("sub:AbC|123", ("sub:AbC|123",)),
    ],
)
def test_login_rules(text: str, rules: tuple[str, ...]) -> None:
    """Addresses are compared without case, subjects with."""
    assert values.login_rules(text) == rules


@pytest.mark.parametrize("text", ["*", "example.com", "@", "sub:", "a@b@c.de", "@localhost"])
def test_what_is_no_login_rule_is_refused(text: str) -> None:
    """A rule that would match nobody or everybody by accident is refused."""
    with pytest.raises(ValueError, match="no rule"):
        values.login_rules(text)


@pytest.mark.parametrize(
    ("text", "port", "loopback", "tls"),
    [
        ("tcp:8080", 8080, False, False),
        ("tcp:8080:interface=127.0.0.1", 8080, True, False),
        ("tcp:8080:127.1.2.3", 8080, True, False),
        ("tcp:port=8080:interface=0.0.0.0", 8080, False, False),
        (r"tcp6:8080:interface=\:\:1", 8080, True, False),
        ("tcp6:8080", 8080, False, False),
        ("ssl:443:privateKey=k.pem:certKey=c.pem", 443, False, True),
        ("unix:/run/x.sock:mode=660", None, True, False),
        ("systemd:domain=INET:index=0", None, False, False),
        ("systemd:domain=INET6:name=http", None, False, False),
    ],
)
def test_endpoints_are_taken_apart(text: str, port: int | None, loopback: bool, tls: bool) -> None:
    """Kind, port and reach of an endpoint string are known before anything listens."""
    endpoint = parse(text)
    assert (endpoint.port, endpoint.loopback, endpoint.tls) == (port, loopback, tls)
    assert endpoint.text == text


@pytest.mark.parametrize(
    "text",
    [
        "8080",
        "tcp",
        "tcp:",
        "tcp:http",
        "tcp:0",
        "tcp:65536",
        "tcp:²",
        "tcp:8080:interface=eth0",
        "tcp:8080:interface=localhost",
        "tcp:8080:interface=",
        "tcp:8080:interfaces=127.0.0.1",
        "tcp:8080:port=8081",
        "tcp:8080:127.0.0.1:50:extra",
        "ssl:443",
        "ssl:443:privateKey=",
        "unix",
        "systemd:index=0",
        "systemd:domain=INET",
        "udp:53",
        "127.0.0.1:8080",
    ],
)
def test_what_is_no_endpoint_is_refused(text: str) -> None:
    """An endpoint string that Twisted would choke on later is refused with what would be right."""
    with pytest.raises(ValueError, match=r"use|add|takes|too many|twice"):
        endpoints(text)


def test_several_endpoints_are_separated_by_any_space() -> None:
    """Spaces and line ends separate endpoint strings."""
    assert [e.port for e in endpoints("tcp:80\n  tcp:81\ttcp6:82")] == [80, 81, 82]


def test_users() -> None:
    """
    A range of users is its first and last; `auto` and `none` are told apart from it; ranges that
    are too small, backwards, or have root or nobody at all in them are refused.
    """
    assert values.users("200000-265535") == (200_000, 265_535)
    assert values.users("auto") is None
    first, last = values.users("none") or (1, 2)
    assert first == last
    for wrong in ("0-65535", "5-1", "100-114", "1-4294967295", "1", "a-b", "1-2-3", "-1-100", ""):
        with pytest.raises(ValueError, match="no range of user ids"):
            values.users(wrong)
