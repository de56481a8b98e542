"""`base_path`: the path below which a site is served."""

import re
from typing import Any, Final

ROOT: Final = "/"
MAX_LENGTH: Final = 1000

_URL: Final = re.compile(r"[a-zA-Z][a-zA-Z\d+.-]*:|//", re.ASCII)
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")


class BadBasePath(ValueError):
    """
    It cannot be used; the message says why.
    """


def normalised_base_path(value: Any) -> str:
    """
    With a slash at both ends and without `.` and `..`.

    Raises:
        BadBasePath: it is not a plain path.
    """
    if not isinstance(value, str):
        raise BadBasePath("must be a string")
    wrong = None
    if not 1 <= len(value) <= MAX_LENGTH:
        wrong = f"must have 1 to {MAX_LENGTH} characters"
    elif _URL.match(value):
        wrong = "must be a path, not a URL"
    elif "\\" in value:
        wrong = "must not contain backslashes"
    elif _CONTROL.search(value):
        wrong = "must not contain control characters"
    elif "?" in value or "#" in value:
        wrong = "must not contain a query or fragment"
    elif "%" in value:
        wrong = "must not contain percent-encoded characters"
    if wrong is not None:
        raise BadBasePath(wrong)
    segments: list[str] = []
    for segment in value.split("/"):
        if segment == "..":
            del segments[-1:]
        elif segment not in {"", "."}:
            segments.append(segment)
    return f"/{'/'.join(segments)}/" if segments else ROOT
