"""
Bindings of a configuration in the form of the API.

Every kind that Wrangler can send is sent: the server says by name what it does not support, so a
function is never deployed with a binding silently missing.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

import attrs

from workerd_faas.cli.config.reader import Reader


@attrs.frozen
class Kind:
    """
    How entries of one list in the configuration become bindings.

    Attributes:
        type: Type of the binding.
        fields: Key in the configuration to key in the API.
        name: Key in the configuration that holds the name in `env`.
        local: Keys that matter to other commands of Wrangler only, such as `wrangler dev`.
    """

    type: str
    fields: Mapping[str, str] = attrs.field(factory=dict)
    name: str = "binding"
    local: frozenset[str] = frozenset({"remote"})


def _same(*keys: str) -> dict[str, str]:
    return {key: key for key in keys}


def _local(*keys: str) -> frozenset[str]:
    return frozenset({"remote", *keys})


LISTS: Final[Mapping[str, Kind]] = {
    "kv_namespaces": Kind("kv_namespace", {"id": "namespace_id"}, local=_local("preview_id")),
    "d1_databases": Kind(
        "d1",
        {"database_id": "id", "database_internal_env": "internalEnv"},
        local=_local(
            "database_name",
            "jurisdiction",
            "migrations_dir",
            "migrations_pattern",
            "migrations_table",
            "preview_database_id",
        ),
    ),
    "r2_buckets": Kind(
        "r2_bucket",
        _same("bucket_name", "jurisdiction"),
        local=_local("local_dev", "preview_bucket_name"),
    ),
    "services": Kind(
        "service", _same("service", "entrypoint", "environment", "props", "cross_account_grant")
    ),
    "workflows": Kind(
        "workflow",
        {"name": "workflow_name", **_same("class_name", "script_name")},
        # Of the workflow, not of the binding to it.
        local=_local("concurrency", "default_retention", "jurisdiction", "limits", "schedules"),
    ),
    "agent_memory": Kind("agent_memory", _same("namespace")),
    "ai_search": Kind("ai_search", _same("instance_name")),
    "ai_search_namespaces": Kind("ai_search_namespace", _same("namespace")),
    "analytics_engine_datasets": Kind("analytics_engine", _same("dataset")),
    "artifacts": Kind("artifacts", _same("namespace")),
    "dispatch_namespaces": Kind("dispatch_namespace", _same("namespace", "outbound")),
    "flagship": Kind("flagship", _same("app_id")),
    "hyperdrive": Kind("hyperdrive", _same("id"), local=_local("localConnectionString")),
    "k2": Kind("k2", _same("stream")),
    "mtls_certificates": Kind("mtls_certificate", _same("certificate_id")),
    "pipelines": Kind("pipelines", _same("stream", "pipeline")),
    "ratelimits": Kind("ratelimit", _same("namespace_id", "simple"), name="name"),
    "secrets_store_secrets": Kind("secrets_store_secret", _same("store_id", "secret_name")),
    "send_email": Kind(
        "send_email",
        _same("destination_address", "allowed_destination_addresses", "allowed_sender_addresses"),
        name="name",
    ),
    "unsafe_hello_world": Kind("unsafe_hello_world", _same("enable_timer")),
    "vectorize": Kind("vectorize", _same("index_name")),
    "vpc_networks": Kind("vpc_network", _same("network_id", "tunnel_id")),
    "vpc_services": Kind("vpc_service", _same("service_id")),
    "worker_loaders": Kind("worker_loader"),
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
    "logfwdr": ("bindings", Kind("logfwdr", _same("destination"), name="name")),
    "queues": (
        "producers",
        Kind("queue", {"queue": "queue_name", "delivery_delay": "delivery_delay"}),
    ),
}
"""Keys whose value is an object that holds a list of bindings under another key."""

BESIDE: Final[Mapping[str, frozenset[str]]] = {
    "durable_objects": frozenset({"code_update_strategy"}),
    "queues": frozenset({"consumers"}),
}
"""What those objects hold beside it."""

SINGLE: Final[Mapping[str, Kind]] = {
    "ai": Kind("ai", _same("staging")),
    "analytics": Kind("analytics"),
    "browser": Kind("browser"),
    "images": Kind("images"),
    "media": Kind("media"),
    "stream": Kind("stream"),
    "version_metadata": Kind("version_metadata"),
}
"""Keys whose value is one binding."""

BINDING_KEYS: Final = frozenset({"unsafe", "vars", *LISTS, *NESTED, *SINGLE})

Report = Callable[[str, str], None]
"""Takes the path of a key and what is wrong with it."""


def bindings_of(reader: Reader) -> Iterator[dict[str, Any]]:
    """
    All bindings but the variables. What is wrong is noted with the reader, and so are keys that
    no binding has.
    """
    for key, kind in LISTS.items():
        yield from _list(reader, key, kind)
    for key, (inner, kind) in NESTED.items():
        below = reader.below(key, reader.mapping(key))
        below.unexpected({inner, *BESIDE.get(key, ())})
        yield from _list(below, inner, kind)
    for key, kind in SINGLE.items():
        if reader.values.get(key) is not None:
            yield from _binding(reader.below(key, reader.mapping(key)), kind)
    yield from _unsafe(reader.below("unsafe", reader.mapping("unsafe")))


def _list(reader: Reader, key: str, kind: Kind) -> Iterator[dict[str, Any]]:
    for entry in reader.entries(key):
        yield from _binding(entry, kind)


def _binding(entry: Reader, kind: Kind) -> Iterator[dict[str, Any]]:
    entry.unexpected({kind.name, *kind.fields, *kind.local})
    name = entry.text(kind.name)
    if not name:
        entry.wrong(kind.name, "should be a string: the name in `env`")
        return
    fields = ((ours, entry.values.get(theirs)) for theirs, ours in kind.fields.items())
    yield {
        "name": name,
        "type": kind.type,
        **{ours: value for ours, value in fields if value is not None},
    }


def _unsafe(reader: Reader) -> Iterator[dict[str, Any]]:
    """
    Bindings that Wrangler does not know either, sent as they stand.
    """
    for entry in reader.entries("bindings"):
        if entry.text("name") and entry.text("type"):
            yield {key: value for key, value in entry.values.items() if key != "dev"}
        else:
            entry.wrong("name", "and type should be strings")


def assets_binding(name: str) -> dict[str, Any]:
    """
    The binding to the site of the same upload.
    """
    return {"name": name, "type": "assets"}


def variables(
    values: Mapping[str, Any], report: Report, key: str = "vars"
) -> Iterator[dict[str, Any]]:
    """
    `vars`: strings as `plain_text`, everything else as `json`.
    """
    for name, value in values.items():
        if isinstance(value, str):
            yield {"name": name, "type": "plain_text", "text": value}
        elif _is_json(value):
            yield {"name": name, "type": "json", "json": value}
        else:
            report(
                f"{key}.{name}", "has what JSON has not (a date, a time, inf): write it as a string"
            )


def _is_json(value: Any) -> bool:
    if isinstance(value, dict):
        return all(_is_json(each) for each in value.values())
    if isinstance(value, list):
        return all(_is_json(each) for each in value)
    if isinstance(value, float):
        return math.isfinite(value)
    return value is None or isinstance(value, str | int | bool)
