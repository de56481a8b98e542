"""Reading heads."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from workerd_faas.ingress.http1 import (
    CHUNKED,
    UNTIL_CLOSE,
    Malformed,
    RequestHead,
    has_bare_line_end,
    parse_request,
    parse_response,
)


def request(*lines: bytes) -> RequestHead:
    """
    Parse these lines.
    """
    return parse_request(b"\r\n".join([*lines, b"", b""]), max_line=1000, max_fields=10)


def fields(*lines: bytes) -> RequestHead:
    """
    Parse a request with these fields.
    """
    return request(b"GET / HTTP/1.1", b"Host: a", *lines)


def refused(*lines: bytes) -> int:
    """
    The status that these lines are refused with.
    """
    with pytest.raises(Malformed) as caught:
        request(*lines)
    return caught.value.status


def test_plain() -> None:
    """
    A head comes out as what it says.
    """
    head = request(
        b"POST /a?b HTTP/1.1", b"HOST: x.y:80", b"Content-Length:\t 5 ", b"Connection: A, close"
    )
    assert (head.method, head.target, head.host) == (b"POST", b"/a?b", b"x.y:80")
    assert (head.body, head.keep_alive, head.http10) == (5, False, False)
    assert head.options == {b"a", b"close"}


@pytest.mark.parametrize(
    ("line", "status"),
    [
        (b"", 400),
        (b"GET", 400),
        (b"GET /", 400),
        (b"GET  / HTTP/1.1", 400),
        (b"GET / HTTP/1.1 ", 400),
        (b" GET / HTTP/1.1", 400),
        (b"GET\t/ HTTP/1.1", 400),
        (b"GET /\x00 HTTP/1.1", 400),
        (b"GET /\x7f HTTP/1.1", 400),
        (b"G\xc3T / HTTP/1.1", 400),
        (b"GET(x) / HTTP/1.1", 400),
        (b"GET / http/1.1", 400),
        (b"GET / HTTP/1.11", 400),
        (b"GET / HTTP/1", 400),
        (b"GET / HTTP/1.2", 505),
        (b"GET / HTTP/0.9", 505),
        (b"PRI * HTTP/2.0", 505),
        (b"GET / HTTP/3.0", 505),
        (b"CONNECT a:80 HTTP/1.1", 501),
        (b"GET * HTTP/1.1", 400),
        (b"GET a HTTP/1.1", 400),
        (b"GET a:80 HTTP/1.1", 400),
        (b"GET /a#b HTTP/1.1", 400),
        (b"GET ftp://a/ HTTP/1.1", 400),
        (b"GET http://user@a/ HTTP/1.1", 400),
        (b"GET http://a/#b HTTP/1.1", 400),
        (b"GET http:/a HTTP/1.1", 400),
        (b"GET /" + b"x" * 1000 + b" HTTP/1.1", 414),
    ],
)
def test_request_lines(line: bytes, status: int) -> None:
    """
    A request line that is not quite right is refused.
    """
    assert refused(line, b"Host: a") == status


@pytest.mark.parametrize(
    ("sent", "target"),
    [
        (b"//a/../%2e%2E/%zz;b?", b"//a/../%2e%2E/%zz;b?"),
        (b"/{|}^[]\\'?{|}^[]\\'", b"/{|}^[]\\'?{|}^[]\\'"),
        (b'/\xc3\xa9<`>?q="\xff"', b"/%C3%A9%3C%60%3E?q=%22%FF%22"),
        (b"http://a/<?>", b"/%3C?%3E"),
    ],
)
def test_targets(sent: bytes, target: bytes) -> None:
    """
    A target stays as it was sent, but for bytes that no URI has and workerd would refuse.
    """
    head = parse_request(
        b"GET " + sent + b" HTTP/1.1\r\nHost: a\r\n\r\n", max_line=100, max_fields=1
    )
    assert head.target == target


@pytest.mark.parametrize(
    "line",
    [
        b"A : b",
        b" A: b",
        b"\tA: b",
        b": b",
        b"A",
        b"A b: c",
        b"A\x00: b",
        b"A: b\x00",
        b"A: b\x01c",
        b"A: b\x7f",
        b"A: b\rc",
        b"A: b\nC: d",
        b"A\xc3: b",
        b"A(): b",
    ],
)
def test_field_lines(line: bytes) -> None:
    """
    A field that another parser could read differently is refused.
    """
    assert refused(b"GET / HTTP/1.1", b"Host: a", line) == 400


@pytest.mark.parametrize(
    "lines",
    [
        (),
        (b"Host: a", b"Host: a"),
        (b"Host: a", b"HOST: b"),
    ],
)
def test_hosts(lines: tuple[bytes, ...]) -> None:
    """
    There is one `Host`, no less and no more.
    """
    assert refused(b"GET / HTTP/1.1", *lines) == 400


@pytest.mark.parametrize(
    "lines",
    [
        (b"Content-Length: 5", b"Content-Length: 5"),
        (b"Content-Length: 5", b"content-length: 6"),
        (b"Content-Length: 5, 5",),
        (b"Content-Length: +5",),
        (b"Content-Length: -5",),
        (b"Content-Length: 5.0",),
        (b"Content-Length: 0x5",),
        (b"Content-Length: 5 5",),
        (b"Content-Length: 5;",),
        (b"Content-Length:",),
        (b"Content-Length: \xb2",),
        (b"Content-Length: 9999999999999999999",),
        (b"Content-Length: 5", b"Transfer-Encoding: chunked"),
        (b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked"),
        (b"Transfer-Encoding: chunked, chunked",),
        (b"Transfer-Encoding: gzip, chunked",),
        (b"Transfer-Encoding: chunked, gzip",),
        (b"Transfer-Encoding: identity",),
        (b"Transfer-Encoding: xchunked",),
        (b"Transfer-Encoding: chunked;q=1",),
        (b'Transfer-Encoding: "chunked"',),
        (b"Transfer-Encoding: \x0bchunked",),
        (b"Transfer-Encoding:",),
        (b"Transfer-Encoding : chunked",),
        (b" Transfer-Encoding: chunked",),
    ],
)
def test_framing(lines: tuple[bytes, ...]) -> None:
    """
    Lengths that could be understood in two ways are refused, in requests and in responses.
    """
    assert refused(b"POST / HTTP/1.1", b"Host: a", *lines) == 400
    with pytest.raises(Malformed):
        parse_response(b"\r\n".join([b"HTTP/1.1 200 OK", *lines, b"", b""]), max_fields=10)


def test_bodies() -> None:
    """
    A body is as long as its head says: no word means none in a request, all in a response.
    """
    assert fields().body == 0
    assert fields(b"Content-Length: 007").body == 7
    assert fields(b"Transfer-Encoding:\tCHUNKED ").body == CHUNKED
    assert parse_response(b"HTTP/1.1 200 OK\r\n\r\n", max_fields=1).body == UNTIL_CLOSE


def test_http10() -> None:
    """
    HTTP/1.0 has no chunks, no upgrades, and closes unless asked not to.
    """
    assert refused(b"POST / HTTP/1.0", b"Host: a", b"Transfer-Encoding: chunked") == 400
    head = request(b"GET / HTTP/1.0", b"Host: a", b"Connection: upgrade", b"Upgrade: websocket")
    assert (head.keep_alive, head.upgrade) == (False, ())
    assert request(b"GET / HTTP/1.0", b"Host: a", b"Connection: Keep-Alive").keep_alive


def test_many_fields() -> None:
    """
    Too many fields are refused with 431.
    """
    assert refused(b"GET / HTTP/1.1", *[b"A: b"] * 11) == 431


@pytest.mark.parametrize(
    "line",
    [b"HTTP/1.1 20 OK", b"HTTP/1.1 2000 OK", b"HTTP/1.1 099 No", b"HTTP/2 200", b"ICY 200 OK"],
)
def test_status_lines(line: bytes) -> None:
    """
    A status line that is not quite right is refused.
    """
    with pytest.raises(Malformed):
        parse_response(line + b"\r\n\r\n", max_fields=10)


def test_status_without_reason() -> None:
    """
    The reason phrase may be empty or missing.
    """
    for line in (b"HTTP/1.1 204", b"HTTP/1.1 204 "):
        assert parse_response(line + b"\r\n\r\n", max_fields=1).status == 204


@given(st.binary(max_size=200).map(lambda data: data + b"\r\n\r\n"))
@example(b"\r\n\r\n")
@example(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
def test_any_bytes(data: bytes) -> None:
    """
    Any bytes are a head or malformed, nothing else.
    """
    for parse in (
        lambda: parse_request(data, max_line=100, max_fields=5),
        lambda: parse_response(data, max_fields=5),
    ):
        try:
            parse()
        except Malformed as malformed:
            assert str(malformed)


@given(
    st.lists(
        st.tuples(
            st.from_regex(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,10}", fullmatch=True),
            st.from_regex(rb"[\t -~\x80-\xff]{0,20}", fullmatch=True),
        ),
        max_size=9,
    )
)
def test_fields_survive(given_fields: list[tuple[bytes, bytes]]) -> None:
    """
    Whatever is allowed in a field comes out as it went in.
    """
    reserved = (b"host", b"content-length", b"transfer-encoding")
    wanted = [(n, v) for n, v in given_fields if n.lower() not in reserved]
    head = fields(*(name + b":" + value for name, value in wanted))
    assert head.fields[1:] == [(name.lower(), name + b":" + value) for name, value in wanted]
    for name, value in wanted:
        if name.lower() in head.values:
            assert value.strip(b" \t") in head.values[name.lower()]


@pytest.mark.parametrize(
    ("data", "bare"),
    [
        (b"a\r\nb", False),
        (b"a\r", False),
        (b"a\r\n\r", False),
        (b"a\nb", True),
        (b"\n", True),
        (b"a\rb", True),
        (b"a\r\r", True),
        (b"a\n\r\n", True),
    ],
)
def test_bare_line_ends(data: bytes, bare: bool) -> None:
    """
    A CR or LF that is not part of CRLF is found before the head is complete.
    """
    assert has_bare_line_end(data) is bare
