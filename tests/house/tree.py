"""The checkout as the tests of conventions see it."""

import subprocess
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[2]


NOT_OURS: Final = {".venv", "node_modules", ".data", "build", "dist", "__pycache__"}
"""Directories that are made, for a checkout without git."""


def tracked() -> list[Path]:
    """
    Every file that belongs to the project: in the index or about to be.
    """
    if not (ROOT / ".git").exists():
        return sorted(
            path
            for path in ROOT.rglob("*")
            if path.is_file()
            and not NOT_OURS & set(path.relative_to(ROOT).parts)
            and not any(part.endswith(("_cache", ".egg-info")) for part in path.parts)
        )
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=True,
        text=True,
    )
    return sorted({ROOT / name for name in listed.stdout.split("\0") if name})


def texts() -> list[tuple[Path, str]]:
    """
    Every file of the project that is text, with its content.
    """
    found = []
    for path in tracked():
        if path.is_file():
            try:
                found.append((path, path.read_text("utf-8")))
            except UnicodeDecodeError:
                continue
    return found
