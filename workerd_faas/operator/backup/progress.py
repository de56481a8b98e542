"""Words on the terminal for whoever waits for more than a second."""

import sys
import time
from typing import Final, TextIO

import attrs

_FIRST: Final = 1.0
_TERMINAL: Final = 0.2
_FILE: Final = 10.0


def human(size: int) -> str:
    """
    A number of bytes for people.
    """
    amount, unit = float(size), "bytes"
    for larger in ("KiB", "MiB", "GiB", "TiB"):
        if amount < 1024:
            break
        amount, unit = amount / 1024, larger
    return f"{size} bytes" if unit == "bytes" else f"{amount:.1f} {unit}"


@attrs.define
class Progress:
    """
    Says what is done: on a terminal in one line, elsewhere in a line every ten seconds.

    Attributes:
        what: What is being done now.
    """

    verb: str
    out: TextIO = attrs.field(factory=lambda: sys.stderr)
    what: str = ""
    _bytes: int = 0
    _next: float = attrs.field(factory=lambda: time.monotonic() + _FIRST)
    _shown: bool = False

    def step(self, what: str) -> None:
        """
        Begin with something else.
        """
        self.what = what
        self.wrote(0)

    def wrote(self, count: int) -> None:
        """
        So many bytes more are done.
        """
        self._bytes += count
        now = time.monotonic()
        if now < self._next:
            return
        line = f"{self.verb}: {human(self._bytes)}, {self.what}"
        if self.out.isatty():
            self.out.write(f"\r\033[K{line[:79]}")
            self._next = now + _TERMINAL
            self._shown = True
        else:
            self.out.write(f"{line}\n")
            self._next = now + _FILE
        self.out.flush()

    def end(self) -> None:
        """
        Clear the line.
        """
        if self._shown:
            self.out.write("\r\033[K")
            self.out.flush()
