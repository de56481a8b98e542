"""
The configuration of a state cell as text in Cap'n Proto's language. Pure.

One Worker has workerd's own implementations of KV, D1 and queues as modules, and `state.js` before
them. Namespaces, databases and queues are Durable Objects by name, so a new one changes nothing
here; a consumer does.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import attrs

from workerd_faas.runtime.config import COLLECTING, FLAGS, SOCKET_NAME, quoted
from workerd_faas.wire.headers import PROTO, ROUTE_AND_CF

OBJECTS: Final = "objects"
"""The folder of the Durable Objects' databases in an account's state directory."""

BLOBS: Final = "blobs"
"""The folder of large KV values."""

_COMPATIBILITY_DATE: Final = "2026-11-17"

_CLASSES: Final = {"KVNamespace": "kv", "D1Database": "d1", "QueueShard": "queues"}
"""
Each class with its `uniqueKey`, from which workerd makes the objects' ids and folder: changing one
would lose what is stored.
"""

KEYS: Final = tuple(_CLASSES.values())
"""Names of the folders in `OBJECTS`."""

_BUNDLED: Final = ("kv.js", "d1.js", "queues.js")


@attrs.frozen(kw_only=True)
class StateCell:
    """
    What a state cell is made of.

    Attributes:
        listen: The unix socket it answers on.
        daemon: The unix socket of the daemon for this cell.
        data: The account's state directory, with `OBJECTS` and `BLOBS` in it.
        modules: Name and text of our modules, the main one first.
        consumers: By queue, as `queues.js` takes its `CONSUMERS`.
    """

    listen: Path
    daemon: Path
    data: Path
    modules: tuple[tuple[str, str], ...]
    consumers: Mapping[str, Mapping[str, Any]]


def render_state_cell(cell: StateCell) -> str:
    """
    The whole configuration.
    """
    ours = [f"(name = {quoted(name)}, esModule = {quoted(text)})" for name, text in cell.modules]
    bundled = [f'(name = "{name}", bundled = "/workerd/{name}")' for name in _BUNDLED]
    classes = [
        f'(className = "{name}", uniqueKey = "{key}", enableSql = true)'
        for name, key in _CLASSES.items()
    ]
    bindings = [
        '(name = "KV", durableObjectNamespace = "KVNamespace")',
        '(name = "DATABASE", durableObjectNamespace = "D1Database")',
        '(name = "SHARD", durableObjectNamespace = "QueueShard")',
        '(name = "BLOBS", service = "blobs")',
        '(name = "OBJECTS", service = "objects")',
        '(name = "DAEMON", service = "daemon")',
        f'(name = "CONSUMERS", json = {quoted(json.dumps(cell.consumers))})',
    ]
    worker = (
        f"(modules = [{', '.join([*ours, *bundled])}], "
        f"compatibilityDate = {quoted(_COMPATIBILITY_DATE)}, "
        # "experimental" lets a file of SQL be run statement by statement (`sql.ingest`).
        f"compatibilityFlags = [{FLAGS}], "
        f"durableObjectNamespaces = [{', '.join(classes)}], "
        'durableObjectStorage = (localDisk = "objects"), '
        'globalOutbound = "nothing", '
        f"bindings = [{', '.join(bindings)}])"
    )
    return f"""using Workerd = import "/workerd/workerd.capnp";

const config :Workerd.Config = (
  services = [
    (name = "main", worker = {worker}),
    (name = "objects", disk = (path = {_folder(cell.data, OBJECTS)}, writable = true)),
    (name = "blobs", disk = (path = {_folder(cell.data, BLOBS)}, writable = true)),
    (name = "daemon", external = (address = {quoted(f"unix:{cell.daemon}")}, http = ())),
    (name = "nothing", network = (allow = [])),
  ],
  {COLLECTING}
  sockets = [
    (name = {quoted(SOCKET_NAME)}, address = {quoted(f"unix:{cell.listen}")}, service = "main",
      http = (cfBlobHeader = {quoted(ROUTE_AND_CF)}, forwardedProtoHeader = {quoted(PROTO)})),
  ],
);
"""


def _folder(data: Path, name: str) -> str:
    return quoted(str(data / name))
