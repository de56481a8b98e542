"""The manifest of an upload session: which paths a site has, each with the hash of its file."""

import json
import re
from collections.abc import Mapping
from typing import Any, Final

import attrs

from workerd_faas.domain.errors import Kind, Problem
from workerd_faas.domain.limits import MIB, AssetLimits

MAX_PATH_BYTES: Final = 1024

HASH: Final = re.compile(r"[0-9a-f]{32}")
"""What a client calls a file's content and type; opaque, and good within one account only."""

_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")


@attrs.frozen
class Entry:
    """
    One path. `size` is in bytes.
    """

    hash: str
    size: int


@attrs.frozen
class Manifest:
    """
    All paths of a site.
    """

    entries: Mapping[str, Entry]

    @property
    def sizes(self) -> Mapping[str, int]:
        """
        The size of each file, by its hash.
        """
        return {entry.hash: entry.size for entry in self.entries.values()}

    def encode(self) -> bytes:
        """
        As text, the same for the same manifest.
        """
        listed = {path: [entry.hash, entry.size] for path, entry in sorted(self.entries.items())}
        return json.dumps(listed, separators=(",", ":"), ensure_ascii=False).encode()


def decode_manifest(data: bytes) -> Manifest:
    """
    The inverse of `Manifest.encode`.
    """
    return Manifest({path: Entry(*entry) for path, entry in json.loads(data).items()})


def parse_manifest(document: Mapping[str, Any], limits: AssetLimits) -> Manifest:
    """
    Read the body of a request that begins a session.

    Raises:
        Problem: `ASSETS_INVALID` or `ASSETS_TOO_LARGE`, naming the path.
    """
    listed = document.get("manifest")
    if not isinstance(listed, dict):
        raise _invalid('The body is {"manifest": {"/path": {"hash": "32 hex digits", "size": 1}}}.')
    if len(listed) > limits.files:
        raise _too_large(f"The site has {len(listed)} files; {limits.files} are allowed.")
    entries = {path: _entry(path, value, limits) for path, value in listed.items()}
    manifest = Manifest(entries)
    sizes = manifest.sizes
    if any(sizes[entry.hash] != entry.size for entry in entries.values()):
        raise _invalid("The manifest gives one hash two sizes.")
    total = sum(sizes.values())
    if total > limits.total:
        raise _too_large(f"The site's files take {total} bytes; {limits.total} are allowed.")
    return manifest


def _entry(path: str, value: Any, limits: AssetLimits) -> Entry:
    if not path.startswith("/") or _CONTROL.search(path):
        raise _invalid(f"The path {path[:80]!r} must begin with '/' and have no control characters")
    if len(path.encode()) > MAX_PATH_BYTES:
        raise _invalid(f"The path {path[:80]!r}… is longer than {MAX_PATH_BYTES} bytes")
    digest, size = (value.get("hash"), value.get("size")) if isinstance(value, dict) else (0, 0)
    if not isinstance(digest, str) or not HASH.fullmatch(digest):
        raise _invalid(f"The path {path[:80]!r} needs 'hash', 32 lower-case hex digits")
    if not isinstance(size, int) or isinstance(size, bool) or size < 0:
        raise _invalid(f"The path {path[:80]!r} needs 'size', a number of bytes")
    if size > limits.file:
        raise _too_large(
            f"The file {path[:200]!r} has {size} bytes; {limits.file // MIB} MiB are allowed."
        )
    return Entry(digest, size)


def _invalid(message: str) -> Problem:
    return Problem(kind=Kind.ASSETS_INVALID, message=message)


def _too_large(message: str) -> Problem:
    return Problem(kind=Kind.ASSETS_TOO_LARGE, message=message)
