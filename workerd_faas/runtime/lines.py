"""What a process writes, cut into lines of bounded length and rate. Pure."""

import attrs


@attrs.define
class LineSplitter:
    """
    Bytes in, whole lines out. What is longer than `limit` bytes is cut and the rest of it dropped.
    """

    limit: int = 4096
    _rest: bytes = b""
    _skipping: bool = False

    def feed(self, data: bytes) -> list[bytes]:
        """
        The lines that `data` completes, without their ends.
        """
        found = []
        *whole, rest = data.split(b"\n")
        for piece in whole:
            if self._skipping:
                self._skipping = False
            else:
                found.append((self._rest + piece)[: self.limit])
            self._rest = b""
        if not self._skipping:
            self._rest += rest
            if len(self._rest) > self.limit:
                found.append(self._rest[: self.limit])
                self._rest, self._skipping = b"", True
        return found

    def end(self) -> list[bytes]:
        """
        The last line, if it had no end.
        """
        rest, self._rest = self._rest, b""
        return [rest] if rest else []


@attrs.define
class Allowance:
    """
    At most `burst` at once and `per_second` in the long run; the rest is counted.
    """

    per_second: float
    burst: float
    _left: float = attrs.field(init=False)
    _at: float | None = None
    refused: int = 0

    @_left.default
    def _full(self) -> float:
        return self.burst

    def take(self, now: float) -> bool:
        """
        Whether one more is allowed at `now` (seconds on any clock that does not go back).
        """
        if self._at is not None:
            self._left = min(self.burst, self._left + (now - self._at) * self.per_second)
        self._at = now
        if self._left < 1:
            self.refused += 1
            return False
        self._left -= 1
        return True

    def take_refused(self) -> int:
        """
        How many were refused since the last call.
        """
        refused, self.refused = self.refused, 0
        return refused
