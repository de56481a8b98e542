"""
Paths and targets in the rules of a site, normalised as Cloudflare does: by the URL standard's
rules for a path, so that they compare with the paths of requests as those arrive.
"""

import re
from typing import Final

SPACE: Final = (
    "\t\n\v\f\r \u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a"
    "\u2028\u2029\u202f\u205f\u3000\ufeff"
)
"""White space as JavaScript has it, which is what the rules are specified by."""

NO_LINE_END: Final = r"[^\n\r\u2028\u2029]"
"""What a dot stands for in JavaScript's regular expressions."""

_ABSOLUTE: Final = re.compile(rf"https://+([^/]+)/?({NO_LINE_END}*)")
_PORT: Final = re.compile(r".*:\d+$", re.ASCII)
_DOT: Final = frozenset({".", "%2e"})
_DOUBLE_DOT: Final = frozenset({"..", ".%2e", "%2e.", "%2e%2e"})

_CONTROLS: Final = {code: f"%{code:02X}" for code in (*range(0x20), 0x7F)}


def _percent_encoding(characters: str) -> dict[int, str]:
    return _CONTROLS | {ord(character): f"%{ord(character):02X}" for character in characters}


_IN_PATH: Final = _percent_encoding(' "#<>?^`{}')
_IN_QUERY: Final = _percent_encoding(' "#<>')
_IN_FRAGMENT: Final = _percent_encoding(' "<>`')


class BadRule(ValueError):
    """
    A rule that cannot be used; the message says why.
    """


def host_of(target: str) -> str | None:
    """
    The host of an absolute target, None for a path.
    """
    match = _ABSOLUTE.match(target)
    return match[1] if match else None


def normalised(token: str, *, relative_only: bool, ports: bool, suffix: bool) -> str:
    """
    A path, or `https://<host><path>`, in its normal form.

    Args:
        relative_only: Whether only a path will do; then its first slash may be missing.
        ports: Whether the host may have a port.
        suffix: Whether query and fragment are kept; else they are dropped.

    Raises:
        BadRule: it is neither.
    """
    match = _ABSOLUTE.match(token)
    if match:
        if relative_only:
            raise BadRule(f"Only relative URLs are allowed. Skipping absolute URL {token}.")
        if not ports and _PORT.fullmatch(match[1]):
            raise BadRule(f"Specifying ports is not supported. Skipping absolute URL {token}.")
        return f"https://{match[1]}{_pathname(match[2], suffix)}"
    if not token.startswith("/") and relative_only:
        token = f"/{token}"
    if not token.startswith("/"):
        raise BadRule(
            "URLs should either be relative (e.g. begin with a forward-slash), or use HTTPS "
            '(e.g. begin with "https://").'
        )
    return _pathname(token, suffix)


def _pathname(path: str, suffix: bool) -> str:
    """
    The URL standard's path state for a URL without a special scheme.
    """
    path = path if path.startswith("/") else f"/{path}"
    path = path.rstrip("".join(map(chr, range(0x21)))).translate({9: None, 10: None, 13: None})
    before, hash_mark, fragment = path.partition("#")
    before, question_mark, query = before.partition("?")
    segments: list[str] = []
    *inner, last = before[1:].split("/")
    for segment in inner:
        if segment.lower() in _DOUBLE_DOT:
            del segments[-1:]
        elif segment.lower() not in _DOT:
            segments.append(segment)
    if last.lower() in _DOUBLE_DOT:
        del segments[-1:]
    segments.append("" if last.lower() in _DOT | _DOUBLE_DOT else last)
    found = "/" + "/".join(_encoded(segment, _IN_PATH) for segment in segments)
    if suffix and query:
        found += question_mark + _encoded(query, _IN_QUERY)
    if suffix and fragment:
        found += hash_mark + _encoded(fragment, _IN_FRAGMENT)
    return found


def _encoded(text: str, table: dict[int, str]) -> str:
    return "".join(
        character
        if character.isascii()
        else "".join(f"%{byte:02X}" for byte in character.encode("utf-8", "replace"))
        for character in text.translate(table)
    )
