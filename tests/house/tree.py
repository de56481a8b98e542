"""The checkout as the tests of conventions see it."""

import subprocess
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[2]


def tracked() -> list[Path]:
    """
    Every file that belongs to the project: in the index or about to be, and still there.
    """
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
