"""
One esbuild process that builds with a plugin written in Python.

esbuild asks, in any order and many at a time; a question to the plugin may itself need an answer
of esbuild. So the plugin's callback is a generator: it yields what it asks and is resumed with
the answer, and one loop over the packets serves all of them.
"""

import subprocess
import tempfile
from collections.abc import Generator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any, Final, Protocol

import attrs

from workerd_faas.cli.bundle.stdio_protocol import (
    MalformedPacket,
    Packet,
    decode_packet,
    encode_packet,
    read_frame,
)
from workerd_faas.cli.failure import project_failure

_KEY: Final = 0
_CALLBACK: Final = 1
_PLAIN: Final = 1
"""Marks questions that the plugin itself asks, so that it is not asked in return."""


@attrs.frozen(kw_only=True)
class Import:
    """
    Something that a file imports (or requires), to be resolved.

    Attributes:
        kind: `import-statement`, `dynamic-import`, `require-call`, `entry-point`, …
    """

    path: str
    importer: str
    resolve_dir: str
    kind: str


@attrs.frozen
class Found:
    """
    Where esbuild itself would find an import; `path` is empty when nowhere.
    """

    path: str
    external: bool


@attrs.frozen(kw_only=True)
class Resolved:
    """
    What an import is.

    Attributes:
        external: It stays an import of `path` in the output.
        error: It cannot be; why.
    """

    path: str = ""
    namespace: str = ""
    external: bool = False
    error: str | None = None


Resolution = Generator[Import, Found, Resolved | None]
"""Yields imports that esbuild shall resolve by itself; None leaves the import to esbuild."""


class Plugin(Protocol):
    """
    Takes part in a build.

    Attributes:
        filter: Regular expression (Go's syntax) of the imports it wants to see.
        namespace: Where the contents of its own files are asked for.
    """

    filter: str
    namespace: str

    def resolve(self, wanted: Import) -> Resolution:
        """
        Say what an import is.
        """

    def contents(self, path: str) -> str:
        """
        JavaScript of a file in the plugin's namespace.
        """


@attrs.frozen(kw_only=True)
class Output:
    """
    What esbuild made: `files` by path. With `errors` there is nothing else.
    """

    files: Mapping[str, bytes]
    metafile: bytes
    errors: Sequence[Mapping[str, Any]]
    warnings: Sequence[Mapping[str, Any]]


@attrs.define
class _Build:
    """
    The conversation of one build.
    """

    to_esbuild: IO[bytes]
    from_esbuild: IO[bytes]
    plugin: Plugin
    _next_id: int = 0
    _waiting: dict[int, tuple[int, Resolution]] = attrs.Factory(dict)

    def run(self, request: Mapping[str, Any]) -> Mapping[str, Any]:
        build = self._ask(dict(request))
        while True:
            packet = decode_packet(read_frame(self.from_esbuild))
            if packet.is_request:
                self._serve(packet.id, packet.value)
            elif packet.id == build:
                value: Mapping[str, Any] = packet.value
                return value
            else:
                asker, resolution = self._waiting.pop(packet.id)
                answer = packet.value
                found = Found(
                    "" if answer.get("errors") else answer.get("path") or "",
                    bool(answer.get("external")),
                )
                self._go_on(asker, resolution, found)

    def _serve(self, request_id: int, request: Mapping[str, Any]) -> None:
        command = request.get("command")
        if command == "on-resolve" and request.get("pluginData") != _PLAIN:
            wanted = Import(
                path=request["path"],
                importer=request["importer"],
                resolve_dir=request["resolveDir"],
                kind=request["kind"],
            )
            self._go_on(request_id, self.plugin.resolve(wanted), None)
        elif command == "on-load":
            contents = self.plugin.contents(request["path"]).encode()
            self._answer(request_id, {"id": _CALLBACK, "contents": contents, "loader": "js"})
        elif command == "on-start":
            self._answer(request_id, {"errors": [], "warnings": []})
        else:
            self._answer(request_id, {})

    def _go_on(self, asker: int, resolution: Resolution, found: Found | None) -> None:
        try:
            wanted = next(resolution) if found is None else resolution.send(found)
        except StopIteration as end:
            resolved: Resolved | None = end.value
            self._answer(asker, {} if resolved is None else _resolve_answer(resolved))
            return
        question = self._ask(
            {
                "command": "resolve",
                "key": _KEY,
                "pluginName": "wrkst",
                "path": wanted.path,
                "importer": wanted.importer,
                "resolveDir": wanted.resolve_dir,
                "kind": wanted.kind,
                "pluginData": _PLAIN,
            }
        )
        self._waiting[question] = (asker, resolution)

    def _ask(self, value: dict[str, Any]) -> int:
        number, self._next_id = self._next_id, self._next_id + 1
        self._write(Packet(number, True, value))
        return number

    def _answer(self, number: int, value: dict[str, Any]) -> None:
        self._write(Packet(number, False, value))

    def _write(self, packet: Packet) -> None:
        self.to_esbuild.write(encode_packet(packet))
        self.to_esbuild.flush()


def _resolve_answer(resolved: Resolved) -> dict[str, Any]:
    answer: dict[str, Any] = {"id": _CALLBACK}
    if resolved.error is not None:
        message = {"id": "", "pluginName": "", "text": resolved.error, "notes": [], "detail": -1}
        return answer | {"errors": [message | {"location": None}]}
    return answer | {
        "path": resolved.path,
        "namespace": resolved.namespace,
        "external": resolved.external,
    }


def build(
    binary: Path,
    version: str,
    *,
    entry: Path,
    directory: Path,
    flags: Sequence[str],
    plugin: Plugin,
    environ: Mapping[str, str],
) -> Output:
    """
    Bundle `entry`, in memory.

    Args:
        version: That of the program, which it wants to hear.
        flags: Options of esbuild's command line.

    Raises:
        Failure: esbuild broke down.
    """
    callbacks = [{"id": _CALLBACK, "filter": plugin.filter, "namespace": ""}]
    loading = [{"id": _CALLBACK, "filter": ".*", "namespace": plugin.namespace}]
    request = {
        "command": "build",
        "key": _KEY,
        "entries": [["", str(entry)]],
        "flags": [*flags, "--log-level=silent", "--log-limit=0", "--metafile"],
        "write": False,
        "stdinContents": None,
        "stdinResolveDir": None,
        "absWorkingDir": str(directory),
        "nodePaths": [],
        "context": False,
        "plugins": [
            {
                "name": "wrkst",
                "onStart": False,
                "onEnd": False,
                "onResolve": callbacks,
                "onLoad": loading,
            }
        ],
    }
    with (
        tempfile.TemporaryFile() as complaints,
        subprocess.Popen(
            [binary, f"--service={version}"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=complaints,
            env=dict(environ),
            cwd=directory,
        ) as process,
    ):
        try:
            if process.stdin is None or process.stdout is None:
                raise EOFError
            read_frame(process.stdout)  # the version, which we know
            answer = _Build(process.stdin, process.stdout, plugin).run(request)
        except (EOFError, OSError, MalformedPacket, KeyError):
            process.kill()
            complaints.seek(0)
            said = complaints.read(2000).decode("utf-8", "replace").strip()
            raise project_failure(
                f"{binary} (esbuild {version}) broke down.", details=said.splitlines()
            ) from None
        except BaseException:
            process.kill()
            raise
        finally:
            if process.stdin is not None:
                process.stdin.close()
    if answer.get("error"):
        return Output(files={}, metafile=b"", errors=[{"text": answer["error"]}], warnings=[])
    return Output(
        files={file["path"]: file["contents"] for file in answer.get("outputFiles") or []},
        metafile=answer.get("metafile") or b"",
        errors=answer.get("errors") or [],
        warnings=answer.get("warnings") or [],
    )
