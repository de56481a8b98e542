"""Bundles as files named by their SHA-256, durable when they are acknowledged."""

import hashlib
from collections.abc import Callable, Collection
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger

from workerd_faas.domain.errors import Kind, Problem
from workerd_faas.store.durable import (
    full_disk_is_a_problem,
    make_directory,
    sync_directory,
    write_file,
)
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
        with full_disk_is_a_problem():
            if not (path.exists() and hashlib.sha256(path.read_bytes()).hexdigest() == digest):
                make_directory(path.parent)
                write_file(path, data)
            # Even for a file that was there: its writer may have died before it got so far.
            sync_directory(path.parent)
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


_check: type[ports.Bundles] = BundleDirectory
