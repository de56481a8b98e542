"""What the two files of rules, `_headers` and `_redirects`, have in common."""

import re
from collections.abc import Iterator
from typing import Final

import attrs

from workerd_faas.wire.site.urls import SPACE

MAX_LINE: Final = 2000
"""UTF-16 units, as Cloudflare counts."""

SPLAT: Final = "*"
PLACEHOLDER: Final = re.compile(r":[A-Za-z]\w*", re.ASCII)


@attrs.frozen
class Ignored:
    """
    A line that has no effect, and why.

    Attributes:
        line: Its number, from 1.
    """

    line: int
    why: str


def lines_of(text: str, ignored: list[Ignored]) -> Iterator[tuple[int, str]]:
    """
    The lines that say something, each with its number; those that are too long are ignored.
    """
    for number, raw in enumerate(text.split("\n"), start=1):
        line = raw.strip(SPACE)
        if not line or line.startswith("#"):
            continue
        if len(line.encode("utf-16-le", "surrogatepass")) > 2 * MAX_LINE:
            ignored.append(Ignored(number, f"it is longer than {MAX_LINE} characters."))
            continue
        yield number, line
