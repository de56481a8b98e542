"""
The `.env` format: what shells, Docker Compose and systemd agree on, read strictly.

    # a comment
    NAME=value                      # a comment needs a space before it
    export NAME = value with spaces
    NAME='taken as it is, # and all'
    NAME="with \\"escapes\\" and
    line ends"

Nothing is expanded: a `$` is a dollar sign. A backslash means something in double quotes only
(`\\\\`, `\\"`, `\\$`, `\\n`, `\\t`; before anything else it stands for itself), so that endpoint
strings can be written as they are.
"""

import re
from typing import Final

import attrs

_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_BEGINNING: Final = re.compile(r"[ \t]*(?:export[ \t]+)?([^\s=#'\"]+)[ \t]*=")
_QUOTE: Final = re.compile(r"[ \t]*(['\"])")
_SINGLE: Final = re.compile(r"'([^']*)'")
_DOUBLE: Final = re.compile(r'"((?:[^"\\]|\\.)*)"', re.DOTALL)
_REST: Final = re.compile(r"[ \t]*(?:#[^\n]*)?(?=\n|\Z)")
_COMMENT: Final = re.compile(r"[ \t]#.*")
_ESCAPE: Final = re.compile(r'\\([\\"$nt])')
_ESCAPED: Final = {"n": "\n", "t": "\t"}


@attrs.frozen
class Mistake:
    """
    What is wrong in a line (counted from 1). Never quotes the value: it may be a secret.
    """

    line: int
    message: str


@attrs.frozen
class Parsed:
    """
    The names and values of a file, and what could not be read.
    """

    values: dict[str, str]
    mistakes: tuple[Mistake, ...]


def parse(content: str) -> Parsed:
    """
    Read a whole file. Never raises; a line that is wrong is a mistake and skipped.
    """
    content = content.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
    values: dict[str, str] = {}
    mistakes: list[Mistake] = []
    position = 0
    while position < len(content):
        line = content.count("\n", 0, position) + 1
        end = content.find("\n", position)
        end = len(content) if end < 0 else end
        stripped = content[position:end].strip()
        if not stripped or stripped.startswith("#"):
            position = end + 1
            continue
        try:
            name, value, position = _assignment(content, position, end)
            if name in values:
                raise ValueError(f"{name} is given a second time: keep one of the two")
            values[name] = value
        except ValueError as error:
            mistakes.append(Mistake(line, str(error)))
            position = max(position, end + 1)
    return Parsed(values, tuple(mistakes))


def _assignment(content: str, start: int, end: int) -> tuple[str, str, int]:
    """
    The name, the value and the position after the line end of the assignment at `start`.
    """
    beginning = _BEGINNING.match(content, start, end)
    if beginning is None:
        raise ValueError("is no assignment: write NAME=value")
    name, position = beginning[1], beginning.end()
    if not _NAME.fullmatch(name):
        raise ValueError("begins with no name: use letters, digits and '_' before the '='")
    opening = _QUOTE.match(content, position, end)
    if opening is None:
        return name, _COMMENT.sub("", content[position:end], count=1).strip(), end + 1
    quote = opening[1]
    quoted = (_SINGLE if quote == "'" else _DOUBLE).match(content, opening.start(1))
    if quoted is None:
        raise ValueError(f"{name} has an opening {quote} that is never closed")
    rest = _REST.match(content, quoted.end())
    if rest is None:
        raise ValueError(f"{name} has more text behind its closing {quote}: quote all of it")
    value = quoted[1]
    if quote == '"':
        value = _ESCAPE.sub(lambda found: _ESCAPED.get(found[1], found[1]), value)
    return name, value, rest.end() + 1
