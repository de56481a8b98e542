"""Settings beside versions, as uploads and `script-settings` bring them."""

import json
from collections.abc import Mapping
from typing import Any, Final

from workerd_faas.domain.errors import Kind, Problem
from workerd_faas.domain.unversioned import UnversionedChange

MAX_TAGS: Final = 100
MAX_TAG: Final = 1024
"""Characters of one."""

MAX_OBSERVABILITY: Final = 4096
"""Bytes of it as JSON."""


def read_unversioned(document: Mapping[str, Any]) -> UnversionedChange:
    """
    The keys `tags` and `observability` of a JSON object; what is null or not there stays.

    Raises:
        Problem: `INVALID_METADATA`, naming the key.
    """
    return UnversionedChange(
        tags=_tags(document.get("tags")), observability=_observability(document)
    )


def _tags(value: Any) -> tuple[str, ...] | None:
    if value is None:
        return None
    if (
        not isinstance(value, list)
        or len(value) > MAX_TAGS
        or not all(isinstance(tag, str) and 1 <= len(tag) <= MAX_TAG for tag in value)
    ):
        raise Problem(
            kind=Kind.INVALID_METADATA,
            message=f"'tags' takes an array of at most {MAX_TAGS} strings of 1 to {MAX_TAG} "
            "characters.",
        )
    return tuple(dict.fromkeys(value))


def _observability(document: Mapping[str, Any]) -> Mapping[str, Any] | None:
    value = document.get("observability")
    if value is None:
        return None
    if (
        not isinstance(value, dict)
        or not isinstance(value.get("enabled", False), bool)
        or len(json.dumps(value)) > MAX_OBSERVABILITY
    ):
        raise Problem(
            kind=Kind.INVALID_METADATA,
            message="'observability' takes an object such as {\"enabled\": true}, of at most "
            f"{MAX_OBSERVABILITY} bytes.",
        )
    return {"enabled": False, **value}
