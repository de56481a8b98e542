"""The files of a project's site, as Wrangler finds them."""

import hashlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import attrs

from workerd_faas.cli.assets.ignore import Ignore, parse_ignore
from workerd_faas.cli.assets.types import content_type_of
from workerd_faas.cli.config.assets import Assets
from workerd_faas.cli.config.files import shown
from workerd_faas.cli.failure import project_failure
from workerd_faas.domain.limits import MIB, AssetLimits

_IGNORE: Final = ".assetsignore"
_RULES: Final = ("_headers", "_redirects")
_PAGES_WORKER: Final = "_worker.js"


@attrs.frozen(kw_only=True)
class SiteFile:
    """
    A file; `hash` names its content and type.
    """

    source: Path
    hash: str
    size: int
    content_type: str


@attrs.frozen(kw_only=True)
class Site:
    """
    Attributes:
        files: By path on the site.
        config: `metadata.assets.config`.
    """

    files: Mapping[str, SiteFile]
    config: Mapping[str, Any]

    @property
    def size(self) -> int:
        """
        Bytes of all files, each content counted once.
        """
        return sum({file.hash: file.size for file in self.files.values()}.values())

    @property
    def manifest(self) -> dict[str, dict[str, Any]]:
        """
        What begins an upload session.
        """
        return {path: {"hash": file.hash, "size": file.size} for path, file in self.files.items()}


def collect_site(assets: Assets, limits: AssetLimits | None = None) -> Site:
    """
    Find and hash the files.

    Raises:
        Failure: the directory is not there, or there is too much in it.
    """
    limits = limits or AssetLimits()
    directory = assets.directory
    if not directory.is_dir():
        raise project_failure(
            f"The directory of assets {shown(directory)} does not exist.",
            hint="build the site first, or correct assets.directory",
        )
    try:
        files = dict(_files(directory, limits))
        rules = {name: text for name in _RULES if (text := _text(directory / name)) is not None}
    except OSError as error:
        raise project_failure(f"{error.filename} cannot be read: {error.strerror}.") from None
    if len(files) > limits.files:
        raise project_failure(
            f"The site has {len(files)} files; {limits.files} are allowed.",
            hint=f"name what is not part of it in {shown(directory / _IGNORE)}",
        )
    return Site(files=files, config={**assets.config, **rules})


def _files(directory: Path, limits: AssetLimits) -> Iterator[tuple[str, SiteFile]]:
    own = _text(directory / _IGNORE)
    ignore = parse_ignore(own or "")
    for path in _paths(directory, "", ignore):
        if own is None and path.partition("/")[0] == _PAGES_WORKER:
            raise project_failure(
                f"{_PAGES_WORKER} would be public: a Pages project's code is no asset.",
                hint=f"name it in {shown(directory / _IGNORE)}, or make that file empty to "
                "upload it all the same",
            )
        source = directory / path
        size = source.stat().st_size
        if size > limits.file:
            raise project_failure(
                f"{shown(source)} has {size / MIB:.1f} MiB; a file may have "
                f"{limits.file // MIB} MiB.",
                hint=f"name it in {shown(directory / _IGNORE)} if it is not part of the site",
            )
        content_type = content_type_of(path)
        digest = hashlib.sha256(content_type.encode() + b"\0" + source.read_bytes()).hexdigest()
        yield (
            f"/{path}",
            SiteFile(source=source, hash=digest[:32], size=size, content_type=content_type),
        )


def _paths(directory: Path, below: str, ignore: Ignore) -> Iterator[str]:
    """
    Paths of files, links to files followed and links to directories not.
    """
    with os.scandir(directory / below) as entries:
        found = sorted(entries, key=lambda entry: entry.name)
    for entry in found:
        path = f"{below}/{entry.name}" if below else entry.name
        is_directory = entry.is_dir(follow_symlinks=False)
        if ignore.ignores(path, is_directory=is_directory):
            continue
        if is_directory:
            yield from _paths(directory, path, ignore)
        elif entry.is_file():
            yield path


def _text(path: Path) -> str | None:
    try:
        return path.read_text("utf-8")
    except FileNotFoundError:
        return None
    except UnicodeDecodeError:
        raise project_failure(f"{shown(path)} is not UTF-8.") from None
