"""`multipart/form-data` (RFC 7578) as Wrangler writes it: a writer, and a reader of its files."""

import re
import secrets
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

import attrs

_ESCAPES: Final = {'"': "%22", "\r": "%0D", "\n": "%0A"}


@attrs.frozen(kw_only=True)
class Part:
    """
    One part. Without `filename` it is a field, without `content_type` that header is left out.
    """

    name: str
    content: bytes = attrs.field(repr=lambda content: f"<{len(content)} bytes>")
    filename: str | None = None
    content_type: str | None = None

    def head(self) -> bytes:
        """
        Its headers with the empty line after them.
        """
        disposition = f'form-data; name="{_escaped(self.name)}"'
        if self.filename is not None:
            disposition += f'; filename="{_escaped(self.filename)}"'
        lines = [f"Content-Disposition: {disposition}"]
        if self.content_type is not None:
            lines.append(f"Content-Type: {self.content_type}")
        return ("\r\n".join(lines) + "\r\n\r\n").encode()


def _escaped(text: str) -> str:
    return "".join(_ESCAPES.get(character, character) for character in text)


@attrs.frozen
class Form:
    """
    A form that is sent part by part, without a copy of the whole. Its boundary has 128 random
    bits, so that no content contains it.
    """

    parts: Sequence[Part]
    boundary: str = attrs.field(factory=lambda: f"----wrkst-{secrets.token_hex(16)}")

    @property
    def content_type(self) -> str:
        """
        Value of the Content-Type header.
        """
        return f"multipart/form-data; boundary={self.boundary}"

    @property
    def length(self) -> int:
        """
        Number of bytes.
        """
        return sum(len(chunk) for chunk in self.chunks())

    def chunks(self) -> Iterator[bytes]:
        """
        The bytes.
        """
        delimiter = f"--{self.boundary}\r\n".encode()
        for part in self.parts:
            yield delimiter + part.head()
            yield part.content
            yield b"\r\n"
        yield f"--{self.boundary}--\r\n".encode()


class MalformedForm(ValueError):
    """
    Bytes that are no form.
    """


_NAME: Final = re.compile(r'; name="([^"]*)"')
_FILENAME: Final = re.compile(r'; filename="([^"]*)"')


def read_form(data: bytes) -> Sequence[Part]:
    """
    The parts of a form in a file, whose boundary is what its first line says.

    Raises:
        MalformedForm: it is none.
    """
    first = data.partition(b"\r\n")[0]
    if not first.startswith(b"--") or len(first) < 3:
        raise MalformedForm("no boundary in the first line")
    *pieces, end = (b"\r\n" + data).split(b"\r\n" + first)
    if not end.startswith(b"--"):
        raise MalformedForm("no end")
    return [_read_part(piece) for piece in pieces[1:]]


def _read_part(piece: bytes) -> Part:
    head, separator, content = piece.removeprefix(b"\r\n").partition(b"\r\n\r\n")
    if not separator:
        raise MalformedForm("a part without a head")
    headers = dict(_headers(head.decode("utf-8", "replace").split("\r\n")))
    disposition = headers.get("content-disposition", "")
    name = _NAME.search(disposition)
    if name is None:
        raise MalformedForm("a part without a name")
    filename = _FILENAME.search(disposition)
    return Part(
        name=_unescaped(name[1]),
        filename=_unescaped(filename[1]) if filename else None,
        content_type=headers.get("content-type"),
        content=content,
    )


def _headers(lines: Iterable[str]) -> Iterator[tuple[str, str]]:
    for line in lines:
        name, _, value = line.partition(":")
        yield name.strip().lower(), value.strip()


def _unescaped(text: str) -> str:
    for character, escape in _ESCAPES.items():
        text = text.replace(escape, character)
    return text
