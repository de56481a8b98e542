"""The `metadata` part of an upload: which keys we take, and what is refused by name."""

import re
from collections.abc import Callable, Mapping
from typing import Any, Final

import attrs

from workerd_faas.domain.errors import Kind, Problem
from workerd_faas.domain.model import Binding, BindingKind
from workerd_faas.domain.names import check_alias
from workerd_faas.wire.strict_json import RefusedJson, parse_json

DEFAULT_COMPATIBILITY_DATE: Final = "2021-11-02"
"""What Cloudflare takes for an upload that names none."""

_DATE: Final = re.compile(r"\d{4}-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])")
_FLAG: Final = re.compile(r"[a-z0-9_]{1,100}")

KEEP_NOTHING_OF: Final = frozenset({"secret_key"})
"""Types that `keep_bindings` may name although no version here has any yet."""

NOT_SUPPORTED: Final[Mapping[str, str]] = {
    "body_part": "service-worker scripts (use an ES module with `export default`)",
    "assets": "static assets",
    "migrations": "Durable Object migrations",
    "exports": "declarative exports",
    "containers": "containers",
    "tail_consumers": "tail consumers",
    "streaming_tail_consumers": "streaming tail consumers",
    "limits": "limits of single requests (workerd does not enforce them)",
    "logpush": "Logpush",
    "capnp_schema": "Cap'n Proto schemas",
}

WITHOUT_EFFECT: Final = frozenset(
    {
        "cache_options",
        "code_update_strategy",
        "keep_assets",
        "observability",
        "package_dependencies",
        "placement",
        "tags",
        "usage_model",
    }
)
"""Settings of Cloudflare's network that do not change what the code does: taken, and said."""

_TAKEN: Final = frozenset(
    {
        "annotations",
        "bindings",
        "compatibility_date",
        "compatibility_flags",
        "keep_bindings",
        "main_module",
    }
)


@attrs.frozen(kw_only=True)
class Metadata:
    """
    What the uploader says about the modules.

    Attributes:
        inherit: Names of bindings to take over from the newest version, which must have them.
        keep: Kinds of bindings to take over unless one of that name is sent.
        notes: What was taken without effect, for the answer's `messages`.
    """

    main_module: str
    compatibility_date: str
    compatibility_flags: tuple[str, ...]
    bindings: tuple[Binding, ...]
    inherit: tuple[str, ...]
    keep: frozenset[BindingKind]
    message: str | None
    tag: str | None
    alias: str | None
    notes: tuple[str, ...]


def parse_metadata(data: bytes, *, max_bytes: int, max_depth: int, max_flags: int) -> Metadata:
    """
    Read the document.

    Raises:
        Problem: `INVALID_METADATA` or `UNSUPPORTED`, naming the key.
    """
    try:
        document = parse_json(data, max_bytes=max_bytes, max_depth=max_depth)
    except RefusedJson as refused:
        raise _invalid(f"must be a JSON object: {refused}") from None
    if not isinstance(document, dict):
        raise _invalid("must be a JSON object")
    _refuse_unsupported(document)
    bindings, inherit = _bindings(document.get("bindings", []))
    annotations = _annotations(document.get("annotations"))
    alias = annotations.get("workers/alias")
    return Metadata(
        main_module=_main_module(document),
        compatibility_date=_date(document.get("compatibility_date")),
        compatibility_flags=_flags(document.get("compatibility_flags", []), max_flags),
        bindings=bindings,
        inherit=inherit,
        keep=_keep(document.get("keep_bindings", [])),
        message=annotations.get("workers/message"),
        tag=annotations.get("workers/tag"),
        alias=None if alias is None else check_alias(alias),
        notes=tuple(
            f"{key!r} is accepted but has no effect on this platform."
            for key in sorted(WITHOUT_EFFECT & document.keys())
            if document[key]
        ),
    )


def _invalid(what: str) -> Problem:
    return Problem(kind=Kind.INVALID_METADATA, message=f"The metadata {what}.")


def _refuse_unsupported(document: dict[str, Any]) -> None:
    for key, what in NOT_SUPPORTED.items():
        # Wrangler's `"logpush": false` and empty lists ask for nothing.
        if document.get(key):
            raise Problem(
                kind=Kind.UNSUPPORTED, message=f"metadata.{key}: {what} are not supported yet."
            )
    unknown = document.keys() - _TAKEN - WITHOUT_EFFECT - NOT_SUPPORTED.keys()
    if unknown:
        key = min(unknown)
        raise Problem(
            kind=Kind.UNSUPPORTED,
            message=f"metadata.{key[:80]} is not known to this platform.",
        )


def _main_module(document: dict[str, Any]) -> str:
    main = document.get("main_module")
    if not isinstance(main, str) or not main:
        raise _invalid("needs 'main_module', the name of the main ES module")
    return main


def _date(value: Any) -> str:
    if value is None:
        return DEFAULT_COMPATIBILITY_DATE
    if not isinstance(value, str) or not _DATE.fullmatch(value):
        raise _invalid("needs 'compatibility_date' as YYYY-MM-DD")
    return value


def _flags(value: Any, most: int) -> tuple[str, ...]:
    if (
        not isinstance(value, list)
        or len(value) > most
        or not all(isinstance(flag, str) and _FLAG.fullmatch(flag) for flag in value)
    ):
        raise _invalid(
            f"needs 'compatibility_flags' as an array of at most {most} names such as nodejs_compat"
        )
    return tuple(dict.fromkeys(value))


def _keep(value: Any) -> frozenset[BindingKind]:
    if not isinstance(value, list) or not all(isinstance(kind, str) for kind in value):
        raise _invalid("needs 'keep_bindings' as an array of binding types")
    known = {kind.value for kind in BindingKind}
    unknown = set(value) - known - KEEP_NOTHING_OF
    if unknown:
        raise Problem(
            kind=Kind.UNSUPPORTED,
            message=f"metadata.keep_bindings: the type {min(unknown)[:80]!r} is not supported yet.",
        )
    return frozenset(BindingKind(kind) for kind in set(value) & known)


def _annotations(value: Any) -> dict[str, str]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise _invalid("needs 'annotations' as an object")
    found = {}
    for key, limit in (("workers/message", 1000), ("workers/tag", 100), ("workers/alias", 63)):
        text = value.get(key)
        if text is None or text == "":
            continue
        if not isinstance(text, str) or len(text) > limit:
            raise _invalid(f"needs annotations[{key!r}] as a string of at most {limit} characters")
        found[key] = text
    return found


def parse_bindings(value: Any) -> tuple[tuple[Binding, ...], tuple[str, ...]]:
    """
    Bindings as an upload lists them, and the names of those to inherit.

    Raises:
        Problem: `INVALID_METADATA` or `UNSUPPORTED`, naming the binding.
    """
    return _bindings(value)


def _bindings(value: Any) -> tuple[tuple[Binding, ...], tuple[str, ...]]:
    if not isinstance(value, list):
        raise _invalid("needs 'bindings' as an array")
    bindings: list[Binding] = []
    inherit: list[str] = []
    seen: set[str] = set()
    for position, entry in enumerate(value):
        if not isinstance(entry, dict):
            raise _invalid(f"needs bindings[{position}] as an object")
        name = _binding_name(entry, position)
        if name in seen:
            raise _invalid(f"has two bindings named {name!r}")
        seen.add(name)
        kind = entry.get("type", "plain_text")
        if kind == "inherit":
            inherit.append(name)
        else:
            bindings.append(_binding(name, kind, entry))
    return tuple(bindings), tuple(inherit)


def _binding_name(entry: dict[str, Any], position: int) -> str:
    name = entry.get("name")
    if (
        not isinstance(name, str)
        or not 1 <= len(name) <= 255
        or not name.isprintable()
        or name == "__proto__"
    ):
        raise _invalid(
            f"needs bindings[{position}].name as 1 to 255 printable characters (not __proto__)"
        )
    return name


def _binding(name: str, kind: Any, entry: dict[str, Any]) -> Binding:
    reader = _READERS.get(kind) if isinstance(kind, str) else None
    if reader is None:
        shown = kind[:80] if isinstance(kind, str) else kind
        raise Problem(
            kind=Kind.UNSUPPORTED,
            message=f"The binding {name!r} has the type {shown!r}, which is not supported yet.",
        )
    return reader(name, entry)


def _plain_text(name: str, entry: dict[str, Any]) -> Binding:
    text = entry.get("text")
    if not isinstance(text, str):
        raise _invalid(f"needs a string 'text' for the binding {name!r}")
    return Binding(name=name, kind=BindingKind.PLAIN_TEXT, value=text)


def _json(name: str, entry: dict[str, Any]) -> Binding:
    if "json" not in entry:
        raise _invalid(f"needs 'json' for the binding {name!r}")
    return Binding(name=name, kind=BindingKind.JSON, value=entry["json"])


def _secret_text(name: str, entry: dict[str, Any]) -> Binding:
    text = entry.get("text")
    if not isinstance(text, str):
        raise _invalid(f"needs a string 'text' for the secret {name!r}")
    return Binding(name=name, kind=BindingKind.SECRET_TEXT, value=text)


def _version_metadata(name: str, _entry: dict[str, Any]) -> Binding:
    return Binding(name=name, kind=BindingKind.VERSION_METADATA, value={})


_READERS: Final[Mapping[str, Callable[[str, dict[str, Any]], Binding]]] = {
    "plain_text": _plain_text,
    "json": _json,
    "secret_text": _secret_text,
    "version_metadata": _version_metadata,
}
