"""Multipart bodies."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workerd_faas.api.multipart import Part, parse_multipart
from workerd_faas.domain.errors import Kind, Problem

TYPE = "multipart/form-data; boundary=XX"


def body(*parts: tuple[str, bytes]) -> bytes:
    """
    A form whose parts have these headers and contents.
    """
    made = b"".join(
        b"--XX\r\n" + head.encode() + b"\r\n\r\n" + content + b"\r\n" for head, content in parts
    )
    return made + b"--XX--\r\n"


def disposition(name: str) -> str:
    """
    The header of a part of this name.
    """
    return f'Content-Disposition: form-data; name="{name}"; filename="{name}"'


def refused(content_type: str | None, data: bytes) -> str:
    """
    The message with which the form is refused.
    """
    with pytest.raises(Problem) as caught:
        parse_multipart(content_type, data, max_parts=3)
    assert caught.value.kind is Kind.BAD_REQUEST
    return caught.value.message


def test_parts_come_in_order_with_type_and_bytes() -> None:
    """
    Names, content types without parameters and untouched bytes come out in order.
    """
    data = body(
        ('Content-Disposition: form-data; name="metadata"', b"{}"),
        (disposition("./a.wasm") + "\r\nContent-Type: Application/WASM; x=y", b"\0asm\r\n--X\xff"),
        (disposition("empty.txt") + "\r\nContent-Type: text/plain", b""),
    )
    parts = parse_multipart(TYPE, data, max_parts=3)
    assert parts == [
        Part(name="metadata", sent_type=None, content=b"{}"),
        Part(name="./a.wasm", sent_type="Application/WASM; x=y", content=b"\0asm\r\n--X\xff"),
        Part(name="empty.txt", sent_type="text/plain", content=b""),
    ]
    assert [part.content_type for part in parts] == [None, "application/wasm", "text/plain"]


def test_names_are_decoded_as_browsers_encode_them() -> None:
    """
    Quotes and line ends come percent-encoded, other characters as UTF-8.
    """
    data = body((disposition("a%22b\u00fc.js"), b"x"))
    head = data.replace("\u00fc".encode(), "\u00fc".encode())
    (part,) = parse_multipart(TYPE, head, max_parts=3)
    assert part.name == 'a"bü.js'


@pytest.mark.parametrize(
    "content_type",
    [None, "", "application/json", "multipart/form-data", "multipart/mixed; boundary=XX"],
)
def test_other_bodies_are_refused(content_type: str | None) -> None:
    """
    Anything but a form with a boundary is refused with what to send.
    """
    assert "multipart/form-data" in refused(content_type, body((disposition("a"), b"")))


def test_malformed_forms_are_refused() -> None:
    """
    A form that is cut short, nameless, ambiguous or too long is refused.
    """
    whole = body((disposition("a"), b"content"))
    assert "closing boundary" in refused(TYPE, whole[:-8])
    assert "closing boundary" in refused(TYPE, b"")
    assert "malformed" in refused(TYPE, b"no boundary at all")
    assert "with a name" in refused(TYPE, body(("Content-Type: text/plain", b"")))
    assert "with a name" in refused(TYPE, body(("Content-Disposition: attachment; name=a", b"")))
    assert "two parts named 'a'" in refused(TYPE, body(*[(disposition("a"), b"")] * 2))
    assert "more than 3 parts" in refused(
        TYPE, body(*[(disposition(name), b"") for name in "abcd"])
    )
    assert "not UTF-8" in refused(
        TYPE, body((disposition("a"), b"")).replace(b'name="a"', b'name="\xff"')
    )
    assert "twice" in refused(TYPE, body((disposition("a") + "\r\n" + disposition("b"), b"")))
    assert "malformed" in refused(TYPE, body((disposition("a") + "\r\nX: " + "y" * 5000, b"")))


@pytest.mark.parametrize(
    "head",
    [
        'Content-Disposition: form-data; name="a"; name="b"',
        'Content-Disposition: form-data; name=a; filename="x"; NAME = b',
        'Content-Disposition: form-data; name="a',
        'Content-Disposition: form-data; name="a"b"',
    ],
)
def test_a_part_has_one_name(head: str) -> None:
    """
    A part that readers could take for one of two is refused with what its header says.
    """
    assert "ambiguous" in refused(TYPE, body((head, b"x")))


def test_a_name_may_look_like_a_parameter() -> None:
    """
    What stands in quotes is part of the name.
    """
    data = body(('Content-Disposition: form-data; filename="; name=b"; name="; name=a"', b"x"))
    (part,) = parse_multipart(TYPE, data, max_parts=3)
    assert part.name == "; name=a"


def test_content_is_sent_as_it_is() -> None:
    """
    Base64 and quoted-printable are refused, not stored as if they were the content; words that
    mean no encoding are taken.
    """
    for encoding in ("base64", "Quoted-Printable", "x-uuencode"):
        head = f"{disposition('a')}\r\nContent-Transfer-Encoding: {encoding}"
        assert "Content-Transfer-Encoding" in refused(TYPE, body((head, b"YQ==")))
    for encoding in ("binary", "8BIT"):
        head = f"{disposition('a')}\r\nContent-Transfer-Encoding: {encoding}"
        assert parse_multipart(TYPE, body((head, b"YQ==")), max_parts=3)[0].content == b"YQ=="


@given(st.binary(max_size=200))
def test_no_bytes_cause_another_exception(data: bytes) -> None:
    """
    Any body is read or refused as a bad request.
    """
    for candidate in (data, b"--XX\r\n" + data, body((disposition("a"), b"")) + data):
        try:
            parse_multipart(TYPE, candidate, max_parts=3)
        except Problem as problem:
            assert problem.kind is Kind.BAD_REQUEST


def test_a_bad_form_is_not_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    """
    Whoever sends bad forms is told so, and writes nothing into the daemon's log with them.
    """
    for data in (b"--XY\r\n", b"XX", b"--XX\r\nno colon\r\n\r\n"):
        assert refused(TYPE, data)
    assert caplog.records == []
