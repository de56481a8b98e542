"""Bundling with the project's own Wrangler, which is asked for the upload that it would send."""

import json
import re
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import attrs

from workerd_faas.cli.bundle.programs import compile_cache
from workerd_faas.cli.bundle.worker import Worker
from workerd_faas.cli.client.multipart import MalformedForm, Part, read_form
from workerd_faas.cli.config.files import find_upwards
from workerd_faas.cli.config.project import Project
from workerd_faas.cli.failure import project_failure
from workerd_faas.domain.model import Module, ModuleKind
from workerd_faas.wire.content_types import BY_CONTENT_TYPE

_NODE: Final = (22, 0)
_SECONDS: Final = 300

NOT_INSTALLED: Final = "wrangler is not installed here or above"


@attrs.frozen
class Wrangler:
    """
    How to run it.
    """

    node: str
    script: Path


def wants_wrangler(project: Path) -> bool:
    """
    Whether the project's own package.json names Wrangler.
    """
    manifest = find_upwards("package.json", project)
    if manifest is None:
        return False
    try:
        document = json.loads(manifest.read_bytes())
        return any(
            "wrangler" in document.get(key, {}) for key in ("dependencies", "devDependencies")
        )
    except (OSError, ValueError, TypeError, AttributeError):
        return False


def find_wrangler(project: Path, environ: Mapping[str, str]) -> Wrangler | str:
    """
    The project's Wrangler, or why it cannot be used.
    """
    script = find_upwards("node_modules/wrangler/bin/wrangler.js", project)
    if script is None:
        return NOT_INSTALLED
    node = shutil.which("node", path=environ.get("PATH"))
    if node is None:
        return "wrangler needs Node.js, which is not on PATH"
    try:
        done = subprocess.run(
            [node, "--version"], capture_output=True, timeout=20, check=True, text=True
        )
    except (OSError, subprocess.SubprocessError):
        return f"{node} does not run"
    version = re.match(r"v(\d+)\.(\d+)", done.stdout)
    if version is None or (int(version[1]), int(version[2])) < _NODE:
        return f"wrangler needs Node.js {_NODE[0]} or later, not {done.stdout.strip()}"
    return Wrangler(node, script)


def require_wrangler(project: Path, environ: Mapping[str, str]) -> Wrangler:
    """
    The project's Wrangler.

    Raises:
        Failure: saying why it cannot be used.
    """
    found = find_wrangler(project, environ)
    if isinstance(found, str):
        raise project_failure(
            f"{found[0].upper()}{found[1:]}.",
            hint="go to a project that has it, or add it to yours: "
            "`npm install --save-dev wrangler`"
            if found == NOT_INSTALLED
            else None,
        )
    return found


def bundle_with_wrangler(
    project: Project, main: Path, wrangler: Wrangler, environ: Mapping[str, str]
) -> Worker:
    """
    Run `wrangler deploy --dry-run` and take the modules that it would upload.

    Raises:
        Failure: Wrangler failed.
    """
    with tempfile.TemporaryDirectory(prefix="wrkst-") as temporary:
        outfile = Path(temporary) / "upload"
        command = [wrangler.node, str(wrangler.script), *_arguments(project, main, outfile)]
        try:
            done = subprocess.run(
                command,
                cwd=project.root,
                env={**environ, **compile_cache(environ), **_QUIET},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                timeout=_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise project_failure(f"wrangler did not end within {_SECONDS} s.") from None
        said = done.stdout.decode("utf-8", "replace").strip().splitlines()
        if done.returncode != 0:
            raise project_failure(
                "The project's wrangler could not build it:",
                details=said[-40:],
                hint="`wrkst deploy --bundler esbuild` does without wrangler",
            )
        try:
            parts = read_form(outfile.read_bytes())
        except (OSError, MalformedForm):
            raise project_failure(
                "The project's wrangler is too old to hand over what it builds.",
                hint="update it (`npm install --save-dev wrangler@4`), or use --bundler esbuild",
            ) from None
    return _worker(project, parts)


_QUIET: Final = {
    "CI": "1",
    "NO_COLOR": "1",
    "WRANGLER_SEND_METRICS": "false",
    "WRANGLER_HIDE_BANNER": "true",
}


def _arguments(project: Project, main: Path, outfile: Path) -> list[str]:
    arguments = ["deploy", str(main), "--dry-run", f"--outfile={outfile}"]
    if project.config_path is not None:
        arguments.append(f"--config={project.config_path}")
    arguments.append(f"--env={project.environment or ''}")
    if project.name:
        arguments.append(f"--name={project.name}")
    if project.compatibility_date:
        arguments.append(f"--compatibility-date={project.compatibility_date}")
    arguments += [f"--compatibility-flags={flag}" for flag in project.compatibility_flags]
    arguments += [f"--define={name}:{value}" for name, value in project.define.items()]
    arguments.append(f"--minify={str(project.minify).lower()}")
    if project.no_bundle:
        arguments.append("--no-bundle")
    return arguments


def _worker(project: Project, parts: Sequence[Part]) -> Worker:
    metadata: dict[str, Any] = {}
    modules: dict[str, Module] = {}
    maps: dict[str, bytes] = {}
    for part in parts:
        if part.name == "metadata" and part.filename is None:
            metadata = json.loads(part.content)
            continue
        module = _module(part)
        if module.kind is ModuleKind.SOURCE_MAP:
            maps[module.name.removesuffix(".map")] = module.content
        else:
            modules[module.name] = module
    main = modules.pop(str(metadata.get("main_module", metadata.get("body_part"))), None)
    if main is None:
        raise project_failure(
            "Wrangler names no entry point in what it would upload.",
            hint="write `export default { fetch(request, env, ctx) { … } }`",
        )
    return Worker(
        main=main,
        modules=tuple(modules.values()),
        source_maps=maps,
        upload_maps=project.upload_source_maps is not False,
        bundler="the project's wrangler",
    )


def _module(part: Part) -> Module:
    kind = BY_CONTENT_TYPE.get((part.content_type or "").partition(";")[0])
    if kind is None:
        raise project_failure(
            f"wrangler made a module of a kind that is not supported: {part.name} "
            f"({part.content_type})."
        )
    return Module(name=part.name, kind=kind, content=part.content)
