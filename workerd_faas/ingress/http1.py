"""
HTTP/1.1 message heads (RFC 9112), read strictly. Pure: bytes in, values out.

A head that could be read in two ways is refused, so nobody behind us can read it differently:
bare CR or LF, folded lines, white space before a colon, repeated or odd lengths, and a transfer
coding that is anything but `chunked` are all errors, whoever sends them.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Final

import attrs

from workerd_faas.ingress.field_names import LOWER_CASE

CHUNKED: Final = -1
UNTIL_CLOSE: Final = -2
"""In place of a body's length."""

_TOKEN: Final = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_VALUE: Final = rb"[^\x00-\x08\x0a-\x1f\x7f]*"
_ALLOWED: Final = bytes({*b"\t\r\n", *range(0x20, 0x7F), *range(0x80, 0x100)})
"""In lines and their ends; obs-text too (RFC 9110 section 5.5)."""

_REQUEST_LINE: Final = re.compile(rb"(" + _TOKEN + rb") ([^\x00-\x20\x7f]+) HTTP/([0-9]\.[0-9])")
_STATUS_LINE: Final = re.compile(rb"HTTP/1\.([01]) ([1-9][0-9][0-9])(?: (" + _VALUE + rb"))?")
_TOKENS: Final = re.compile(_TOKEN)
_ABSOLUTE: Final = re.compile(rb"https?://([^/?#@]*)((?:[/?][^#]*)?)", re.IGNORECASE)
_NOT_IN_URIS: Final = re.compile(rb"[\"<>`\x80-\xff]")
"""Clients send these all the same, and workerd refuses most of them without asking the function."""

_COMMON: Final = {word: frozenset({word}) for word in (b"keep-alive", b"close")}
_LENGTH: Final = re.compile(rb"[0-9]{1,18}")

Fields = Sequence[tuple[bytes, bytes]]
"""Each field's name in lower case, and its line as it was sent."""

Values = Mapping[bytes, Sequence[bytes]]
"""What the fields that matter here say, by name, without white space around it."""

_MATTERS: Final = frozenset(
    {
        b"accept-encoding", b"cloudflare-workers-version-key", b"connection", b"content-length",
        b"expect", b"host", b"transfer-encoding", b"upgrade", b"x-forwarded-for",
        b"x-forwarded-host", b"x-forwarded-proto",
    }
)  # fmt: skip


class Malformed(Exception):
    """
    A message that must not be passed on; its connection has to end.

    Attributes:
        status: For a request, the status to refuse it with.
    """

    def __init__(self, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.status = status


@attrs.frozen(kw_only=True)
class RequestHead:
    """
    A request's head.

    Attributes:
        target: In origin-form or `*` (RFC 9112 section 3.2).
        host: The target's authority if it had one, else the `Host` header.
        http10: The client speaks HTTP/1.0.
        body: The body's length, or `CHUNKED`.
        options: What `Connection` lists, in lower case.
        upgrade: The protocols that the client would like to change to.
    """

    method: bytes
    target: bytes
    host: bytes
    http10: bool
    fields: Fields
    values: Values
    body: int
    options: frozenset[bytes]
    keep_alive: bool
    upgrade: tuple[bytes, ...]
    expects_continue: bool


@attrs.frozen(kw_only=True)
class ResponseHead:
    """
    A response's head.

    Attributes:
        body: The body's length, `CHUNKED` or `UNTIL_CLOSE`, were it an answer to GET.
        length: What `Content-Length` says, which HEAD and 304 may have without a body.
        persistent: The connection may be used again.
    """

    status: int
    reason: bytes
    fields: Fields
    values: Values
    body: int
    length: int | None
    options: frozenset[bytes]
    persistent: bool


def has_bare_line_end(data: bytes) -> bool:
    """
    Whether there is a CR or LF that is not part of CRLF (a CR at the end may still become one).
    """
    ends = data.count(b"\r\n")
    return data.count(b"\n") != ends or data.count(b"\r") - data.endswith(b"\r") != ends


def parse_request(head: bytes, *, max_line: int, max_fields: int) -> RequestHead:
    """
    Read a request's head.

    Args:
        head: Everything from the request line to the empty line, which is included.
        max_line: Bytes that the request line may have.
        max_fields: How many fields there may be.

    Raises:
        Malformed: with the status to answer.
    """
    line, _, block = head[:-2].partition(b"\r\n")
    if len(line) > max_line:
        raise Malformed("The request line is too long.", 414)
    found = _REQUEST_LINE.fullmatch(line)
    if found is None:
        raise Malformed("The request line is malformed.")
    method, target, version = found.groups()
    if version not in (b"1.1", b"1.0"):
        raise Malformed("This port speaks HTTP/1.1 and HTTP/1.0.", 505)
    http10 = version == b"1.0"
    fields, values = _fields(block, max_fields)
    options = _list(values.get(b"connection"))
    body = _body_length(values, http10=http10) or 0
    target, host = _target(method, target, values.get(b"host", ()))
    return RequestHead(
        method=method,
        target=target,
        host=host,
        http10=http10,
        fields=fields,
        values=values,
        body=body,
        options=options,
        keep_alive=b"close" not in options and (not http10 or b"keep-alive" in options),
        upgrade=_protocols(values.get(b"upgrade", ()))
        if b"upgrade" in options and not http10 and not body
        else (),
        expects_continue=bool(body)
        and not http10
        and b"100-continue" in _list(values.get(b"expect")),
    )


def parse_response(head: bytes, *, max_fields: int) -> ResponseHead:
    """
    Read a response's head.

    Raises:
        Malformed: it cannot be passed on.
    """
    line, _, block = head[:-2].partition(b"\r\n")
    found = _STATUS_LINE.fullmatch(line)
    if found is None:
        raise Malformed("The status line is malformed.")
    minor, status, reason = found.groups()
    fields, values = _fields(block, max_fields)
    options = _list(values.get(b"connection"))
    body = _body_length(values, http10=minor == b"0")
    return ResponseHead(
        status=int(status),
        reason=reason or b"",
        fields=fields,
        values=values,
        body=UNTIL_CLOSE if body is None else body,
        length=None if body == CHUNKED else body,
        options=options,
        persistent=minor == b"1" and b"close" not in options,
    )


def _fields(block: bytes, most: int) -> tuple[Fields, Values]:
    """
    Take the lines between the first one and the empty one apart.
    """
    lines = block.split(b"\r\n")
    lines.pop()
    count = len(lines)
    if count > most:
        raise Malformed("There are too many header fields.", 431)
    if (
        block.count(b"\n") != count
        or block.count(b"\r") != count
        or block.translate(None, _ALLOWED)
    ):
        raise Malformed("A header field is malformed.")
    fields = []
    values: dict[bytes, list[bytes]] = {}
    for line in lines:
        spelling, colon, value = line.partition(b":")
        name = LOWER_CASE.get(spelling)
        if not colon or (name is None and _TOKENS.fullmatch(spelling) is None):
            raise Malformed("A header field is malformed.")
        if name is None:
            name = spelling.lower()
        fields.append((name, line))
        if name in _MATTERS:
            values.setdefault(name, []).append(value.strip(b" \t"))
    return fields, values


def _list(values: Sequence[bytes] | None) -> frozenset[bytes]:
    if not values:
        return frozenset()
    if len(values) == 1 and values[0] in _COMMON:
        return _COMMON[values[0]]
    return frozenset(
        item.strip(b" \t").lower() for value in values for item in value.split(b",")
    ) - {b""}


def _body_length(values: Values, *, http10: bool) -> int | None:
    """
    RFC 9112 section 6.3, without any of the guesses that it allows.
    """
    lengths, codings = values.get(b"content-length"), values.get(b"transfer-encoding")
    if codings:
        if lengths:
            raise Malformed("Content-Length and Transfer-Encoding exclude each other.")
        if http10:
            raise Malformed("HTTP/1.0 has no Transfer-Encoding.")
        if len(codings) > 1 or codings[0].lower() != b"chunked":
            raise Malformed("The only Transfer-Encoding understood here is chunked.")
        return CHUNKED
    if not lengths:
        return None
    if len(lengths) > 1 or _LENGTH.fullmatch(lengths[0]) is None:
        raise Malformed("Content-Length must be there once and be a decimal number.")
    return int(lengths[0])


def _target(method: bytes, target: bytes, hosts: Sequence[bytes]) -> tuple[bytes, bytes]:
    """
    The target in origin-form and the host that it is for (RFC 9112 section 3.2). Every byte is as
    it was sent, unless it must be encoded to be in a URI (WHATWG URL encodes the same).
    """
    if len(hosts) != 1:
        raise Malformed("There must be one Host header.")
    if method == b"CONNECT":
        raise Malformed("CONNECT is not served here.", 501)
    target = _NOT_IN_URIS.sub(_percent_encoded, target)
    if target.startswith(b"/"):
        if b"#" in target:
            raise Malformed("The request target has a fragment.")
        return target, hosts[0]
    if target == b"*":
        if method != b"OPTIONS":
            raise Malformed("The request target * is for OPTIONS only.")
        # A function is given a URL, which cannot say this: workerd would fail without running it.
        return b"/", hosts[0]
    absolute = _ABSOLUTE.fullmatch(target)
    if absolute is None:
        raise Malformed("The request target is malformed.")
    authority, path = absolute.groups()
    return (path if path.startswith(b"/") else b"/" + path), authority


def _percent_encoded(found: re.Match[bytes]) -> bytes:
    return b"%%%02X" % ord(found[0])


def _protocols(values: Sequence[bytes]) -> tuple[bytes, ...]:
    """
    Never HTTP/2: whatever spoke it behind us would be out of our sight.
    """
    protocols = [item.strip(b" \t") for value in values for item in value.split(b",")]
    return tuple(
        item
        for item in protocols
        if _TOKENS.fullmatch(item.replace(b"/", b"")) and not item.lower().startswith(b"h2")
    )
