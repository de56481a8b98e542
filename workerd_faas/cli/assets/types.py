"""Content types of files, by their extension: the same on every machine."""

import mimetypes
from pathlib import PurePosixPath
from typing import Final

_TYPES: Final = {
    ".avif": "image/avif",
    ".bmp": "image/bmp",
    ".gz": "application/gzip",
    ".ico": "image/vnd.microsoft.icon",
    ".js": "text/javascript",
    ".json": "application/json",
    ".jsonld": "application/ld+json",
    ".m4a": "audio/mp4",
    ".map": "application/json",
    ".md": "text/markdown",
    ".mjs": "text/javascript",
    ".mp4": "video/mp4",
    ".ogg": "audio/ogg",
    ".opus": "audio/ogg",
    ".otf": "font/otf",
    ".rss": "application/rss+xml",
    ".svg": "image/svg+xml",
    ".toml": "application/toml",
    ".ttf": "font/ttf",
    ".wasm": "application/wasm",
    ".webm": "video/webm",
    ".webmanifest": "application/manifest+json",
    ".webp": "image/webp",
    ".woff": "font/woff",
    ".woff2": "font/woff2",
    ".xml": "text/xml",
    ".yaml": "text/yaml",
    ".yml": "text/yaml",
    ".zip": "application/zip",
}
"""What Python's table lacks, or has otherwise in one release than in the next."""

_STANDARD: Final = mimetypes.MimeTypes(filenames=())

UNKNOWN: Final = "application/null"
"""How the API is told that there is none."""


def content_type_of(path: str) -> str:
    """
    The type to serve a file with; text is taken for UTF-8.
    """
    suffix = PurePosixPath(path).suffix.lower()
    found = _TYPES.get(suffix) or _STANDARD.types_map[True].get(suffix)
    if found is None:
        return UNKNOWN
    return f"{found}; charset=utf-8" if found.startswith("text/") else found
