"""
Module names: relative POSIX paths inside a bundle, with one spelling each.

They never become paths of files here; they are still held to what is safe as one, because tools
that unpack a bundle exist and because two spellings of one name would shadow each other.
"""

import re
from typing import Final

from workerd_faas.domain.errors import Kind, Problem

MAX_NAME_BYTES: Final = 512
RESERVED_PREFIX: Final = "__workerd_faas"
"""The module that we put in front of the user's main module has a name that begins so."""

_SCHEME: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")


def normalise_module_name(name: str) -> str:
    """
    The one spelling of a module's name: without the leading `./` that Wrangler gives some.

    Raises:
        Problem: `INVALID_MODULE`, saying what is wrong with which name.
    """
    path = name.removeprefix("./")
    wrong = _what_is_wrong(path)
    if wrong is not None:
        shown = name if len(name) <= 120 else name[:120] + "…"
        raise Problem(
            kind=Kind.INVALID_MODULE,
            message=f"The module name {shown!r} {wrong}: use a relative path such as lib/a.js.",
        )
    return path


def _what_is_wrong(path: str) -> str | None:
    if not path:
        return "is empty"
    if len(path.encode("utf-8", "surrogatepass")) > MAX_NAME_BYTES:
        return f"is longer than {MAX_NAME_BYTES} bytes"
    if any(ord(character) < 0x20 or 0x7F <= ord(character) <= 0x9F for character in path):
        return "has control characters"
    if any(0xD800 <= ord(character) <= 0xDFFF for character in path):
        return "is not valid Unicode"
    if "\\" in path:
        return "has a backslash"
    if path.startswith("/"):
        return "is an absolute path"
    if _SCHEME.match(path):
        return "begins like a URL"
    if path.startswith(RESERVED_PREFIX):
        return "is reserved for the platform"
    return _what_is_wrong_with_segments(path.split("/"))


def _what_is_wrong_with_segments(segments: list[str]) -> str | None:
    if "" in segments:
        return "has an empty path segment"
    if "." in segments or ".." in segments:
        return "has a '.' or '..' path segment"
    return None
