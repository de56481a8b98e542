"""JSON from outside: bounded in size and depth, and only what can be written out again."""

import json
import math
from typing import Any, Final, NoReturn

MAX_DEPTH: Final = 64
MAX_VALUES: Final = 20_000
"""Where nobody says otherwise: who reads on the reactor's thread must not keep others waiting."""


class RefusedJson(ValueError):
    """
    The text is not JSON that we take; the message says why.
    """


def _refuse_constant(name: str) -> NoReturn:
    raise RefusedJson(f"{name} is not JSON (RFC 8259)")


def _refuse_repeated(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise RefusedJson(f"the key {name[:80]!r} stands there twice")
        found[name] = value
    return found


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise RefusedJson("a number is too large")
    return value


def parse_json(
    data: bytes, *, max_bytes: int, max_depth: int = MAX_DEPTH, max_values: int = MAX_VALUES
) -> Any:
    """
    Parse one JSON text in UTF-8 (RFC 8259).

    Args:
        data: The text.
        max_bytes: How long it may be.
        max_depth: How deep arrays and objects may nest.
        max_values: How many arrays, objects and members of them there may be: reading a MiB of
            brackets takes as long as reading a hundred of text.

    Raises:
        RefusedJson: too long, too deep, too many, not JSON, a key twice in one object, a number
            that is no finite float, or a string that is not Unicode (a lone surrogate): nobody
            could store these or send them on.
    """
    if len(data) > max_bytes:
        raise RefusedJson(f"longer than {max_bytes} bytes")
    _check_count(data, max_values)
    try:
        value = json.loads(
            data.decode("utf-8"),
            parse_constant=_refuse_constant,
            parse_float=_finite,
            object_pairs_hook=_refuse_repeated,
        )
    except RefusedJson:
        raise
    except RecursionError:
        raise RefusedJson(f"nested more than {max_depth} levels deep") from None
    except UnicodeDecodeError as error:
        raise RefusedJson(f"not UTF-8 at byte {error.start}") from None
    except json.JSONDecodeError as error:
        raise RefusedJson(f"{error.msg} at line {error.lineno} column {error.colno}") from None
    except ValueError as error:  # an integer with too many digits
        raise RefusedJson(str(error)) from None
    _check(value, max_depth)
    return value


def _check_count(data: bytes, most: int) -> None:
    """
    Count what opens and separates values outside strings, without reading the values.
    """
    if b"\\" in data:
        data = data.replace(b"\\\\", b"").replace(b'\\"', b"")
    # A member is at most two strings, of two quotes each.
    if data.count(b'"') <= 4 * (most + 1):
        outside = b"".join(data.split(b'"')[::2])
        if sum(outside.count(mark) for mark in (b",", b"[", b"{")) <= most:
            return
    raise RefusedJson(f"more than {most} values")


def _check(value: Any, max_depth: int) -> None:
    level = [value]
    for _ in range(max_depth + 1):
        if not level:
            return
        following: list[Any] = []
        for each in level:
            if isinstance(each, dict):
                for key in each:
                    _check_text(key)
                following.extend(each.values())
            elif isinstance(each, list):
                following.extend(each)
            elif isinstance(each, str):
                _check_text(each)
        level = following
    raise RefusedJson(f"nested more than {max_depth} levels deep")


def _check_text(text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise RefusedJson("a string has a lone surrogate, which is not Unicode") from None
