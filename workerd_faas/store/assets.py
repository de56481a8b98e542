"""
Files of sites: `<directory>/<account>/<two digits>/<hash>-<type>`, one account's next to nobody
else's, so that no account can find out what another has.

Cells that are users of their own read them, so they are readable to all who get this far: nobody
but the daemon can go through `DATA_DIR`, and a cell is handed the folder of its account.

The content type is part of the name (base64 for URLs, without padding), so that a file and its type
appear and disappear together. A manifest lies beside them for as long as its session lasts.
"""

import base64
import hashlib
import os
import re
import threading
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Any, Final, TypeVar

from twisted.internet.threads import deferToThreadPool

from workerd_faas.domain.limits import AssetQuota
from workerd_faas.store.durable import (
    full_disk_is_a_problem,
    make_directory,
    sync_directory,
    write_file,
)
from workerd_faas.store.site_room import SiteRoom, Usage
from workerd_faas.usecases import ports
from workerd_faas.usecases.ports import HeldFile, ReceivedFile

T = TypeVar("T")

_NAME: Final = re.compile(r"([0-9a-f]{32})-([A-Za-z0-9_-]*)")
_ACCOUNT: Final = re.compile(r"[0-9a-f]{32}")
_SHARD: Final = re.compile(r"[0-9a-f]{2}")
_MANIFESTS: Final = "manifests"
FILE: Final = 0o644
FOLDER: Final = 0o755
"""Modes: see above, who reads them."""


class AssetDirectory:
    """
    `usecases.ports.AssetFiles`.
    """

    def __init__(self, reactor: Any, directory: Path, quota: AssetQuota | None = None) -> None:
        self._reactor = reactor
        self._directory = directory
        # Held while a file's age is looked at and acted upon.
        self._ages = threading.Lock()
        self._room = SiteRoom(quota or AssetQuota(), self._look)

    async def check_room(self, account_id: str, size: int, files: int) -> None:
        """
        See `usecases.ports.AssetFiles.check_room`.
        """
        await self._in_thread(self._room.check, account_id, Usage(size, files))

    async def held(
        self, account_id: str, hashes: Collection[str], now: datetime
    ) -> Mapping[str, HeldFile]:
        """
        See `usecases.ports.AssetFiles.held`.
        """
        return await self._in_thread(self._held, account_id, frozenset(hashes), now)

    async def put(self, account_id: str, files: Sequence[ReceivedFile], now: datetime) -> None:
        """
        See `usecases.ports.AssetFiles.put`.
        """
        await self._in_thread(self._put, account_id, files, now)

    async def put_manifest(self, account_id: str, data: bytes, now: datetime) -> str:
        """
        See `usecases.ports.AssetFiles.put_manifest`.
        """
        return await self._in_thread(self._put_manifest, account_id, data, now)

    async def manifest(self, account_id: str, digest: str) -> bytes | None:
        """
        See `usecases.ports.AssetFiles.manifest`.
        """
        return await self._in_thread(self._manifest, account_id, digest)

    async def accounts(self) -> Sequence[str]:
        """
        See `usecases.ports.AssetFiles.accounts`.
        """
        return await self._in_thread(self._accounts)

    async def sweep(self, account_id: str, wanted: Collection[str], before: datetime) -> int:
        """
        See `usecases.ports.AssetFiles.sweep`.
        """
        return await self._in_thread(self._sweep, account_id, frozenset(wanted), before)

    async def _in_thread(self, work: Callable[..., T], *args: Any) -> T:
        result: T = await deferToThreadPool(
            self._reactor, self._reactor.getThreadPool(), work, *args
        )
        return result

    def _account(self, account_id: str) -> Path:
        # It is part of a path: what is no id shall not lead anywhere.
        if not _ACCOUNT.fullmatch(account_id):
            raise ValueError("not the id of an account")
        return self._directory / account_id

    def _held(
        self, account_id: str, hashes: frozenset[str], now: datetime
    ) -> Mapping[str, HeldFile]:
        account = self._account(account_id)
        found = {}
        with self._ages:
            for shard in {digest[:2] for digest in hashes}:
                for entry in _files_in(account / shard):
                    match = _NAME.fullmatch(entry.name)
                    if match is not None and match[1] in hashes:
                        os.utime(entry.path, (now.timestamp(), now.timestamp()))
                        found[match[1]] = HeldFile(
                            name=f"{shard}/{entry.name}",
                            content_type=_type_of(match[2]),
                            size=entry.stat().st_size,
                        )
        return found

    def _put(self, account_id: str, files: Sequence[ReceivedFile], now: datetime) -> None:
        account = self._account(account_id)
        paths = {
            account / file.hash[:2] / f"{file.hash}-{_name_of(file.content_type)}": file.content
            for file in files
        }
        before = [path.stat().st_size for path in paths if path.exists()]
        size = sum(map(len, paths.values())) - sum(before)
        with self._taking(account_id, Usage(size, len(paths) - len(before))):
            for path, content in paths.items():
                make_directory(path.parent, FOLDER)
                write_file(path, content, FILE)
                os.utime(path, (now.timestamp(), now.timestamp()))
            for shard in {path.parent for path in paths}:
                sync_directory(shard)

    def _put_manifest(self, account_id: str, data: bytes, now: datetime) -> str:
        digest = hashlib.sha256(data).hexdigest()
        path = self._account(account_id) / _MANIFESTS / digest
        with self._taking(account_id, Usage(0 if path.exists() else len(data))):
            make_directory(path.parent, FOLDER)
            write_file(path, data)
            os.utime(path, (now.timestamp(), now.timestamp()))
        return digest

    def _manifest(self, account_id: str, digest: str) -> bytes | None:
        try:
            data = (self._account(account_id) / _MANIFESTS / digest).read_bytes()
        except FileNotFoundError:
            return None
        return data if hashlib.sha256(data).hexdigest() == digest else None

    def _accounts(self) -> Sequence[str]:
        return [each.name for each in _entries(self._directory) if _ACCOUNT.fullmatch(each.name)]

    def _sweep(self, account_id: str, wanted: frozenset[str], before: datetime) -> int:
        removed = 0
        account = self._account(account_id)
        for folder in _entries(account):
            if _SHARD.fullmatch(folder.name) or folder.name == _MANIFESTS:
                for entry in _files_in(account / folder.name):
                    if f"{folder.name}/{entry.name}" not in wanted:
                        removed += self._removed(entry, before)
        if removed:
            self._room.forget(account_id)
        return removed

    @contextmanager
    def _taking(self, account_id: str, more: Usage) -> Iterator[None]:
        self._room.take(account_id, more)
        try:
            with full_disk_is_a_problem():
                yield
        except BaseException:
            self._room.forget(account_id)
            raise

    def _look(self, account_id: str) -> Usage:
        found = Usage()
        account = self._account(account_id)
        for folder in _entries(account):
            for entry in _files_in(Path(folder.path)) if folder.is_dir() else ():
                # It may be gone by now.
                with suppress(FileNotFoundError):
                    found += Usage(entry.stat().st_size, bool(_NAME.fullmatch(entry.name)))
        return found

    def _removed(self, entry: "os.DirEntry[str]", before: datetime) -> bool:
        with self._ages, suppress(FileNotFoundError):
            path = Path(entry.path)
            if path.stat().st_mtime < before.timestamp():
                path.unlink()
                return True
        return False


def _entries(directory: Path) -> Iterator["os.DirEntry[str]"]:
    try:
        with os.scandir(directory) as entries:
            yield from entries
    except FileNotFoundError:
        return


def _files_in(directory: Path) -> Iterator["os.DirEntry[str]"]:
    return (entry for entry in _entries(directory) if entry.is_file(follow_symlinks=False))


def _name_of(content_type: str | None) -> str:
    return base64.urlsafe_b64encode((content_type or "").encode()).rstrip(b"=").decode()


def _type_of(name: str) -> str | None:
    padded = name + "=" * (-len(name) % 4)
    return base64.urlsafe_b64decode(padded).decode("utf-8", "replace") or None


_check: type[ports.AssetFiles] = AssetDirectory
