"""How Node.js' own modules are treated, by compatibility date and flags. Pure."""

import enum
from collections.abc import Collection
from typing import Final

BUILTINS: Final = frozenset(
    {
        "_http_agent", "_http_client", "_http_common", "_http_incoming", "_http_outgoing",
        "_http_server", "_stream_duplex", "_stream_passthrough", "_stream_readable",
        "_stream_transform", "_stream_wrap", "_stream_writable", "_tls_common", "_tls_wrap",
        "assert", "assert/strict", "async_hooks", "buffer", "child_process", "cluster", "console",
        "constants", "crypto", "dgram", "diagnostics_channel", "dns", "dns/promises", "domain",
        "events", "fs", "fs/promises", "http", "http2", "https", "inspector",
        "inspector/promises", "module", "net", "os", "path", "path/posix", "path/win32",
        "perf_hooks", "process", "punycode", "querystring", "readline", "readline/promises",
        "repl", "stream", "stream/consumers", "stream/promises", "stream/web", "string_decoder",
        "sys", "timers", "timers/promises", "tls", "trace_events", "tty", "url", "util",
        "util/types", "v8", "vm", "wasi", "worker_threads", "zlib",
    }
)  # fmt: skip
"""Node.js modules that can be imported without the prefix `node:`."""

DEFAULT_ON_DATE: Final = "2026-08-04"
"""From this compatibility date on, `nodejs_compat` needs no flag."""

SECOND_MODE_DATE: Final = "2024-09-23"
"""From this date on `nodejs_compat` means the mode in which bare names work too."""


class NodeMode(enum.Enum):
    """
    What a function may import.
    """

    NONE = "none"
    ASYNC_LOCAL_STORAGE = "als"
    PREFIXED = "v1"
    FULL = "v2"


def node_mode(date: str, flags: Collection[str]) -> NodeMode:
    """
    The mode that Wrangler and workerd derive from the compatibility settings.
    """
    by_date = date >= DEFAULT_ON_DATE
    enabled = "nodejs_compat" in flags or (by_date and "no_nodejs_compat" not in flags)
    if "nodejs_compat_v2" in flags or (
        "no_nodejs_compat_v2" not in flags and (by_date or (enabled and date >= SECOND_MODE_DATE))
    ):
        return NodeMode.FULL
    if enabled:
        return NodeMode.PREFIXED
    return NodeMode.ASYNC_LOCAL_STORAGE if "nodejs_als" in flags else NodeMode.NONE


def has_navigator(date: str, flags: Collection[str]) -> bool:
    """
    Whether `navigator.userAgent` is there at run time.
    """
    if "global_navigator" in flags:
        return True
    return "no_global_navigator" not in flags and date >= "2022-03-21"


def builtin_hint(name: str, mode: NodeMode) -> str | None:
    """
    What to do about a module of Node.js that cannot be resolved.
    """
    if name.removeprefix("node:") not in BUILTINS:
        return None
    if mode is NodeMode.PREFIXED:
        return 'write it with the prefix "node:", or set compatibility_date to 2024-09-23 or later'
    return 'it is built into Node.js: add "nodejs_compat" to compatibility_flags'
