"""
Bundles as files named by their SHA-256.

Written to a temporary file in the same directory, synced, renamed, and the directory synced: each
of the four is needed for a bundle to be there after a power cut.
"""

import errno
import hashlib
import os
from collections.abc import Callable, Collection
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger

from workerd_faas.domain.errors import Kind, Problem
from workerd_faas.usecases import ports

T = TypeVar("T")


class BundleDirectory:
    """
    `<directory>/<first two digits>/<digest>`: `usecases.ports.Bundles`.
    """

    log = Logger()

    def __init__(self, reactor: Any, directory: Path) -> None:
        self._reactor = reactor
        self._directory = directory

    async def put(self, data: bytes) -> str:
        """
        See `usecases.ports.Bundles.put`.
        """
        return await self._in_thread(self._put, data)

    async def get(self, digest: str) -> bytes:
        """
        See `usecases.ports.Bundles.get`.
        """
        return await self._in_thread(self._get, digest)

    async def sweep(self, wanted: Collection[str]) -> int:
        """
        Remove the files that no version refers to and what interrupted uploads left; only safe
        while nothing is uploaded. Returns how many were removed.
        """
        return await self._in_thread(self._sweep, frozenset(wanted))

    async def _in_thread(self, work: Callable[..., T], *args: Any) -> T:
        result: T = await deferToThreadPool(
            self._reactor, self._reactor.getThreadPool(), work, *args
        )
        return result

    def _path(self, digest: str) -> Path:
        return self._directory / digest[:2] / digest

    def _put(self, data: bytes) -> str:
        digest = hashlib.sha256(data).hexdigest()
        path = self._path(digest)
        try:
            if path.exists() and hashlib.sha256(path.read_bytes()).hexdigest() == digest:
                # An earlier writer may have died between its rename and its sync.
                _sync_directory(path.parent)
                return digest
            _make_directory(path.parent)
            _write_durably(path, data)
        except OSError as error:
            if error.errno in {errno.ENOSPC, errno.EDQUOT}:
                raise Problem(
                    kind=Kind.STORAGE_FULL,
                    message="There is no space left for this on the server's disk; "
                    "nothing was changed.",
                ) from error
            raise
        return digest

    def _get(self, digest: str) -> bytes:
        try:
            data = self._path(digest).read_bytes()
        except FileNotFoundError:
            data = None
        if data is None or hashlib.sha256(data).hexdigest() != digest:
            self.log.error(
                "bundle {digest} is {state}: its versions do not run until it is restored",
                digest=digest,
                state="missing" if data is None else "damaged",
            )
            raise Problem(
                kind=Kind.BUNDLE_CORRUPT,
                message="The stored code of this version is damaged: deploy it again.",
            )
        return data

    def _sweep(self, wanted: frozenset[str]) -> int:
        removed = 0
        for file in self._directory.glob("??/*"):
            if file.name not in wanted:
                with suppress(FileNotFoundError):
                    file.unlink()
                    removed += 1
        return removed


def _make_directory(directory: Path) -> None:
    if not directory.is_dir():
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        _sync_directory(directory.parent)


def _write_durably(path: Path, data: bytes) -> None:
    temporary = path.with_name(f"{path.name}.{os.urandom(8).hex()}.new")
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.rename(path)
    except BaseException:
        with suppress(OSError):
            temporary.unlink()
        raise
    _sync_directory(path.parent)


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


_check: type[ports.Bundles] = BundleDirectory
