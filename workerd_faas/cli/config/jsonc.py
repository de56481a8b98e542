"""JSON with comments and trailing commas, as Wrangler's own parser takes it. Nothing more."""

import json
import re
from typing import Any, Final, NoReturn

_TOKEN: Final = re.compile(
    r"""
      (?P<string>"(?:[^"\\\n]|\\.)*")
    | (?P<comment>//[^\n]*|/\*.*?\*/)
    | (?P<open>/\*)
    | (?P<space>\s+)
    | (?P<other>.)
    """,
    re.VERBOSE | re.DOTALL,
)


class JsoncError(ValueError):
    """
    The text is no JSONC; the message has line and column, counted from 1.
    """


def parse_jsonc(text: str) -> Any:
    """
    The value of a JSONC text. Of a key that is there twice the last value counts.

    Raises:
        JsoncError: it is none.
    """
    try:
        return json.loads(_plain(text), parse_constant=_refuse)
    except json.JSONDecodeError as error:
        raise JsoncError(f"{error.msg} at line {error.lineno}, column {error.colno}") from None
    except RecursionError:
        raise JsoncError("nested too deeply") from None


def _refuse(constant: str) -> NoReturn:
    raise JsoncError(f"{constant} is not a JSON value")


def _plain(text: str) -> str:
    """
    The same text with blanks for comments and trailing commas: every position stays.
    """
    pieces: list[str] = []
    last = previous = ""  # the last two tokens that count
    comma_at = -1
    if text.startswith("\N{BYTE ORDER MARK}"):
        text = " " + text[1:]
    for match in _TOKEN.finditer(text):
        token = match[0]
        if match.lastgroup == "comment":
            pieces.append(re.sub(r"[^\n]", " ", token))
            continue
        if match.lastgroup == "open":
            line = text.count("\n", 0, match.start()) + 1
            raise JsoncError(f"a comment that begins at line {line} has no end")
        pieces.append(token)
        if match.lastgroup == "space":
            continue
        if token in ("}", "]") and last == "," and previous not in ("", ",", "{", "[", ":"):
            pieces[comma_at] = " "
        previous, last = last, token
        comma_at = len(pieces) - 1
    return "".join(pieces)
