"""
Message bodies on their way through: where they end, and nothing else.

A chunked body leaves in canonical framing: bytes that have it already pass untouched, chunk
extensions and trailers are left out (RFC 9112 section 7.1.1, RFC 9110 section 6.5.1 allow it), so
that nobody behind us needs to agree with us on how to read them.
"""

import re
from typing import Final, Protocol

from workerd_faas.ingress.http1 import Malformed, has_bare_line_end

_SIZE_LINE: Final = re.compile(
    rb"([0-9A-Fa-f]{1,15})(?:[ \t]*;[^\x00-\x08\x0a-\x1f\x7f]*)?\r\n", re.ASCII
)
_PLAIN_SIZE_LINE: Final = re.compile(rb"([0-9A-Fa-f]{1,15})\r\n")
_TRAILER: Final = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+:[^\x00-\x08\x0a-\x1f\x7f]*\r\n")

MAX_LINE: Final = 1024
"""Bytes of a chunk-size line with its extensions, or of a trailer field."""

MAX_OVERHEAD: Final = 16 * 1024
"""Bytes of extensions and trailers in one body."""


class Body(Protocol):
    """
    A body that is being relayed.

    Attributes:
        done: Its last byte has been fed.
        at_least: Bytes that are sure to come.
    """

    done: bool
    at_least: int

    def feed(self, data: bytes) -> tuple[bytes, bytes]:
        """
        Returns what to pass on, and what follows the end of the body.

        Raises:
            Malformed: the framing is broken.
        """


class LengthBody:
    """
    A body whose length was announced.
    """

    __slots__ = ("at_least", "done")

    def __init__(self, length: int) -> None:
        self.at_least = length
        self.done = length == 0

    def feed(self, data: bytes) -> tuple[bytes, bytes]:
        """
        See `Body`.
        """
        left = self.at_least - len(data)
        if left > 0:
            self.at_least = left
            return data, b""
        length, self.at_least, self.done = self.at_least, 0, True
        return (data, b"") if not left else (data[:length], data[length:])


class OpenBody:
    """
    A body that ends with its connection.
    """

    __slots__ = ("at_least", "done")

    def __init__(self) -> None:
        self.at_least = 0
        self.done = False

    def feed(self, data: bytes) -> tuple[bytes, bytes]:
        """
        See `Body`.
        """
        return data, b""


_SIZE, _DATA, _DATA_END, _TRAILERS = range(4)


class ChunkedBody:
    """
    A body in chunks (RFC 9112 section 7.1).

    Args:
        bare: Pass on the data without the chunks around it, for a client that speaks HTTP/1.0.
    """

    __slots__ = ("_bare", "_left", "_line", "_overhead", "_state", "at_least", "done")

    def __init__(self, *, bare: bool = False) -> None:
        self._bare = bare
        self._state = _SIZE
        self._left = 0
        self._line = b""
        self._overhead = 0
        self.at_least = 0
        self.done = False

    def feed(self, data: bytes) -> tuple[bytes, bytes]:
        """
        See `Body`.
        """
        out: list[bytes] = []
        clean = at = 0  # data[clean:at] can be passed on as it is
        size = len(data)
        while at < size:
            if self._state == _SIZE and not self._line and not self._bare:
                at = _after_plain_chunks(data, at)
                if at == size:
                    break
            if self._state == _DATA:
                step = min(self._left, size - at)
                at += step
                self._left -= step
                if not self._left:
                    self._state = _DATA_END
                    if self._bare:
                        out.append(data[clean:at])
                        clean = at
                continue
            end = data.find(b"\n", at) + 1
            if not end:
                self._hold(data[at:])
                out.append(data[clean:at])
                return b"".join(out), b""
            line, whole = data[at:end], not self._line
            if not whole:
                line, self._line = self._line + line, b""
            canonical = self._read(line)
            if not whole or canonical != line:
                out.append(data[clean:at])
                out.append(canonical)
                clean = end
            at = end
            if self.done:
                break
        if clean == 0 and at == size and not out:
            return data, b""
        out.append(data[clean:at])
        return b"".join(out), data[at:]

    def _hold(self, part: bytes) -> None:
        self._line += part
        if len(self._line) > MAX_LINE:
            raise Malformed("A line of the chunked body is too long.")
        if has_bare_line_end(self._line):
            raise Malformed("A line of the chunked body does not end in CRLF.")

    def _read(self, line: bytes) -> bytes:
        """
        Take one line; return what stands for it on the other side.
        """
        if self._state == _DATA_END:
            if line != b"\r\n":
                raise Malformed("A chunk is longer than its size says.")
            self._state = _SIZE
            return b"" if self._bare else line
        if len(line) > MAX_LINE:
            raise Malformed("A line of the chunked body is too long.")
        if self._state == _TRAILERS:
            return self._read_trailer(line)
        found = _SIZE_LINE.fullmatch(line)
        if found is None:
            raise Malformed("A chunk size is malformed.")
        digits = found[1]
        self._spend(len(line) - len(digits) - 2)
        self._left = int(digits, 16)
        if not self._left:
            self._state = _TRAILERS
            return b"" if self._bare else b"0\r\n"
        self._state = _DATA
        return b"" if self._bare else digits + b"\r\n"

    def _read_trailer(self, line: bytes) -> bytes:
        if line == b"\r\n":
            self.done = True
            return b"" if self._bare else line
        if _TRAILER.fullmatch(line) is None:
            raise Malformed("A trailer field is malformed.")
        self._spend(len(line))
        return b""

    def _spend(self, overhead: int) -> None:
        self._overhead += overhead
        if self._overhead > MAX_OVERHEAD:
            raise Malformed("The chunked body has too many extensions or trailers.")


def _after_plain_chunks(data: bytes, at: int) -> int:
    """
    Step over whole chunks that need no second look, as clients send them that send many.
    """
    match = _PLAIN_SIZE_LINE.match
    while (found := match(data, at)) is not None:
        end = found.end() + int(found[1], 16)
        if end == found.end() or data[end : end + 2] != b"\r\n":
            break
        at = end + 2
    return at
