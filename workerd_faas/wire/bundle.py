"""
The bundle container: a version's modules as one immutable sequence of bytes.

Layout: `WFB1`, a 4-byte big-endian length, that many bytes of JSON, then the contents of the
modules one after the other. The JSON is `{"main": name, "modules": [{"name", "kind", "size"}]}`
in the order of the upload. The same upload gives the same bytes and so the same SHA-256.

A cell is sent the *load document*: the same layout with the magic `WFL1`, whose JSON is
`{"main", "modules", "compatibility_date", "compatibility_flags", "env", "bindings", "function",
"account", "version", "site", "tail_consumers"}`, the last two only if there are any (`site`:
`wire.site.document`).
`runtime/js/document.js` has the decoder of the second form.
"""

import json
import struct
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final

import attrs

from workerd_faas.domain.model import (
    Binding,
    Code,
    Module,
    ModuleKind,
    Version,
    plain_values,
    timestamp,
)

BUNDLE_MAGIC: Final = b"WFB1"
LOAD_MAGIC: Final = b"WFL1"
_LENGTH: Final = struct.Struct(">4sI")


class MalformedBundle(ValueError):
    """
    Bytes that are not a bundle.
    """


@attrs.frozen
class Bundle:
    """
    A decoded bundle.
    """

    main_module: str
    modules: tuple[Module, ...]


def _pack(
    magic: bytes,
    document: dict[str, Any],
    contents: Iterable[bytes],
    more: Mapping[str, bytes] = MappingProxyType({}),
) -> bytes:
    """
    Args:
        more: Further keys of the document, whose values are JSON already.
    """
    header = json.dumps(document, separators=(",", ":"), ensure_ascii=False).encode()
    for key, value in more.items():
        header = b'%s,"%s":%s}' % (header[:-1], key.encode(), value)
    return b"".join([_LENGTH.pack(magic, len(header)), header, *contents])


def _listing(modules: Iterable[Module]) -> list[dict[str, Any]]:
    return [{"name": m.name, "kind": m.kind.value, "size": len(m.content)} for m in modules]


def encode_bundle(main_module: str, modules: Iterable[Module]) -> bytes:
    """
    The bytes to store.
    """
    modules = tuple(modules)
    document = {"main": main_module, "modules": _listing(modules)}
    return _pack(BUNDLE_MAGIC, document, (m.content for m in modules))


def decode_bundle(data: bytes) -> Bundle:
    """
    The inverse of `encode_bundle`.

    Raises:
        MalformedBundle: the bytes are something else, cut short or too long.
    """
    document, modules = _unpack(BUNDLE_MAGIC, data)
    try:
        return Bundle(document["main"], modules)
    except KeyError as error:
        raise MalformedBundle(str(error)) from error


def decode_load_document(data: bytes) -> tuple[dict[str, Any], tuple[Module, ...]]:
    """
    The JSON and the modules of a load document.

    Raises:
        MalformedBundle: the bytes are something else, cut short or too long.
    """
    return _unpack(LOAD_MAGIC, data)


def _unpack(expected: bytes, data: bytes) -> tuple[dict[str, Any], tuple[Module, ...]]:
    try:
        magic, length = _LENGTH.unpack_from(data)
        document = json.loads(data[_LENGTH.size : _LENGTH.size + length])
        offset = _LENGTH.size + length
        modules = []
        for entry in document["modules"]:
            end = offset + entry["size"]
            modules.append(
                Module(
                    name=entry["name"],
                    kind=ModuleKind(entry["kind"]),
                    content=data[offset:end],
                )
            )
            offset = end
    except (struct.error, ValueError, KeyError, TypeError) as error:
        raise MalformedBundle(str(error)) from error
    if magic != expected or offset != len(data):
        raise MalformedBundle("wrong magic number or length")
    return document, tuple(modules)


def load_document(
    version: Version,
    bundle: bytes,
    site: bytes | None = None,
    tail_consumers: Sequence[str] = (),
) -> bytes:
    """
    What a cell is sent for a stored version; its modules and its site document are passed on as
    they are stored.
    """
    _, length = _LENGTH.unpack_from(bundle)
    stored = json.loads(bundle[_LENGTH.size : _LENGTH.size + length])
    document = {
        "main": version.main_module,
        "modules": stored["modules"],
        "compatibility_date": version.compatibility_date,
        "compatibility_flags": list(version.compatibility_flags),
        **_environment(version.bindings),
        "function": version.function,
        "account": version.account_id,
        "version": {
            "id": version.id,
            "tag": version.tag or "",
            "timestamp": timestamp(version.created_at),
        },
    }
    if tail_consumers:
        document["tail_consumers"] = list(tail_consumers)
    modules = bundle[_LENGTH.size + length :]
    return _pack(LOAD_MAGIC, document, [modules], {} if site is None else {"site": site})


def load_document_for_check(code: Code, function: str) -> bytes:
    """
    What the check cell is sent for an upload that is not stored yet.
    """
    document = {
        "main": code.main_module,
        "modules": _listing(code.modules),
        "compatibility_date": code.compatibility_date,
        "compatibility_flags": list(code.compatibility_flags),
        **_environment(code.bindings),
        "function": function,
    }
    return _pack(LOAD_MAGIC, document, (m.content for m in code.modules))


def _environment(bindings: Sequence[Binding]) -> dict[str, Any]:
    """
    `env` has the plain values; `bindings` what the router makes objects of, by type.
    """
    return {
        "env": dict(plain_values(bindings)),
        "bindings": [
            {"name": binding.name, "type": binding.kind.value, "props": binding.value}
            for binding in bindings
            if not binding.kind.is_value
        ],
    }
