"""Modules that are found by walking a directory (`find_additional_modules`, `no_bundle`)."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from workerd_faas.cli.config.project import Project
from workerd_faas.cli.config.rules import RuleSet, matches
from workerd_faas.cli.failure import project_failure
from workerd_faas.domain.model import Module, ModuleKind

_SKIPPED: Final = frozenset({".git", ".wrangler"})


def find_additional(project: Project, main: Path, rules: RuleSet) -> list[Module]:
    """
    All files below the module root that match a rule, but the entry point.

    Directories that are links are not entered. A file that is a link out of the project is
    refused: a pattern must not pick up what nobody named.

    Raises:
        Failure: such a link, or a file that cannot be read.
    """
    root = project.module_root or main.parent
    found = []
    for path in sorted(_files(root)):
        name = path.relative_to(root).as_posix()
        kind = _kind(name, rules)
        if kind is None or path in (main, project.config_path):
            continue
        if not _is_text(name):
            raise project_failure(f"{name!r} matches a module rule, but its name is not UTF-8.")
        _check_link(path, (root, project.root))
        try:
            content = path.read_bytes()
        except OSError as error:
            raise project_failure(f"{path} cannot be read: {error.strerror}.") from None
        found.append(Module(name=name, kind=kind, content=content))
    return found


def _files(root: Path) -> Iterator[Path]:
    try:
        with os.scandir(root) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    if entry.name not in _SKIPPED:
                        yield from _files(Path(entry.path))
                elif entry.is_file():
                    yield Path(entry.path)
    except OSError as error:
        raise project_failure(f"{root} cannot be read: {error.strerror}.") from None


def _kind(name: str, rules: RuleSet) -> ModuleKind | None:
    for rule in rules.rules:
        if any(matches(glob, name, globstar=True) for glob in rule.globs):
            return rule.kind
    return None


def _is_text(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:  # bytes that are not UTF-8, as Python represents them
        return False
    return True


def _check_link(path: Path, allowed: tuple[Path, ...]) -> None:
    real = path.resolve()
    if not any(real.is_relative_to(root.resolve()) for root in allowed):
        raise project_failure(
            f"{path} matches a module rule but is a link to {real}, outside of the project.",
            hint="copy the file into the project, import it by name, or narrow `rules`",
        )
