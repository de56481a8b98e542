"""`.assetsignore`: files that are not uploaded, by the patterns of gitignore(5). Pure."""

import re
from collections.abc import Iterable
from typing import Final

import attrs

_ALWAYS: Final = ("/.assetsignore", "/_redirects", "/_headers")
"""They say how files are served, and are no files of the site themselves."""


@attrs.frozen
class _Pattern:
    expression: re.Pattern[str]
    negated: bool
    directories_only: bool

    def matches(self, path: str, is_directory: bool) -> bool:
        """
        Whether it is about this very path.
        """
        if self.directories_only and not is_directory:
            return False
        return self.expression.fullmatch(path) is not None


@attrs.frozen
class Ignore:
    """
    The patterns, in their order: the last one that matches decides.
    """

    patterns: tuple[_Pattern, ...]

    def ignores(self, path: str, *, is_directory: bool = False) -> bool:
        """
        Whether a path, relative and with slashes, is left out. Whoever walks a tree does not enter
        a directory that is: what is below it cannot be taken back in.
        """
        ignored = False
        for pattern in self.patterns:
            if pattern.matches(path, is_directory):
                ignored = not pattern.negated
        return ignored


def parse_ignore(text: str) -> Ignore:
    """
    The patterns of a file, after those that always hold.
    """
    lines: Iterable[str] = (*_ALWAYS, *text.splitlines())
    found = (_pattern(line) for line in lines)
    return Ignore(tuple(pattern for pattern in found if pattern is not None))


def _pattern(line: str) -> _Pattern | None:
    line = line.removesuffix("\r")
    if line.startswith("#"):
        return None
    while line.endswith(" ") and not line.endswith("\\ "):
        line = line[:-1]
    negated = line.startswith("!")
    line = line[1:] if negated else line
    directories_only = line.endswith("/")
    line = line.rstrip("/") if directories_only else line
    if not line:
        return None
    anchored = "/" in line
    expression = _expression(line.removeprefix("/"))
    if not anchored:
        expression = f"(?:.*/)?{expression}"
    try:
        return _Pattern(re.compile(expression, re.DOTALL), negated, directories_only)
    except re.error:
        return None


def _expression(glob: str) -> str:
    found, position = "", 0
    while position < len(glob):
        rest = glob[position:]
        if rest == "**":
            found, position = found + ".*", len(glob)
        elif rest.startswith("**/") and (position == 0 or glob[position - 1] == "/"):
            found, position = found + "(?:.*/)?", position + 3
        elif rest[0] == "*":
            found, position = found + "[^/]*", position + 1
        elif rest[0] == "?":
            found, position = found + "[^/]", position + 1
        elif rest[0] == "[" and "]" in rest[2:]:
            end = rest.index("]", 2)
            inner = rest[1:end].replace("\\", "\\\\")
            inner = "^" + inner[1:] if inner[0] == "!" else inner
            found, position = f"{found}(?!/)[{inner}]", position + end + 1
        elif rest[0] == "\\" and len(rest) > 1:
            found, position = found + re.escape(rest[1]), position + 2
        else:
            found, position = found + re.escape(rest[0]), position + 1
    return found
