"""The JavaScript that runs inside cells, as modules for the config."""

import functools
from importlib import resources
from typing import Final

_SHARED: Final = (
    "document.js",
    "inside.js",
    "pieces.js",
    "script.js",
    "client_collect.js",
    "client_events.js",
    "client_main.js",
    "client_unwatched.js",
    "client_analytics.js",
    "client_kv.js",
    "client_queue.js",
    "client_ratelimit.js",
    "client_hyperdrive.js",
    "client_witness.js",
)
ROUTER: Final = (
    "router.js",
    *_SHARED,
    "analytics.js",
    "assets.js",
    "bindings.js",
    "called.js",
    "clock.js",
    "collect.js",
    "consumers.js",
    "elsewhere.js",
    "errors.js",
    "launch.js",
    "pace.js",
    "promoted.js",
    "queue_event.js",
    "quiet.js",
    "ratelimit.js",
    "scheduled.js",
    "services.js",
    "site.js",
    "storage.js",
    "tail.js",
    "traces.js",
    "versions.js",
)
STATE: Final = (
    "state.js",
    "bulk.js",
    "deliver.js",
    "dump.js",
    "elements.js",
    "ingest.js",
    "objects.js",
    "manage.js",
    "pace.js",
    "queue.js",
    "sql.js",
    "values.js",
)
CHECK: Final = ("check.js", *_SHARED)
PROMOTED: Final = (
    "client_main.js",
    "client_promoted.js",
    "client_collect.js",
    "client_witness.js",
    "errors.js",
)


@functools.lru_cache(8)
def sources(names: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    """
    Name and text of each of our modules; the first one is the main module.
    """
    folder = resources.files("workerd_faas.runtime") / "js"
    return tuple((name, (folder / name).read_text(encoding="utf-8")) for name in names)
