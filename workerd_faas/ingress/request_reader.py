"""A client's bytes, taken apart into requests. Knows no transport."""

from typing import Final

from workerd_faas.ingress.bodies import Body, ChunkedBody, LengthBody
from workerd_faas.ingress.headers import Request
from workerd_faas.ingress.heads import RequestHeads
from workerd_faas.ingress.http1 import CHUNKED, Malformed, has_bare_line_end
from workerd_faas.ingress.limits import RelayLimits

_FIRST_BYTES: Final = frozenset(
    b"!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz\r"
)


class RequestReader:
    """
    Reads one request after the other: its head, then its body.

    Attributes:
        input: Has what was not taken at its end; empty if everything was.
        body: The body that is being read, None before it and as soon as it is complete.
        scanned: Bytes of the input in which the end of a head was not found.
        taken: Bytes of that body so far.
    """

    __slots__ = ("_at", "_heads", "_limits", "_most", "body", "input", "scanned", "taken")

    def __init__(self, heads: RequestHeads, limits: RelayLimits) -> None:
        self._heads = heads
        self._limits = limits
        self._most: int | None = None
        self._at = 0
        self.scanned = 0
        self.input = b""
        self.body: Body | None = None
        self.taken = 0

    def add(self, data: bytes) -> int:
        """
        More input. Returns how much there is now.
        """
        self.input = self.rest() + data
        return len(self.input)

    def rest(self) -> bytes:
        """
        What was not taken. It may be taken elsewhere, if the reader is not used any more.
        """
        if self._at:
            self.input, self._at = self.input[self._at :], 0
        return self.input

    def next_head(self) -> Request | None:
        """
        Take a head from the input, if there is a whole one.

        Raises:
            Malformed: there never will be.
        """
        data, at = self.input, self._at
        if not self.scanned:
            if data.startswith(b"\r\n", at):
                at += 2  # RFC 9112 section 2.2
            if len(data) - at <= 1 and data[at:] in (b"", b"\r"):
                self.input, self._at = data[at:], 0
                return None
            if data[at] not in _FIRST_BYTES:
                raise Malformed("This is not an HTTP/1.1 request.")
        end = data.find(b"\r\n\r\n", at + max(0, self.scanned - 3)) + 4
        if end == 3 or end - at > self._limits.head_bytes:
            self.input, self._at = data[at:], 0
            self._check_part(self.input)
            self.scanned = len(self.input)
            return None
        head, self.scanned = data[at:end], 0
        if end == len(data):
            self.input, self._at = b"", 0
        else:
            self._at = end
        return self._heads.read(head)

    def _check_part(self, data: bytes) -> None:
        limits = self._limits
        if (
            len(data) > limits.request_line_bytes
            and data.find(b"\r\n", 0, limits.request_line_bytes + 2) < 0
        ):
            raise Malformed("The request line is too long.", 414)
        if len(data) > limits.head_bytes:
            raise Malformed("The head is too long.", 431)
        if has_bare_line_end(data):
            raise Malformed("A line does not end in CRLF.")

    def begin_body(self, length: int, most: int | None) -> bytes:
        """
        The body of the request whose head was taken last begins.

        Args:
            length: Its length, or `CHUNKED`.
            most: Bytes that it may have.

        Returns:
            What there is of it, framed.

        Raises:
            Malformed: it is too large, or its framing is broken.
        """
        self.taken, self._most = 0, most
        if most is not None and length > most:
            raise _too_large()
        self.body = ChunkedBody() if length == CHUNKED else LengthBody(length)
        data, self.input = self.rest(), b""
        return self.feed_body(self.body, data)

    def feed_body(self, body: Body, data: bytes) -> bytes:
        """
        More of the body.

        Returns:
            What to pass on.

        Raises:
            Malformed: as `begin_body`.
        """
        out, rest = body.feed(data)
        self.taken += len(data) - len(rest)
        if self._most is not None and self.taken > self._most:
            raise _too_large()
        if body.done:
            self.body = None
            self.input = rest
        return out


def _too_large() -> Malformed:
    return Malformed("The request's body is larger than functions are sent here.", 413)
