"""
`multipart/form-data` (RFC 7578) as uploads bring it.

The parser is python-multipart's; ours are the bounds and the strictness: every part has a name,
no name comes twice, nothing is decoded or converted.
"""

import logging
import re
from typing import Final

import attrs
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from workerd_faas.domain.errors import Kind, Problem

# What is wrong with a form is told to who sent it: the parser would say it in our log as well.
logging.getLogger("python_multipart").setLevel(logging.CRITICAL)

_QUOTED: Final = re.compile(r'"(?:[^"\\]|\\.)*"')
_NAMES: Final = re.compile(r";\s*name\s*=", re.IGNORECASE)
_AS_IT_IS: Final = frozenset({b"7bit", b"8bit", b"binary"})

MAX_PART_HEADERS: Final = 8
MAX_PART_HEADER_BYTES: Final = 4096


@attrs.frozen(kw_only=True)
class Part:
    """
    One part of the form.

    Attributes:
        sent_type: The content type as it was sent, if it was.
    """

    name: str
    sent_type: str | None
    content: bytes = attrs.field(repr=lambda content: f"<{len(content)} bytes>")

    @property
    def content_type(self) -> str | None:
        """
        Without parameters, in lower case; None if not sent.
        """
        return (self.sent_type or "").partition(";")[0].strip().lower() or None


@attrs.define
class _Collector:
    """
    Gathers what the parser reports; its methods are the parser's callbacks.
    """

    max_parts: int
    parts: list[Part] = attrs.Factory(list)
    complete: bool = False
    _headers: dict[bytes, bytes] = attrs.Factory(dict)
    _field: bytes = b""
    _value: bytes = b""
    _data: list[bytes] = attrs.Factory(list)

    def on_part_begin(self) -> None:
        if len(self.parts) >= self.max_parts:
            raise _refused(f"has more than {self.max_parts} parts")
        self._headers, self._data = {}, []

    def on_header_begin(self) -> None:
        self._field = self._value = b""

    def on_header_field(self, data: bytes, start: int, end: int) -> None:
        self._field += data[start:end]

    def on_header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def on_header_end(self) -> None:
        name = self._field.lower()
        if name in self._headers:
            raise _refused("has a part with a header that stands there twice")
        self._headers[name] = self._value

    def on_part_data(self, data: bytes, start: int, end: int) -> None:
        self._data.append(data[start:end])

    def on_part_end(self) -> None:
        encoding = self._headers.get(b"content-transfer-encoding", b"binary").strip().lower()
        if encoding not in _AS_IT_IS:  # RFC 7578 section 4.7; stored as it is, it would be rubbish
            raise _refused("has a part with a Content-Transfer-Encoding: send bytes as they are")
        sent = self._headers.get(b"content-type")
        self.parts.append(
            Part(
                name=_name(self._headers.get(b"content-disposition", b"")),
                sent_type=None if sent is None else sent.decode("latin-1"),
                content=b"".join(self._data),
            )
        )

    def on_end(self) -> None:
        self.complete = True


def parse_multipart(content_type: str | None, body: bytes, *, max_parts: int) -> list[Part]:
    """
    The parts of a body, in their order.

    Raises:
        Problem: `BAD_REQUEST` when it is not a well-formed form.
    """
    kind, options = parse_options_header(content_type)
    boundary = options.get(b"boundary")
    if kind != b"multipart/form-data" or not boundary:
        raise Problem(
            kind=Kind.BAD_REQUEST,
            message="Send the upload as multipart/form-data with a boundary: "
            "a 'metadata' part and one part a module.",
        )
    collector = _Collector(max_parts)
    callbacks = (
        "on_part_begin",
        "on_part_data",
        "on_part_end",
        "on_header_begin",
        "on_header_field",
        "on_header_value",
        "on_header_end",
        "on_end",
    )
    try:
        parser = MultipartParser(
            boundary,
            {name: getattr(collector, name) for name in callbacks},  # type: ignore[arg-type]
            max_header_count=MAX_PART_HEADERS,
            max_header_size=MAX_PART_HEADER_BYTES,
        )
        parser.write(body)
        parser.finalize()
    except FormParserError as error:
        raise _refused(f"is malformed ({error})") from None
    if not collector.complete:
        raise _refused("ends before its closing boundary")
    names = [part.name for part in collector.parts]
    for name in names:
        if names.count(name) > 1:
            raise _refused(f"has two parts named {name[:120]!r}")
    return collector.parts


def _refused(what: str) -> Problem:
    return Problem(kind=Kind.BAD_REQUEST, message=f"The multipart body {what}.")


def _name(disposition: bytes) -> str:
    text = disposition.decode("latin-1")
    unquoted = _QUOTED.sub("", text)
    if '"' in unquoted or len(_NAMES.findall(unquoted)) > 1:
        raise _refused(f"has a part with an ambiguous Content-Disposition, {text[:120]!r}")
    kind, options = parse_options_header(text)
    raw = options.get(b"name")
    if kind != b"form-data" or raw is None:
        raise _refused("has a part without Content-Disposition: form-data with a name")
    try:
        name = raw.decode("utf-8")
    except UnicodeDecodeError:
        raise _refused("has a part whose name is not UTF-8") from None
    # Browsers and undici write these three so (HTML standard, multipart/form-data encoding).
    return name.replace("%22", '"').replace("%0D", "\r").replace("%0A", "\n")
