"""The `metadata` part of an upload: which keys we take, and what is refused by name."""

import re
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeGuard

import attrs

from workerd_faas.domain.data_points import DATASET
from workerd_faas.domain.errors import Kind, Problem
from workerd_faas.domain.model import PARTS, Binding, BindingKind
from workerd_faas.domain.modules import RESERVED_PREFIX, normalise_module_name
from workerd_faas.domain.names import check_alias, is_label, is_version_prefix
from workerd_faas.domain.unversioned import NO_CHANGE, UnversionedChange
from workerd_faas.wire.site.config import AssetsUpload, parse_assets
from workerd_faas.wire.strict_json import RefusedJson, parse_json
from workerd_faas.wire.unversioned import read_unversioned

DEFAULT_COMPATIBILITY_DATE: Final = "2021-11-02"
"""What Cloudflare takes for an upload that names none."""

_DATE: Final = re.compile(r"\d{4}-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])")
RATE_PERIODS: Final = (10, 60)
"""Seconds over which a rate limit counts, as at Cloudflare."""

_FLAG: Final = re.compile(r"[a-z0-9_]{1,100}")

MAX_DELAY: Final = 24 * 60 * 60
MAX_VALUES: Final = 200_000
"""Of the whole document; it is not read on the reactor's thread."""
"""Seconds that a queue may hold a message back."""

KEPT_BY_DEFAULT: Final = ["secret_text"]
"""Older Wranglers rely on it when they deploy: no upload loses a secret by saying nothing."""

KEEP_NOTHING_OF: Final = frozenset({"secret_key"})
"""Types that `keep_bindings` may name although no version here has any yet."""

_MAX_TAIL_CONSUMERS: Final = 10

NOT_SUPPORTED: Final[Mapping[str, str]] = {
    "migrations": "Durable Object migrations",
    "exports": "declarative exports",
    "containers": "containers",
    "streaming_tail_consumers": "streaming tail consumers",
    "limits": "limits of single requests (workerd does not enforce them)",
    "logpush": "Logpush",
    "capnp_schema": "Cap'n Proto schemas",
}

WITHOUT_EFFECT: Final = frozenset(
    {
        "cache_options",
        "code_update_strategy",
        "package_dependencies",
        "placement",
        "usage_model",
    }
)
"""Settings of Cloudflare's network that do not change what the code does: taken, and said."""

_TAKEN: Final = frozenset(
    {
        "annotations",
        "assets",
        "bindings",
        "body_part",
        "compatibility_date",
        "compatibility_flags",
        "keep_assets",
        "keep_bindings",
        "main_module",
        "observability",
        "tags",
        "tail_consumers",
    }
)


@attrs.frozen(kw_only=True)
class Metadata:
    """
    What the uploader says about the modules.

    Attributes:
        main_module: Empty when there is none, which only a version with a site may do without.
        is_script: It is a service-worker script and not a module.
        inherit: Names of bindings to take over from the newest version, which must have them.
        keep: Kinds of bindings to take over unless one of that name is sent.
        tail_consumers: Functions that shall receive this one's tail events; None: nothing is said.
        assets: The site that was uploaded.
        keep_assets: Whether to take over the newest version's site.
        unversioned: What is said of the function beside this version.
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
    is_script: bool = False
    assets: AssetsUpload | None = None
    keep_assets: bool = False
    tail_consumers: tuple[str, ...] | None = None
    unversioned: UnversionedChange = NO_CHANGE


def parse_metadata(data: bytes, *, max_bytes: int, max_depth: int, max_flags: int) -> Metadata:
    """
    Read the document.

    Raises:
        Problem: `INVALID_METADATA` or `UNSUPPORTED`, naming the key.
    """
    try:
        document = parse_json(data, max_bytes=max_bytes, max_depth=max_depth, max_values=MAX_VALUES)
    except RefusedJson as refused:
        raise _invalid(f"must be a JSON object: {refused}") from None
    if not isinstance(document, dict):
        raise _invalid("must be a JSON object")
    # First: who binds a Durable Object has migrations as well, and is told of the binding.
    bindings, inherit = _bindings(document.get("bindings", []))
    _refuse_unsupported(document)
    annotations = _annotations(document.get("annotations"))
    alias = annotations.get("workers/alias")
    assets = None if document.get("assets") is None else parse_assets(document["assets"])
    return Metadata(
        main_module=_main_module(document),
        is_script="main_module" not in document and "body_part" in document,
        compatibility_date=_date(document.get("compatibility_date")),
        compatibility_flags=_flags(document.get("compatibility_flags", []), max_flags),
        bindings=bindings,
        inherit=inherit,
        keep=_keep(document.get("keep_bindings", KEPT_BY_DEFAULT)),
        message=annotations.get("workers/message"),
        tag=annotations.get("workers/tag"),
        alias=None if alias is None else check_alias(alias),
        tail_consumers=read_tail_consumers(document.get("tail_consumers")),
        unversioned=read_unversioned(document),
        assets=assets,
        keep_assets=document.get("keep_assets") is True,
        notes=(
            *(
                f"{key!r} is accepted but has no effect on this platform."
                for key in sorted(WITHOUT_EFFECT & document.keys())
                if document[key]
            ),
            *(() if assets is None else assets.notes),
        ),
    )


def _invalid(what: str) -> Problem:
    return Problem(kind=Kind.INVALID_METADATA, message=f"The metadata {what}.")


def _refuse_unsupported(document: dict[str, Any]) -> None:
    for key, what in NOT_SUPPORTED.items():
        # Wrangler's `"logpush": false` and empty lists ask for nothing.
        if document.get(key):
            raise Problem(
                kind=Kind.UNSUPPORTED, message=f"metadata.{key}: not supported yet: {what}."
            )
    unknown = document.keys() - _TAKEN - WITHOUT_EFFECT - NOT_SUPPORTED.keys()
    if unknown:
        key = min(unknown)
        raise Problem(
            kind=Kind.UNSUPPORTED,
            message=f"metadata.{key[:80]} is not known to this platform.",
        )


def _main_module(document: dict[str, Any]) -> str:
    if "main_module" in document and "body_part" in document:
        raise _invalid("has both 'main_module' and 'body_part': code is a module or a script")
    main = document.get("main_module", document.get("body_part"))
    if main is None and (document.get("assets") or document.get("keep_assets")):
        return ""
    if not isinstance(main, str) or not main:
        raise _invalid(
            "needs 'main_module', the name of the main ES module, or 'body_part', that of a "
            "service-worker script"
        )
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
        or name.startswith(RESERVED_PREFIX)
    ):
        raise _invalid(
            f"needs bindings[{position}].name as 1 to 255 printable characters"
            f" (not __proto__ or {RESERVED_PREFIX}…)"
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


def _assets(name: str, _entry: dict[str, Any]) -> Binding:
    return Binding(name=name, kind=BindingKind.ASSETS, value={})


def _version_metadata(name: str, _entry: dict[str, Any]) -> Binding:
    return Binding(name=name, kind=BindingKind.VERSION_METADATA, value={})


def _service(name: str, entry: dict[str, Any]) -> Binding:
    value: dict[str, Any] = {"service": _function(entry.get("service"), f"the binding {name!r}")}
    for key in ("entrypoint", "environment"):
        text = entry.get(key)
        if text is None or text == "":
            continue
        if not isinstance(text, str) or len(text) > 255 or not text.isprintable():
            raise _invalid(f"needs {key!r} of the binding {name!r} as a string")
        value[key] = text
    _check_selection(name, value)
    props = entry.get("props")
    if props is not None:
        if not isinstance(props, dict):
            raise _invalid(f"needs 'props' of the binding {name!r} as an object")
        value["props"] = props
    return Binding(name=name, kind=BindingKind.SERVICE, value=value)


def _check_selection(name: str, value: Mapping[str, Any]) -> None:
    """
    What a call selects: never an entrypoint of ours, and a version only by what can name one.
    """
    if value.get("entrypoint", "").startswith(RESERVED_PREFIX):
        raise _invalid(f"has an 'entrypoint' in the binding {name!r} that is reserved")
    selector = value.get("environment")
    if selector is not None and not (is_label(selector) or is_version_prefix(selector)):
        raise _invalid(
            f"needs 'environment' of the binding {name!r} as an alias or a version id of the target"
        )


def _function(value: Any, where: str) -> str:
    if not isinstance(value, str) or not is_label(value):
        raise _invalid(f"needs 'service' of {where} as the name of a function")
    return value


def read_tail_consumers(value: Any) -> tuple[str, ...] | None:
    """
    The names in `[{"service": name}, …]`, each once; None for None.

    Raises:
        Problem: `INVALID_METADATA`.
    """
    if value is None:
        return None
    if not isinstance(value, list) or not all(isinstance(entry, dict) for entry in value):
        raise _invalid('needs \'tail_consumers\' as an array of {"service": "<function>"}')
    if len(value) > _MAX_TAIL_CONSUMERS:
        raise _invalid(f"has more than {_MAX_TAIL_CONSUMERS} 'tail_consumers'")
    names = (_function(entry.get("service"), "a tail consumer") for entry in value)
    return tuple(dict.fromkeys(names))


def _kv_namespace(name: str, entry: dict[str, Any]) -> Binding:
    value = {"namespace_id": _id(name, entry, "namespace_id")}
    return Binding(name=name, kind=BindingKind.KV_NAMESPACE, value=value)


def _d1(name: str, entry: dict[str, Any]) -> Binding:
    # Older clients say `database_id`.
    key = "id" if "id" in entry else "database_id"
    return Binding(name=name, kind=BindingKind.D1, value={"id": _id(name, entry, key)})


def _queue(name: str, entry: dict[str, Any]) -> Binding:
    value: dict[str, Any] = {"queue_name": _id(name, entry, "queue_name")}
    delay = entry.get("delivery_delay")
    if delay is not None:
        if not isinstance(delay, int) or isinstance(delay, bool) or not 0 <= delay <= MAX_DELAY:
            raise _invalid(
                f"needs 'delivery_delay' of the binding {name!r} as seconds from 0 to {MAX_DELAY}"
            )
        value["delivery_delay"] = delay
    return Binding(name=name, kind=BindingKind.QUEUE, value=value)


def _ratelimit(name: str, entry: dict[str, Any]) -> Binding:
    simple = entry.get("simple")
    limit, period = (
        (simple.get("limit"), simple.get("period")) if isinstance(simple, dict) else (None, None)
    )
    if not _whole(limit) or limit < 1 or period not in RATE_PERIODS or isinstance(period, bool):
        raise _invalid(
            f"needs 'simple' of the binding {name!r} as an object with 'limit', a whole number "
            "from 1 on, and 'period', which is 10 or 60 seconds"
        )
    value = {
        "namespace_id": _id(name, entry, "namespace_id"),
        "simple": {"limit": limit, "period": int(period)},
    }
    return Binding(name=name, kind=BindingKind.RATELIMIT, value=value)


def _part(kind: BindingKind) -> Callable[[str, dict[str, Any]], Binding]:
    def read(name: str, entry: dict[str, Any]) -> Binding:
        value = {"part": normalise_module_name(_id(name, entry, "part"))}
        return Binding(name=name, kind=kind, value=value)

    return read


def _hyperdrive(name: str, entry: dict[str, Any]) -> Binding:
    value = {"id": _id(name, entry, "id")}
    return Binding(name=name, kind=BindingKind.HYPERDRIVE, value=value)


def _analytics_engine(name: str, entry: dict[str, Any]) -> Binding:
    dataset = entry.get("dataset", name)
    if not isinstance(dataset, str) or not DATASET.fullmatch(dataset):
        raise _invalid(
            f"needs 'dataset' of the binding {name!r} as 1 to 100 letters, digits, '_' and '-'"
        )
    return Binding(name=name, kind=BindingKind.ANALYTICS_ENGINE, value={"dataset": dataset})


def _whole(value: Any) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**53


def _id(name: str, entry: dict[str, Any], key: str) -> str:
    value = entry.get(key)
    if not isinstance(value, str) or not 1 <= len(value) <= 255 or not value.isprintable():
        raise _invalid(f"needs a string {key!r} for the binding {name!r}")
    return value


_READERS: Final[Mapping[str, Callable[[str, dict[str, Any]], Binding]]] = {
    "plain_text": _plain_text,
    "json": _json,
    "secret_text": _secret_text,
    "version_metadata": _version_metadata,
    "assets": _assets,
    "kv_namespace": _kv_namespace,
    "d1": _d1,
    "queue": _queue,
    "ratelimit": _ratelimit,
    **{kind.value: _part(kind) for kind in PARTS},
    "hyperdrive": _hyperdrive,
    "analytics_engine": _analytics_engine,
    "service": _service,
}
