"""Finding the esbuild program: the project's, ours, or the one on PATH."""

import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

import attrs

from workerd_faas.cli.config.files import is_trusted
from workerd_faas.cli.failure import project_failure

MINIMUM: Final = (0, 25, 12)
"""The oldest version that knows all the options that we use."""

_MACHINES: Final = {"x86_64": "x64", "amd64": "x64", "aarch64": "arm64", "arm64": "arm64"}


@attrs.frozen
class Esbuild:
    """
    A program that can be used.
    """

    path: Path
    version: str


def _package() -> str:
    machine = platform.machine().lower()
    system = {"win32": "win32", "darwin": "darwin"}.get(sys.platform, sys.platform)
    return f"{system}-{_MACHINES.get(machine, machine)}"


def candidates(project: Path, path: str | None) -> Iterator[Path]:
    """
    Where it may be, the best place first.

    Args:
        path: Value of `PATH`.
    """
    here = Path(__file__).resolve().parent
    for start in (project, here):
        for directory in (start, *start.parents):
            modules = directory / "node_modules"
            yield modules / "@esbuild" / _package() / "bin" / "esbuild"
            yield modules / "esbuild" / "bin" / "esbuild"
    found = shutil.which("esbuild", path=path)
    if found is not None:
        yield Path(found)


def _version(binary: Path) -> str | None:
    """
    What it says its version is; None when it is not a program that runs here. A script is none:
    it would need Node.js.
    """
    try:
        with binary.open("rb") as file:
            if file.read(2) == b"#!":
                return None
        done = subprocess.run(
            [binary, "--version"], capture_output=True, timeout=20, check=True, text=True
        )
    except (OSError, subprocess.SubprocessError, UnicodeDecodeError):
        return None
    version = done.stdout.strip()
    return version if re.fullmatch(r"\d+\.\d+\.\d+", version) else None


def find_esbuild(project: Path, environ: Mapping[str, str]) -> Esbuild:
    """
    The first usable one.

    Raises:
        Failure: there is none.
    """
    passed_over = []
    for candidate in candidates(project, environ.get("PATH")):
        if not candidate.is_file() or not is_trusted(candidate, project):
            continue
        if (version := _version(candidate.resolve())) is not None:
            if tuple(map(int, version.split("."))) >= MINIMUM:
                return Esbuild(candidate.resolve(), version)
            passed_over.append(f"{candidate} is version {version}, which is too old")
    raise project_failure(
        "esbuild is not installed; it bundles TypeScript and npm packages.",
        details=passed_over,
        hint="run `npm install --save-dev esbuild`, or set no_bundle to deploy plain modules",
    )
