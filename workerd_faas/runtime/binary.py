"""Finding workerd and asking its version."""

import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import attrs

_VERSION: Final = re.compile(r"workerd (\d{4}-\d{2}-\d{2})")
_VERSION_SECONDS: Final = 10
_CPUS: Final = {"x86_64": "64", "amd64": "64", "aarch64": "arm64", "arm64": "arm64"}

OLDEST: Final = "2026-11-17"
"""The oldest workerd that does all that we need; dates compare as text."""


class NoWorkerd(Exception):
    """
    There is no workerd that could be used; the message says what was tried and what to do.
    """


@attrs.frozen(kw_only=True)
class Workerd:
    """
    A program that says it is workerd. `version` is its date, `YYYY-MM-DD`.
    """

    path: Path
    version: str
    source: str


def npm_package() -> str:
    """
    The npm package that has the program for this machine.
    """
    machine = platform.machine().lower()
    return f"@cloudflare/workerd-{platform.system().lower()}-{_CPUS.get(machine, machine)}"


def candidates(setting: Path | None, roots: Sequence[Path]) -> Iterator[tuple[str, Path]]:
    """
    Where to look, and what to call it. With a setting, nowhere else.
    """
    if setting is not None:
        yield "the setting WORKERD", setting
        return
    for root in roots:
        yield "the project's node_modules", root / "node_modules" / npm_package() / "bin/workerd"
    on_path = shutil.which("workerd")
    if on_path is not None:
        yield "PATH", Path(on_path)


def install_roots() -> tuple[Path, ...]:
    """
    The directories that may have the project's `node_modules`: the checkout, or the environment
    that the package is installed in.
    """
    places = (Path(__file__).resolve().parents[2], Path(sys.prefix), Path(sys.prefix).parent)
    return tuple(dict.fromkeys(places))


def find(setting: Path | None = None, roots: Sequence[Path] | None = None) -> Workerd:
    """
    The first workerd that can be run. Blocks for some milliseconds.

    Args:
        setting: The setting `WORKERD`, if there is one: then nothing else is looked at.
        roots: `install_roots()` unless given.

    Raises:
        NoWorkerd: there is none, or the one that was named does not run.
    """
    tried = []
    for source, path in candidates(setting, install_roots() if roots is None else roots):
        wrong = _what_is_wrong(path)
        if wrong is None:
            try:
                return Workerd(path=path.resolve(), version=version_of(path), source=source)
            except NoWorkerd as error:
                wrong = str(error)
        tried.append(f"{path} ({source}): {wrong}")
    remedy = (
        "Correct the setting WORKERD."
        if setting is not None
        else "Run `make setup`, or set WORKERD to the program of npm's package workerd."
    )
    raise NoWorkerd("\n  ".join(["workerd was not found.", *tried]) + f"\n{remedy}")


def _what_is_wrong(path: Path) -> str | None:
    if not path.is_file():
        return "no such file"
    if not os.access(path, os.X_OK):
        return "not executable"
    return None


def version_of(path: Path) -> str:
    """
    What `workerd --version` says. Blocks.

    Raises:
        NoWorkerd: it does not run, or is something else.
    """
    try:
        done = subprocess.run(
            [path, "--version"],
            capture_output=True,
            timeout=_VERSION_SECONDS,
            check=False,
            env={},
            text=True,
            errors="replace",
        )
    except subprocess.TimeoutExpired as error:
        raise NoWorkerd(f"did not say its version within {_VERSION_SECONDS} s") from error
    except OSError as error:
        raise NoWorkerd(f"does not run: {error.strerror}") from error
    found = _VERSION.search(done.stdout)
    if done.returncode != 0 or found is None:
        said = (done.stderr or done.stdout).strip()[:200]
        raise NoWorkerd(f"is not workerd, or does not run here: {said}")
    return found[1]
