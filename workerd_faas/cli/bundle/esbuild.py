"""Bundling with esbuild, with the options that Wrangler 4.164 gives it."""

import json
import os.path
import posixpath
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import attrs

from workerd_faas.cli.bundle.additional import find_additional
from workerd_faas.cli.bundle.binary import Esbuild
from workerd_faas.cli.bundle.nodejs import NodeMode, builtin_hint, has_navigator, node_mode
from workerd_faas.cli.bundle.resolver import Resolver
from workerd_faas.cli.bundle.service import Output, build
from workerd_faas.cli.bundle.sourcemap import relocate
from workerd_faas.cli.bundle.worker import Worker, distinct
from workerd_faas.cli.config.project import Project
from workerd_faas.cli.config.rules import effective_rules
from workerd_faas.cli.failure import Failure, project_failure
from workerd_faas.domain.model import Module, ModuleKind

_OUTDIR: Final = ".wrkst-build"
"""Where the output would be written; it never is. Sources in the source map are relative to it."""

_UNRESOLVED: Final = re.compile(r'Could not resolve "(.+?)"')


def bundle_with_esbuild(
    project: Project, main: Path, esbuild: Esbuild, environ: Mapping[str, str]
) -> Worker:
    """
    One ES module of the entry point and all that it imports, and the modules by rule.

    Raises:
        Failure: it cannot be built; the message has the places.
    """
    project, main = _without_links(project, main)
    rules = effective_rules(project.rules)
    date = project.compatibility_date or ""
    mode = node_mode(date, project.compatibility_flags)
    additional = find_additional(project, main, rules) if project.find_additional_modules else []
    module_root = project.module_root or main.parent
    resolver = Resolver(
        root=project.root,
        rules=rules,
        mode=mode,
        alias=project.alias,
        preserve_file_names=project.preserve_file_names,
        additional={os.path.normpath(module_root / each.name): each for each in additional},
    )
    output = build(
        esbuild.path,
        esbuild.version,
        entry=main,
        directory=project.root,
        flags=list(_flags(project, main, environ)),
        plugin=resolver,
        environ=environ,
    )
    if output.errors:
        raise _build_failure(output, mode)
    code, source_map = _entry_files(output, main.stem)
    is_module = bool(_entry_exports(output.metafile))
    if not is_module and b"addEventListener" not in code:
        raise project_failure(
            f"{_relative(main, project.root)} exports nothing, and listens to nothing.",
            hint="write `export default { fetch(request, env, ctx) { … } }`",
        )
    name = f"{main.stem}.js"
    return Worker(
        main=Module(
            name=name, kind=ModuleKind.ESM if is_module else ModuleKind.COMMONJS, content=code
        ),
        modules=distinct([*additional, *resolver.modules]),
        source_maps={name: relocate(source_map, name, _in_project)},
        upload_maps=project.upload_source_maps is not False,
        bundler=f"esbuild {esbuild.version}",
        warnings=tuple(_warnings(output, resolver, rules.warnings)),
    )


def _without_links(project: Project, main: Path) -> tuple[Project, Path]:
    """
    The same with the real path of the project: esbuild names files by their real paths, and they
    must be comparable with ours.
    """
    root = project.root.resolve()

    def real(path: Path | None) -> Path | None:
        if path is None or not path.is_relative_to(project.root):
            return path
        return root / path.relative_to(project.root)

    moved = attrs.evolve(
        project,
        root=root,
        config_path=real(project.config_path),
        module_root=real(project.module_root),
        tsconfig=real(project.tsconfig),
    )
    return moved, real(main) or main


def _flags(project: Project, main: Path, environ: Mapping[str, str]) -> Iterator[str]:
    yield from (
        "--bundle",
        f"--outdir={project.root / _OUTDIR}",
        f"--entry-names={main.stem}",
        "--format=esm",
        "--target=es2024",
        "--supported:import-source=true",
        "--supported:using=true",
        "--conditions=workerd,worker,browser",
        "--loader:.js=jsx",
        "--loader:.mjs=jsx",
        "--loader:.cjs=jsx",
        "--external:__STATIC_CONTENT_MANIFEST",
        f"--jsx-factory={project.jsx_factory}",
        f"--jsx-fragment={project.jsx_fragment}",
    )
    # Without upload the map is made all the same: error messages need it.
    yield "--sourcemap=external" if project.upload_source_maps is False else "--sourcemap=linked"
    if project.minify:
        yield "--minify"
    if project.keep_names:
        yield "--keep-names"
    if project.tsconfig is not None:
        yield f"--tsconfig={project.tsconfig}"
    if has_navigator(project.compatibility_date or "", project.compatibility_flags):
        yield '--define:navigator.userAgent="Cloudflare-Workers"'
    node_env = json.dumps(environ.get("NODE_ENV") or "production")
    defines = {
        "process.env.NODE_ENV": node_env,
        "global.process.env.NODE_ENV": node_env,
        "globalThis.process.env.NODE_ENV": node_env,
        **project.define,
    }
    for name, value in defines.items():
        yield f"--define:{name}={value}"


def _relative(path: Path, root: Path) -> str:
    return os.path.relpath(path, root)


def _in_project(source: str) -> str:
    """
    A source of the map relative to the project; virtual ones (`namespace:path`) stay.
    """
    if re.match(r"[a-z][a-z-]+:", source):
        return source
    return posixpath.normpath(f"{_OUTDIR}/{source}")


def _entry_exports(metafile: bytes) -> list[str]:
    outputs = json.loads(metafile)["outputs"]
    entry = next(output for output in outputs.values() if output.get("entryPoint") is not None)
    exports: list[str] = entry["exports"]
    return exports


def _entry_files(output: Output, stem: str) -> tuple[bytes, bytes]:
    files = {Path(path).name: content for path, content in output.files.items()}
    return files[f"{stem}.js"], files[f"{stem}.js.map"]


def _warnings(output: Output, resolver: Resolver, rules: tuple[str, ...]) -> Iterator[str]:
    yield from rules
    for message in output.warnings:
        yield "\n  ".join(_shown(message))
    for name, importers in sorted(resolver.node_imports.items()):
        files = ", ".join(sorted(_relative(Path(each), resolver.root) for each in importers))
        hint = builtin_hint(name, resolver.mode) or "the function may fail when it runs"
        yield f'"{name}" is imported by {files}; {hint}'


def _build_failure(output: Output, mode: NodeMode) -> Failure:
    lines: list[str] = []
    hint = None
    for message in output.errors:
        lines.extend(_shown(message))
        unresolved = _UNRESOLVED.search(str(message.get("text")))
        if unresolved and hint is None:
            hint = builtin_hint(unresolved[1], mode) or (
                f"install it (`npm install {unresolved[1]}`) or correct the import"
                if not unresolved[1].startswith((".", "/"))
                else None
            )
    count = len(output.errors)
    return project_failure(
        f"The build failed with {count} error{'s' if count > 1 else ''}:", details=lines, hint=hint
    )


def _shown(message: Mapping[str, Any]) -> Iterator[str]:
    """
    A message of esbuild: the place, the line, and notes that have a place of their own.
    """
    location = message.get("location")
    yield _place(location) + str(message.get("text"))
    if location and location.get("lineText"):
        number = str(location["line"])
        line = str(location["lineText"]).splitlines()[0].replace("\t", " ")
        column = len(line.encode()[: location["column"]].decode("utf-8", "replace"))
        if len(line) <= 160:
            yield f"  {number} | {line}"
            yield f"  {' ' * len(number)} | {' ' * column}^"
    for each in message.get("notes") or []:
        if each.get("location"):
            yield f"  {_place(each['location'])}{each.get('text')}"


def _place(location: Mapping[str, Any] | None) -> str:
    if not location:
        return ""
    return f"{location['file']}:{location['line']}:{location['column'] + 1}: "
