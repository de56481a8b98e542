"""
The configuration of a cell as text in Cap'n Proto's language. Pure: values in, text out.

Everything that varies is a string literal made by `quoted`, so no value can end its quotes.
"""

import functools
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import attrs

from workerd_faas.domain.model import JSON, Module, ModuleKind
from workerd_faas.domain.modules import RESERVED_PREFIX
from workerd_faas.runtime.egress import NOTHING, Egress
from workerd_faas.runtime.promoted import Promoted
from workerd_faas.wire.headers import PROTO, ROUTE_AND_CF

SOCKET_NAME: Final = "http"
"""What the control descriptor calls the cell's listening socket."""

_COMPATIBILITY_DATE: Final = "2026-11-17"
"""Of our own Workers; the functions' dates are their own."""

FLAGS: Final = '"experimental", "service_binding_extra_handlers", "no_nodejs_compat"'
"""
The worker loader is what "experimental" is for, `scheduled()` and `queue()` of functions what the
second one is for; without Node.js's modules an isolate starts in half of the time. Loaded code is
never given them.
"""

_COLLECT: Final = "__workerd_faas_gc"

COLLECTING: Final = f'v8Flags = ["--expose-gc-as={_COLLECT}", "--initial-heap-size=16"],'
"""
Lets our own isolates collect garbage, see js/pace.js. Collections are also begun by V8 when an
isolate's heap has grown to 16 MB, and not to hundreds.
"""
"""What V8 calls its garbage collection for our Workers."""

_ESCAPES: Final = {code: f"\\x{code:02x}" for code in (*range(0x20), 0x7F)} | {
    ord('"'): '\\"', ord("\\"): "\\\\", ord("\n"): "\\n", ord("\r"): "\\r", ord("\t"): "\\t",
}  # fmt: skip


def quoted(text: str) -> str:
    """
    A string literal (the grammar's only escapes used: quote, backslash, n, r, t and `\\xHH`).

    Raises:
        ValueError: the text has a NUL, which a Cap'n Proto text cannot hold, or is not Unicode.
    """
    if "\0" in text:
        raise ValueError("a Cap'n Proto text cannot hold NUL")
    text.encode()
    return f'"{text.translate(_ESCAPES)}"'


@attrs.frozen(kw_only=True)
class FunctionCell:
    """
    What a cell that runs functions is made of.

    Attributes:
        listen: The unix socket it answers on. Paths of sockets may be relative to its working
            directory.
        daemon: The unix socket of the daemon for this cell.
        state: The unix socket behind which the state cells are, if it may use any.
        calls: The unix socket behind which other accounts' functions are, if it may call any.
        loaded_versions: How many versions its router keeps loaded.
        files: The directory with the account's files of sites, if it may serve sites.
        files_of_all: Whether there is a directory for each account in it.
        promoted: A version that is a service of its own, if there is one.
        promoted_listen: The unix socket on which that answers.
    """

    listen: Path
    daemon: Path
    modules: tuple[tuple[str, str], ...]
    egress: Egress
    loaded_versions: int
    state: Path | None = None
    calls: Path | None = None
    files: Path | None = None
    files_of_all: bool = False
    promoted: Promoted | None = None
    promoted_listen: Path = Path()


@attrs.frozen(kw_only=True)
class CheckCell:
    """
    What a cell that checks one upload is made of: no network, nobody to talk to.

    Attributes:
        collects: Whether it collects garbage as function cells do, and starts later therefore.
    """

    listen: Path
    modules: tuple[tuple[str, str], ...]
    collects: bool = False


def render_function_cell(cell: FunctionCell) -> str:
    """
    The whole configuration of a function cell.
    """
    bindings = [
        '(name = "LOADER", workerLoader = ())',
        '(name = "INTERNET", service = "internet")',
        '(name = "DAEMON", service = "daemon")',
        f'(name = "LOADED_VERSIONS", json = "{int(cell.loaded_versions)}")',
    ]
    services = [
        _network(cell.egress),
        f'(name = "daemon", external = (address = {_unix(cell.daemon)}, http = ()))',
    ]
    if cell.state is not None:
        services.append(f'(name = "state", external = (address = {_unix(cell.state)}, http = ()))')
        # Its class is lent to functions (js/inside.js); the service behind it answers nobody.
        nobody = '(name = "fetcher", service = (name = "main", entrypoint = "Nobody"))'
        template = f'(moduleName = "cloudflare-internal:d1-api", innerBindings = [{nobody}])'
        bindings += [
            '(name = "STATE", service = "state")',
            '(name = "CODEC", queue = (name = "main", entrypoint = "Codec"))',
            f'(name = "D1_TEMPLATE", wrapped = {template})',
        ]
    if cell.calls is not None:
        services.append(f'(name = "calls", external = (address = {_unix(cell.calls)}, http = ()))')
        bindings.append('(name = "CALLS", service = "calls")')
    if cell.files is not None:
        services.append(f'(name = "files", disk = (path = {quoted(str(cell.files))}))')
        bindings += [
            '(name = "FILES", service = "files")',
            f'(name = "FILES_OF_ALL", json = "{"true" if cell.files_of_all else "false"}")',
        ]
    sockets = [_socket(SOCKET_NAME, cell.listen, "main")]
    if cell.promoted is not None:
        version = {"version": cell.promoted.version_id, "function": cell.promoted.function}
        private = f'(name = "promoted", entrypoint = {quoted(RESERVED_PREFIX)})'
        bindings += [
            f'(name = "PROMOTED", service = {private})',
            f'(name = "PROMOTED_VERSION", json = {quoted(json.dumps(version))})',
        ]
        services.append(_promoted(cell.promoted))
        # First, so that it is there when the other one is announced.
        sockets.insert(0, _socket("promoted", cell.promoted_listen, "promoted"))
    services.insert(0, _worker(cell.modules, bindings))
    return _config(services, sockets, COLLECTING)


def render_check_cell(cell: CheckCell) -> str:
    """
    The whole configuration of a check cell.
    """
    services = [_worker(cell.modules, ['(name = "LOADER", workerLoader = ())']), _network(NOTHING)]
    # With any flag of V8 workerd cannot use what it has compiled beforehand, and each isolate
    # starts later by a fifth. A process that answers requests needs them; this one does not, unless
    # it is to do with as much memory as those have.
    return _config(
        services, [_socket(SOCKET_NAME, cell.listen, "main")], COLLECTING if cell.collects else ""
    )


def _config(services: Iterable[str], sockets: Iterable[str], flags: str) -> str:
    listed = ",\n    ".join(services)
    listening = ",\n    ".join(sockets)
    # Structured: whatever Workers print goes to standard output, and standard error has the
    # runtime's own words alone.
    return f"""using Workerd = import "/workerd/workerd.capnp";

const config :Workerd.Config = (
  services = [
    {listed},
  ],
  {flags}
  logging = (structuredLogging = true),
  sockets = [
    {listening},
  ],
);
"""


def _socket(name: str, listen: Path, service: str) -> str:
    return (
        f"(name = {quoted(name)}, address = {_unix(listen)}, service = {quoted(service)}, "
        f"http = (cfBlobHeader = {quoted(ROUTE_AND_CF)}, forwardedProtoHeader = {quoted(PROTO)}))"
    )


def _promoted(version: Promoted) -> str:
    flags = ", ".join(map(quoted, version.compatibility_flags))
    bindings = ", ".join(_value(name, value) for name, value in version.env.items())
    return (
        f'(name = "promoted", worker = ('
        f"modules = [{', '.join(map(_part, version.modules))}], "
        f"compatibilityDate = {quoted(version.compatibility_date)}, "
        f"compatibilityFlags = [{flags}], "
        f'bindings = [{bindings}], globalOutbound = "internet"))'
    )


def _value(name: str, value: JSON) -> str:
    return f"(name = {quoted(name)}, json = {quoted(json.dumps(value))})"


_PARTS: Final = {
    ModuleKind.ESM: "esModule",
    ModuleKind.COMMONJS: "commonJsModule",
    ModuleKind.TEXT: "text",
    ModuleKind.DATA: "data",
    ModuleKind.JSON: "json",
    ModuleKind.WASM: "wasm",
}


def _part(module: Module) -> str:
    if module.kind in {ModuleKind.DATA, ModuleKind.WASM}:
        content = f'0x"{module.content.hex()}"'
    else:
        content = quoted(module.content.decode())
    return f"(name = {quoted(module.name)}, {_PARTS[module.kind]} = {content})"


def _worker(modules: tuple[tuple[str, str], ...], bindings: Iterable[str]) -> str:
    return (
        f'(name = "main", worker = (modules = [{_modules(modules)}], '
        f"compatibilityDate = {quoted(_COMPATIBILITY_DATE)}, "
        f"compatibilityFlags = [{FLAGS}], "
        f"bindings = [{', '.join(bindings)}]))"
    )


@functools.lru_cache(8)
def _modules(modules: tuple[tuple[str, str], ...]) -> str:
    # The same for all cells of a kind, and long.
    return ", ".join(_module(name, text) for name, text in modules)


def _module(name: str, text: str) -> str:
    # What runs in functions' isolates is text to the router, which hands it on.
    kind = "text" if name.startswith("client_") else "esModule"
    return f"(name = {quoted(name)}, {kind} = {quoted(text)})"


def _network(egress: Egress) -> str:
    allow = ", ".join(map(quoted, egress.allow))
    deny = ", ".join(map(quoted, egress.deny))
    return (
        f'(name = "internet", network = (allow = [{allow}], deny = [{deny}], '
        "tlsOptions = (trustBrowserCas = true)))"
    )


def _unix(path: Path) -> str:
    return quoted(f"unix:{path}")
