"""
Bindings of a configuration in the form of the API.

Every kind that Wrangler can send is sent: the server says by name what it does not support, so a
function is never deployed with a binding silently missing.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

import attrs

Raw = Mapping[str, Any]


@attrs.frozen
class Kind:
    """
    How entries of one list in the configuration become bindings.

    Attributes:
        type: Type of the binding.
        fields: Key in the configuration to key in the API.
        name: Key in the configuration that holds the name in `env`.
    """

    type: str
    fields: Mapping[str, str] = attrs.field(factory=dict)
    name: str = "binding"


def _same(*keys: str) -> dict[str, str]:
    return {key: key for key in keys}


LISTS: Final[Mapping[str, Kind]] = {
    "kv_namespaces": Kind("kv_namespace", {"id": "namespace_id"}),
    "d1_databases": Kind("d1", {"database_id": "id"}),
    "r2_buckets": Kind("r2_bucket", _same("bucket_name", "jurisdiction")),
    "services": Kind("service", _same("service", "entrypoint", "environment", "props")),
    "workflows": Kind(
        "workflow", {"name": "workflow_name", "class_name": "class_name", **_same("script_name")}
    ),
    "analytics_engine_datasets": Kind("analytics_engine", _same("dataset")),
    "dispatch_namespaces": Kind("dispatch_namespace", _same("namespace", "outbound")),
    "mtls_certificates": Kind("mtls_certificate", _same("certificate_id")),
    "vectorize": Kind("vectorize", _same("index_name")),
    "hyperdrive": Kind("hyperdrive", _same("id")),
    "pipelines": Kind("pipelines", _same("stream", "pipeline")),
    "secrets_store_secrets": Kind("secrets_store_secret", _same("store_id", "secret_name")),
    "ratelimits": Kind("ratelimit", _same("namespace_id", "simple"), name="name"),
    "send_email": Kind(
        "send_email",
        _same("destination_address", "allowed_destination_addresses", "allowed_sender_addresses"),
        name="name",
    ),
    "worker_loaders": Kind("worker_loader"),
    "vpc_services": Kind("vpc_service", _same("service_id")),
}
"""Keys whose value is a list of bindings."""

NESTED: Final[Mapping[str, tuple[str, Kind]]] = {
    "durable_objects": (
        "bindings",
        Kind(
            "durable_object_namespace",
            _same("class_name", "script_name", "environment"),
            name="name",
        ),
    ),
    "queues": (
        "producers",
        Kind("queue", {"queue": "queue_name", "delivery_delay": "delivery_delay"}),
    ),
}
"""Keys whose value is an object that holds a list of bindings under another key."""

SINGLE: Final[Mapping[str, str]] = {
    "version_metadata": "version_metadata",
    "ai": "ai",
    "browser": "browser",
    "images": "images",
    "stream": "stream",
    "media": "media",
}
"""Keys whose value is one binding."""

BINDING_KEYS: Final = frozenset({"vars", *LISTS, *NESTED, *SINGLE})

Report = Callable[[str, str], None]
"""Takes the path of a key and what is wrong with it."""


def bindings_of(environment: Raw, report: Report) -> Iterator[dict[str, Any]]:
    """
    All bindings but the variables. What is wrong is reported, with its key.
    """
    for key, kind in LISTS.items():
        yield from _list(key, environment.get(key), kind, report)
    for key, (inner, kind) in NESTED.items():
        value = environment.get(key)
        if isinstance(value, dict):
            yield from _list(f"{key}.{inner}", value.get(inner), kind, report)
        elif value is not None:
            report(key, "should be an object")
    for key, type_ in SINGLE.items():
        value = environment.get(key)
        if value is not None:
            name = _name(key, value, "binding", report)
            if name is not None:
                yield {"name": name, "type": type_}


def assets_binding(name: str) -> dict[str, Any]:
    """
    The binding to the site of the same upload.
    """
    return {"name": name, "type": "assets"}


def variables(values: Raw, report: Report, key: str = "vars") -> Iterator[dict[str, Any]]:
    """
    `vars`: strings as `plain_text`, everything else as `json`.
    """
    for name, value in values.items():
        if isinstance(value, str):
            yield {"name": name, "type": "plain_text", "text": value}
        elif _is_json(value):
            yield {"name": name, "type": "json", "json": value}
        else:
            report(f"{key}.{name}", "is a TOML date or time; write it as a string")


def _is_json(value: Any) -> bool:
    if isinstance(value, dict):
        return all(_is_json(each) for each in value.values())
    if isinstance(value, list):
        return all(_is_json(each) for each in value)
    return value is None or isinstance(value, str | int | float | bool)


def _list(key: str, value: Any, kind: Kind, report: Report) -> Iterator[dict[str, Any]]:
    if value is None:
        return
    if not isinstance(value, list):
        report(key, "should be a list")
        return
    for index, entry in enumerate(value):
        path = f"{key}[{index}]"
        name = _name(path, entry, kind.name, report)
        if name is not None:
            binding = {"name": name, "type": kind.type}
            for theirs, ours in kind.fields.items():
                if entry.get(theirs) is not None:
                    binding[ours] = entry[theirs]
            yield binding


def _name(path: str, entry: Any, key: str, report: Report) -> str | None:
    if not isinstance(entry, dict):
        report(path, "should be an object")
        return None
    name = entry.get(key)
    if not isinstance(name, str) or not name:
        report(f"{path}.{key}", "should be a string: the name in `env`")
        return None
    return name
