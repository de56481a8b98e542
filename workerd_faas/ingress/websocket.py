"""Where a stream of WebSocket frames can be interrupted (RFC 6455 section 5.2). Pure."""

from typing import Final

RESTART: Final = 1012
"""Service restart (IANA's registry of WebSocket close codes): the client should come back."""


def close_frame(code: int, mask: bytes = b"") -> bytes:
    """
    A close frame. It may stand between any two frames, also of one message, and is the same with
    and without compression (RFC 6455 section 5.4, RFC 7692 section 6.1).

    Args:
        mask: Four random bytes, for a server; none for a client.
    """
    payload = code.to_bytes(2, "big")
    if not mask:
        return b"\x88\x02" + payload
    return b"\x88\x82" + mask + bytes((payload[0] ^ mask[0], payload[1] ^ mask[1]))


_MOST_AT_ONCE: Final = 1000
"""Frames in one piece of data that are followed."""


class Frames:
    """
    Follows one direction of a WebSocket, unless that is made too costly by a flood of tiny frames.

    Attributes:
        between: The last byte fed was the last byte of a frame, or none was fed.
        closed: A close frame has been fed.
        lost: The count was given up; `between` stays false.
    """

    __slots__ = ("_head", "_left", "between", "closed", "lost")

    def __init__(self) -> None:
        self._head = b""
        self._left = 0
        self.between = True
        self.closed = False
        self.lost = False

    def feed(self, data: bytes) -> None:
        """
        Follow these bytes.
        """
        if self.lost:
            return
        at, size, count = 0, len(data), 0
        while at < size:
            if self._left:
                step = min(self._left, size - at)
                self._left -= step
                at += step
                continue
            # A head has 2 to 14 bytes; it may arrive in pieces.
            held = len(self._head)
            head = self._head + data[at : at + 14 - held]
            length = _head_length(head)
            if length is None or len(head) < length:
                self._head = head
                break
            count += 1
            if count > _MOST_AT_ONCE:
                self.lost, self.between = True, False
                return
            self._head = b""
            self._left = _payload_length(head)
            self.closed = self.closed or head[0] & 0x0F == 0x8
            at += length - held
        self.between = not self._left and not self._head


def _head_length(head: bytes) -> int | None:
    if len(head) < 2:
        return None
    extended = {126: 2, 127: 8}.get(head[1] & 0x7F, 0)
    return 2 + extended + (4 if head[1] & 0x80 else 0)


def _payload_length(head: bytes) -> int:
    short = head[1] & 0x7F
    if short == 126:
        return int.from_bytes(head[2:4], "big")
    if short == 127:
        return int.from_bytes(head[2:10], "big")
    return short
