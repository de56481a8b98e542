"""
Paths that need care before they are routed.

A KV key is percent-encoded once, slashes too, and may begin with or consist of slashes; the router
works on decoded segments. So the key is cut off first and handed to the handler by itself.
"""

import re
from typing import Final
from urllib.parse import unquote_to_bytes

from twisted.web.iweb import IRequest

from workerd_faas.domain.errors import Kind, Problem
from workerd_faas.domain.limits import AssetLimits

_KEYED: Final = re.compile(
    rb"(/accounts/[^/]+/storage/kv/namespaces/[^/]+/(?:values|metadata))/(.+)", re.DOTALL
)

_LARGE: Final = (
    (
        re.compile(rb"(?:/client/v4)?/accounts/[^/]+/storage/kv/namespaces/[^/]+/values/.+"),
        26 << 20,
    ),
    (re.compile(rb"(?:/client/v4)?/accounts/[^/]+/storage/kv/namespaces/[^/]+/bulk.*"), 100 << 20),
    (re.compile(rb"(?:/client/v4)?/accounts/[^/]+/d1/database/[^/]+/query"), 12 << 20),
    (re.compile(rb"(?:/client/v4)?/accounts/[^/]+/d1/database/[^/]+/raw"), 12 << 20),
    (re.compile(rb"(?:/client/v4)?/d1-transfers/[^/]+"), 512 << 20),
    (
        re.compile(rb"(?:/client/v4)?/accounts/[^/]+/workers/scripts/[^/]+/assets-upload-session"),
        AssetLimits().manifest,
    ),
    (
        re.compile(rb"(?:/client/v4)?/accounts/[^/]+/workers/assets/upload(?:/[^/]*)?"),
        AssetLimits().body,
    ),
)
"""Bytes of a body where more than usual is right."""


def split_key(path: bytes) -> tuple[bytes, bytes | None]:
    """
    The path to route, and the key that stood at its end, decoded.
    """
    found = _KEYED.fullmatch(path)
    return (path, None) if found is None else (found[1], unquote_to_bytes(found[2]))


def key_of(request: IRequest) -> str:
    """
    The key that `split_key` cut off this request's path.

    Raises:
        Problem: `NOT_FOUND` when there was none.
    """
    key: bytes | None = getattr(request, "key", None)
    if key is None:
        raise Problem(kind=Kind.NOT_FOUND, message="There is no such path in this API.")
    return key.decode("utf-8")


def body_limit(uri: bytes) -> int | None:
    """
    Bytes of a body that this path takes; None: as many as others.
    """
    path = uri.partition(b"?")[0]
    return next((limit for pattern, limit in _LARGE if pattern.fullmatch(path)), None)
