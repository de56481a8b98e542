"""Data points of `analytics_engine` bindings, with Cloudflare's bounds."""

import math
import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

import attrs

DATASET: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,99}")

MAX_VALUES: Final = 20
MAX_BLOB_BYTES: Final = 16 * 1024
MAX_INDEX_BYTES: Final = 96


@attrs.frozen(kw_only=True)
class DataPoint:
    """
    One call of `writeDataPoint`. `index` is what Cloudflare samples by; here it is only kept.
    """

    account_id: str
    dataset: str
    function: str
    at: datetime
    index: str
    blobs: tuple[str | None, ...]
    doubles: tuple[float, ...]


def read_values(
    sent: Mapping[str, Any],
) -> tuple[str, tuple[str | None, ...], tuple[float, ...]]:
    """
    Index, blobs and doubles of a point that comes from a cell, which is not to be trusted.

    Raises:
        ValueError: it is none, or beyond the bounds.
    """
    index, blobs, doubles = sent.get("index"), sent.get("blobs"), sent.get("doubles")
    if not isinstance(index, str) or len(_octets(index)) > MAX_INDEX_BYTES:
        raise ValueError("index")
    if (
        not isinstance(blobs, list)
        or len(blobs) > MAX_VALUES
        or not all(blob is None or isinstance(blob, str) for blob in blobs)
        or sum(len(_octets(blob or "")) for blob in blobs) > MAX_BLOB_BYTES
    ):
        raise ValueError("blobs")
    if (
        not isinstance(doubles, list)
        or len(doubles) > MAX_VALUES
        or not all(isinstance(d, int | float) and not isinstance(d, bool) for d in doubles)
    ):
        raise ValueError("doubles")
    numbers = tuple(float(double) for double in doubles)
    if not all(math.isfinite(number) for number in numbers):
        raise ValueError("doubles")
    return index, tuple(blobs), numbers


def _octets(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")
