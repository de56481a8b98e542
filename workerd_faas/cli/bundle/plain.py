"""Projects that want no bundling (`no_bundle`): files as they are."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from workerd_faas.cli.bundle.additional import find_additional
from workerd_faas.cli.bundle.sourcemap import relocate
from workerd_faas.cli.bundle.worker import Worker
from workerd_faas.cli.config.project import Project
from workerd_faas.cli.config.rules import effective_rules
from workerd_faas.cli.failure import project_failure
from workerd_faas.domain.model import Module, ModuleKind
from workerd_faas.wire.sourcemap import MalformedMap

_COMMENT: Final = b"//# sourceMappingURL="


def collect_plain(project: Project, main: Path) -> Worker:
    """
    The entry point, and what is found beside it unless `find_additional_modules` is false.

    Raises:
        Failure: a file cannot be read, or a source map that was asked for is not there.
    """
    if main.suffix not in (".js", ".mjs"):
        raise project_failure(
            f"{main.name} cannot be deployed as it is: with no_bundle the entry point must be "
            "JavaScript.",
            hint="take no_bundle away, or let `main` be the output of your own build",
        )
    rules = effective_rules(project.rules)
    found = (
        find_additional(project, main, rules)
        if project.find_additional_modules is not False
        else []
    )
    entry = Module(name=main.name, kind=ModuleKind.ESM, content=main.read_bytes())
    root = project.module_root or main.parent
    maps = {}
    if project.upload_source_maps is not False:
        strict = project.upload_source_maps is True
        files = [(entry, main), *((module, root / module.name) for module in found)]
        for module, path in files:
            content = _map_of(module, path, project.root, strict)
            if content is not None:
                maps[module.name] = content
    warnings = [*rules.warnings]
    if project.minify:
        warnings.append("minify does nothing together with no_bundle")
    return Worker(
        main=entry,
        modules=tuple(found),
        source_maps=maps,
        bundler="no bundling",
        warnings=tuple(warnings),
    )


def _map_of(module: Module, path: Path, root: Path, strict: bool) -> bytes | None:
    """
    The source map that a module's last comment names.
    """
    if module.kind not in (ModuleKind.ESM, ModuleKind.COMMONJS):
        return None
    name = next(_comments(module.content), None)
    if name is None:
        return None
    target = path.parent / name
    try:
        if name.startswith("data:") or not target.resolve().is_relative_to(root.resolve()):
            raise MalformedMap("it must be a file in the project")
        return relocate(target.read_bytes(), module.name, _without_dots)
    except (OSError, MalformedMap) as error:
        if not strict:
            return None
        raise project_failure(f"The source map of {path} cannot be used: {error}.") from None


def _comments(content: bytes) -> Iterator[str]:
    for line in reversed(content.splitlines()):
        stripped = line.strip()
        if stripped.startswith(_COMMENT):
            yield stripped.removeprefix(_COMMENT).decode("utf-8", "replace").strip()
        elif stripped and not stripped.startswith((b"//#", b"//@")):
            return


def _without_dots(source: str) -> str:
    return re.sub(r"^(\.{1,2}[/\\])+", "", source)
