"""What a function cell needs to serve sites: Cloudflare's asset worker, and the files."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import attrs

from workerd_faas.runtime.binary import install_roots

PACKAGE: Final = "miniflare"
"""The npm package that brings the asset worker (MIT); a release of it belongs to one of workerd."""

SOURCE: Final = Path("node_modules", PACKAGE, "dist/src/workers/assets/assets.worker.js")

_FILE: Final = 0o644
_FOLDER: Final = 0o755

MODULE: Final = "asset_worker.js"
"""What js/site.js imports it as."""


@attrs.frozen(kw_only=True)
class SiteFiles:
    """
    Attributes:
        directory: Has a directory of files for each account.
        worker: The asset worker's source.
    """

    directory: Path
    worker: str = attrs.field(repr=False)

    @property
    def module(self) -> tuple[str, str]:
        """
        Name and text of the module for the cell's configuration.
        """
        return (MODULE, self.worker)

    def of(self, account_id: str | None) -> Path:
        """
        The directory for one account's cell, or (None) for a cell of all; made if need be, since
        workerd opens it when it starts.
        """
        path = self.directory if account_id is None else self.directory / account_id
        path.mkdir(mode=_FOLDER, parents=True, exist_ok=True)
        for folder in [path] if account_id else [*path.iterdir(), path]:
            _let_cells_in(folder)
        return path


def _let_cells_in(folder: Path) -> None:
    """
    Earlier releases kept files for the daemon's user alone.
    """
    if folder.stat().st_mode & 0o005 == 0o005:
        return
    for name, folders, files in os.walk(folder, topdown=False):
        for file in files:
            Path(name, file).chmod(_FILE)
        for inner in folders:
            Path(name, inner).chmod(_FOLDER)
    folder.chmod(_FOLDER)


def find_asset_worker(roots: Sequence[Path] | None = None) -> str | None:
    """
    The source of the asset worker, None where it is not installed.

    Args:
        roots: `binary.install_roots()` unless given.
    """
    for root in install_roots() if roots is None else roots:
        try:
            return (root / SOURCE).read_text("utf-8")
        except (FileNotFoundError, NotADirectoryError):
            continue
    return None
