"""
Upload sessions: which files of a site are missing, and taking them in.

A session is its tokens and its manifest, which is kept with the account's files: nothing of it is
in memory that could not be read again or done without.
"""

from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final

import attrs

from workerd_faas.domain.errors import Kind, Problem
from workerd_faas.domain.limits import AssetLimits
from workerd_faas.domain.names import check_function_name
from workerd_faas.usecases.access import account_for
from workerd_faas.usecases.ports import AssetFiles, InThread, OwnedWork, ReceivedFile, WallClock
from workerd_faas.usecases.sites.tokens import (
    COMPLETION,
    SESSION,
    Scope,
    SessionTokens,
    token_invalid,
)
from workerd_faas.usecases.target import Target
from workerd_faas.wire.site.manifest import Manifest, decode_manifest

SINGLE_FILES_FROM: Final = 256 << 10
"""From this mean size on, each file comes by itself and as it is: large ones gain by not being
encoded, small ones by not having a request each. Measured with Wrangler and 2000 files of 500
bytes: 4.4 s in forms and 15.6 s one by one, with five times the CPU time here."""

MANIFESTS_KEPT: Final = 4
SESSIONS_FOLLOWED: Final = 16


@attrs.frozen(kw_only=True)
class Session:
    """
    What the client is told.

    Attributes:
        token: The session's; the completion token when nothing is missing.
        buckets: Hashes of the missing files, one upload each.
    """

    token: str = attrs.field(repr=False)
    buckets: tuple[tuple[str, ...], ...]


@attrs.define(kw_only=True, eq=False)
class AssetSessions:
    """
    Attributes:
        owner: Whose function a name is; None for a name that is free.
        servable: Whether this installation has what serves sites.
    """

    files: AssetFiles
    tokens: SessionTokens
    work: OwnedWork
    clock: WallClock
    in_thread: InThread
    owner: Callable[[str], str | None]
    servable: bool = True
    limits: AssetLimits = attrs.Factory(AssetLimits)
    _manifests: "OrderedDict[tuple[str, str], Mapping[str, int]]" = attrs.Factory(OrderedDict)
    _awaited: "OrderedDict[str, set[str]]" = attrs.Factory(OrderedDict)

    async def begin(self, target: Target, read: Callable[[], Awaitable[Manifest]]) -> Session:
        """
        Begin a session; the function need not exist yet.

        Args:
            read: Gives the manifest; called once access has been granted.

        Raises:
            Problem: `FORBIDDEN`, `INVALID_NAME`, `NAME_TAKEN`, `UNSUPPORTED`, `ASSETS_INVALID`,
                `ASSETS_TOO_LARGE`, `STORAGE_FULL`.
        """
        account_for(target.principal, target.account_id)
        check_function_name(target.function)
        if not self.servable:
            raise Problem(
                kind=Kind.UNSUPPORTED,
                message="This installation cannot serve static assets: npm's package miniflare is "
                "missing, which `make setup` installs.",
            )
        if self.owner(target.function) not in (None, target.account_id):
            raise Problem(
                kind=Kind.NAME_TAKEN,
                message=f"The name {target.function!r} is taken: choose another one.",
            )
        manifest = await read()
        encoded = await self.in_thread(manifest.encode)
        now = self.clock.now()
        sizes = manifest.sizes
        held = await self.files.held(target.account_id, sizes.keys(), now)
        missing = [
            digest
            for digest, size in sizes.items()
            if digest not in held or held[digest].size != size
        ]
        size = sum(sizes[digest] for digest in missing)
        await self.files.check_room(target.account_id, size, len(missing))
        scope = Scope(
            account_id=target.account_id,
            function=target.function,
            manifest=await self.files.put_manifest(target.account_id, encoded, now),
        )
        if not missing:
            return Session(token=self.tokens.make(COMPLETION, scope, now), buckets=())
        single = size >= SINGLE_FILES_FROM * len(missing)
        token = self.tokens.make(SESSION, scope, now, single_files=single)
        self._follow(token, missing)
        return Session(
            token=token,
            buckets=tuple(buckets(missing, sizes, self.limits)),
        )

    def knows(self, token: str | None) -> bool:
        """
        Whether this is the token of a session.
        """
        return self.tokens.check(SESSION, token or "", self.clock.now()) is not None

    async def receive(
        self, account_id: str, token: str | None, read: Callable[[], Awaitable[list[ReceivedFile]]]
    ) -> str | None:
        """
        Store files that a session named as missing.

        The completion token comes with the last of them; with every answer when it is not known any
        more what is awaited, as after a restart. It claims no more than that the session was gone
        through: an upload whose files are not all there is refused.

        Args:
            token: The session's.
            read: Gives the files; called once the token has been checked.

        Returns:
            The completion token; None while files are awaited.

        Raises:
            Problem: `ASSETS_TOKEN_INVALID`, `ASSETS_INVALID`, `ASSETS_TOO_LARGE`, `STORAGE_FULL`.
        """
        token = token or ""
        scope = self.tokens.check(SESSION, token, self.clock.now())
        if scope is None or scope.account_id != account_id:
            raise token_invalid()
        expected = await self._expected(scope)
        files = await read()
        for file in files:
            self._check(file, expected)
        now = self.clock.now()
        await self.work.finish(lambda: self.files.put(account_id, files, now))
        awaited = self._awaited.get(token, set())
        awaited -= {file.hash for file in files}
        return None if awaited else self.tokens.make(COMPLETION, scope, now)

    def _follow(self, token: str, missing: Sequence[str]) -> None:
        self._awaited[token] = set(missing)
        while len(self._awaited) > SESSIONS_FOLLOWED:
            self._awaited.popitem(last=False)

    async def _expected(self, scope: Scope) -> Mapping[str, int]:
        key = (scope.account_id, scope.manifest)
        found = self._manifests.pop(key, None)
        if found is None:
            data = await self.files.manifest(*key)
            if data is None:
                raise token_invalid()
            found = (await self.in_thread(lambda: decode_manifest(data))).sizes
        self._manifests[key] = found
        while len(self._manifests) > MANIFESTS_KEPT:
            self._manifests.popitem(last=False)
        return found

    def _check(self, file: ReceivedFile, expected: Mapping[str, int]) -> None:
        size = expected.get(file.hash)
        if size is None:
            raise Problem(
                kind=Kind.ASSETS_INVALID,
                message=f"The session's manifest has no file {file.hash[:40]!r}.",
            )
        if size != len(file.content):
            raise Problem(
                kind=Kind.ASSETS_INVALID,
                message=f"The file {file.hash} has {len(file.content)} bytes; the manifest says "
                f"{size}. Was it changed while it was uploaded?",
            )


def buckets(
    missing: Sequence[str], sizes: Mapping[str, int], limits: AssetLimits
) -> list[tuple[str, ...]]:
    """
    The files in groups that make uploads of a handy size; a large file is a group of its own.
    """
    found: list[tuple[str, ...]] = []
    group: list[str] = []
    room = 0
    for digest in missing:
        # In a form every part has a head as well.
        size = sizes[digest] + 512
        if group and (size > room or len(group) >= limits.bucket_files):
            found.append(tuple(group))
            group = []
        if not group:
            room = limits.bucket
        group.append(digest)
        room -= size
    return [*found, tuple(group)] if group else found
