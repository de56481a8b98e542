"""Content types of upload parts and what they make a module (Cloudflare's upload format)."""

from collections.abc import Mapping
from typing import Final

from workerd_faas.domain.model import ModuleKind

BY_CONTENT_TYPE: Final[Mapping[str, ModuleKind]] = {
    "application/javascript+module": ModuleKind.ESM,
    "application/javascript": ModuleKind.COMMONJS,
    "application/wasm": ModuleKind.WASM,
    "text/plain": ModuleKind.TEXT,
    "application/octet-stream": ModuleKind.DATA,
    "application/json": ModuleKind.JSON,
    "text/x-python": ModuleKind.PYTHON,
    "text/x-python-requirement": ModuleKind.PYTHON_REQUIREMENT,
    "application/source-map": ModuleKind.SOURCE_MAP,
}

BY_EXTENSION: Final[Mapping[str, ModuleKind]] = {
    "js": ModuleKind.ESM,
    "mjs": ModuleKind.ESM,
    "cjs": ModuleKind.COMMONJS,
    "wasm": ModuleKind.WASM,
    "txt": ModuleKind.TEXT,
    "html": ModuleKind.TEXT,
    "sql": ModuleKind.TEXT,
    "bin": ModuleKind.DATA,
    "json": ModuleKind.JSON,
    "py": ModuleKind.PYTHON,
    "map": ModuleKind.SOURCE_MAP,
}

CONTENT_TYPE_OF: Final[Mapping[ModuleKind, str]] = {
    kind: content_type for content_type, kind in BY_CONTENT_TYPE.items()
}


def kind_of(name: str, content_type: str | None) -> ModuleKind | None:
    """
    What a part is: by its content type, or by the extension of its name where it has none.
    None when neither says.
    """
    if content_type is not None:
        return BY_CONTENT_TYPE.get(content_type)
    _, _, extension = name.rpartition(".")
    return BY_EXTENSION.get(extension.lower())
