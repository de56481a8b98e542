"""Building a project: its own build command, then the bundler that fits."""

import subprocess
from collections.abc import Callable, Mapping
from typing import Final

from workerd_faas.cli.bundle.binary import find_esbuild
from workerd_faas.cli.bundle.esbuild import bundle_with_esbuild
from workerd_faas.cli.bundle.plain import collect_plain
from workerd_faas.cli.bundle.programs import build_environment
from workerd_faas.cli.bundle.worker import Worker, check_entry
from workerd_faas.cli.bundle.wrangler import (
    Wrangler,
    bundle_with_wrangler,
    find_wrangler,
    wants_wrangler,
)
from workerd_faas.cli.config.files import find_upwards, shown
from workerd_faas.cli.config.project import Build, Project
from workerd_faas.cli.failure import project_failure

BUNDLERS: Final = ("auto", "esbuild", "wrangler")

_NOT_FOUND: Final = 127
"""How a shell ends when it does not find a program (POSIX, 2.8.2)."""


def build_worker(
    project: Project, bundler: str, environ: Mapping[str, str], note: Callable[[str], None]
) -> Worker:
    """
    Build it.

    Args:
        bundler: `auto`: the project's Wrangler if its package.json names it and it can be used,
            else esbuild.
        environ: Handed to the programs that are run, but for tokens.
        note: Told what is worth knowing on the way.

    Raises:
        Failure: it cannot be built.
    """
    environ = build_environment(environ, project.root)
    wrangler: Wrangler | str | None = None
    if bundler == "wrangler" or (bundler == "auto" and wants_wrangler(project.root)):
        wrangler = find_wrangler(project.root, environ)
        if isinstance(wrangler, str):
            if bundler == "wrangler":
                raise project_failure(f"{wrangler[0].upper()}{wrangler[1:]}.")
            note(f"{wrangler}: building with esbuild")
    if isinstance(wrangler, Wrangler):
        main = check_entry(project.main, shown(project.main), must_exist=project.build is None)
        note("building with the project's wrangler (`--bundler esbuild` takes less time)")
        return bundle_with_wrangler(project, main, wrangler, environ)
    run_build_command(project, environ, note)
    main = check_entry(project.main, shown(project.main))
    if project.no_bundle:
        return collect_plain(project, main)
    return bundle_with_esbuild(project, main, find_esbuild(project.root, environ), environ)


def run_build_command(
    project: Project, environ: Mapping[str, str], note: Callable[[str], None]
) -> None:
    """
    Run the project's own build command, if it has one.

    Raises:
        Failure: it failed.
    """
    if project.build is not None:
        note(f"running the build command: {project.build.command}")
        _run(project.build, build_environment(environ, project.build.cwd))


def _run(command: Build, environ: Mapping[str, str]) -> None:
    """
    Run the project's own build command, as its author wrote it, with the shell.
    """
    if not command.cwd.is_dir():
        raise project_failure(f"build.cwd names a directory that is not there: {command.cwd}")
    done = subprocess.run(
        ["/bin/sh", "-c", command.command],
        cwd=command.cwd,
        env=dict(environ),
        stdout=2,  # standard output is for the result of our command
        check=False,
    )
    if done.returncode != 0:
        packages = find_upwards("package.json", command.cwd) is not None
        raise project_failure(
            f"The build command ended with status {done.returncode}: {command.command}",
            hint="`npm install`" if packages and done.returncode == _NOT_FOUND else None,
        )
