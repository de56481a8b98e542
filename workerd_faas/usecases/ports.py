"""
What the use cases and the daemon's sides need of one another, as `typing.Protocol`s.

All `async` methods are awaited on the reactor thread and may be cancelled by cancelling the
Deferred that awaits them; a cancelled write may or may not have happened.
"""

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, Protocol, TypeVar

import attrs

from workerd_faas.domain.errors import Problem
from workerd_faas.domain.invocation import Invocation
from workerd_faas.domain.log_query import LogPage, LogQuery
from workerd_faas.domain.model import (
    Account,
    Alias,
    Binding,
    CheckReport,
    Code,
    Deployment,
    Function,
    Principal,
    Reach,
    Version,
)
from workerd_faas.domain.routing import FunctionRoutes, Route
from workerd_faas.domain.upstream import Upstream

T = TypeVar("T")

_NONE: Final[Mapping[str, str]] = MappingProxyType({})


class InThread(Protocol):
    """
    Runs work that takes a while, and waits for nothing, off the reactor thread.
    """

    def __call__(self, work: Callable[[], T], /) -> Awaitable[T]:
        """
        The outcome of `work()`.
        """


class WallClock(Protocol):
    """
    The time of day, for timestamps and expiry of credentials; never for time-outs.
    """

    def now(self) -> datetime:
        """
        The present moment, in UTC.
        """


class Database(Protocol):
    """
    The SQL database, off the reactor thread.
    """

    async def run(self, work: Callable[[Any], T]) -> T:
        """
        Run `work(cursor)` in one transaction: committed durably when it returns, rolled back when
        it raises; its exception reaches the caller. Transactions run one after the other, and
        their results reach the reactor thread in the order of their commits.

        Raises:
            Problem: `STORAGE_FULL` or `UNAVAILABLE` when the database cannot take the write.
        """


class Bundles(Protocol):
    """
    Bundles by the SHA-256 of their bytes.
    """

    async def put(self, data: bytes) -> str:
        """
        Store durably, return the digest (64 hex digits). Idempotent.

        Raises:
            Problem: `STORAGE_FULL` when the disk is full.
        """

    async def get(self, digest: str) -> bytes:
        """
        The bytes, whose hash has been checked.

        Raises:
            Problem: `BUNDLE_CORRUPT` when they are gone or do not have that hash.
        """


class Vault(Protocol):
    """
    Encrypts secrets at rest.
    """

    def seal(self, id_: str, text: str) -> str:
        """
        Encrypt a secret, bound to its id.
        """

    def open(self, id_: str, sealed: str) -> str:
        """
        The text of a sealed secret.

        Raises:
            Problem: `SECRET_UNREADABLE`: sealed with a key that is not there, damaged, or sealed
                for another id.
        """


@attrs.frozen(kw_only=True)
class HeldFile:
    """
    A stored file of an account's sites.

    Attributes:
        name: Of the file in the account's directory; a path of two segments, fit for a URL.
        size: In bytes.
    """

    name: str
    content_type: str | None
    size: int


@attrs.frozen(kw_only=True)
class ReceivedFile:
    """
    An uploaded file of a site. `hash` is the client's name for content and type: 32 hex digits.
    """

    hash: str
    content_type: str | None
    content: bytes = attrs.field(repr=lambda content: f"<{len(content)} bytes>")


class AssetFiles(Protocol):
    """
    Files of sites, each account's by itself.
    """

    async def held(
        self, account_id: str, hashes: Collection[str], now: datetime
    ) -> Mapping[str, HeldFile]:
        """
        Those of these files that the account has, by hash. They count as used now, so that `sweep`
        leaves them.
        """

    async def check_room(self, account_id: str, size: int, files: int) -> None:
        """
        Look before so many bytes in so many new files are put.

        Raises:
            Problem: `ASSETS_TOO_LARGE`, if the account may not have them too.
        """

    async def put(self, account_id: str, files: Sequence[ReceivedFile], now: datetime) -> None:
        """
        Store durably. Idempotent.

        Raises:
            Problem: `ASSETS_TOO_LARGE`, `STORAGE_FULL`.
        """

    async def put_manifest(self, account_id: str, data: bytes, now: datetime) -> str:
        """
        Keep a session's manifest until `sweep` finds it too old; returns its SHA-256.

        Raises:
            Problem: `ASSETS_TOO_LARGE`, `STORAGE_FULL`.
        """

    async def manifest(self, account_id: str, digest: str) -> bytes | None:
        """
        A manifest that is still there.
        """

    async def accounts(self) -> Sequence[str]:
        """
        The accounts that have a directory.
        """

    async def sweep(self, account_id: str, wanted: Collection[str], before: datetime) -> int:
        """
        Remove what is not wanted (by the name in `HeldFile`) and was last used before a moment.
        Returns how many files went.
        """


class PointSink(Protocol):
    """
    Where the data points of functions go.
    """

    def point(self, account_id: str, function: str, dataset: str, sent: Mapping[str, Any]) -> None:
        """
        Keep one data point; what is too much is dropped and counted.

        Raises:
            ValueError: it is none. It comes from a cell and is not to be trusted.
        """


class Origins(Protocol):
    """
    What functions are given of stored databases.
    """

    async def revealed(self, account_id: str, bindings: Sequence[Binding]) -> tuple[Binding, ...]:
        """
        The bindings, with how to log in to the databases that `hyperdrive` ones name.

        Raises:
            Problem: `HYPERDRIVE_NOT_FOUND`, `SECRET_UNREADABLE`.
        """


class Catalog(Protocol):
    """
    Functions, versions, deployments and aliases. Each method is one transaction.
    """

    async def routes(self) -> Sequence[FunctionRoutes]:
        """
        Everything that routing needs, of all functions.
        """

    async def add_version(
        self,
        version: Version,
        *,
        deployment: Deployment | None = None,
        alias: str | None = None,
        secrets: Mapping[str, str] = _NONE,
    ) -> Version:
        """
        Store a version, and the function if this is its first; the store fills in `number`. With
        `deployment` it is also deployed, with `alias` also named so, in the same transaction.
        `secrets` are the sealed ones that are new with it, by id.

        Raises:
            Problem: `NAME_TAKEN` when the name belongs to another account.
        """

    async def secrets(self, ids: Sequence[str]) -> Mapping[str, str]:
        """
        The sealed secrets that there are among these, by id.
        """

    async def add_deployment(self, account_id: str, deployment: Deployment) -> Deployment:
        """
        Make a deployment the current one.

        Raises:
            Problem: `SCRIPT_NOT_FOUND`; `VERSION_NOT_FOUND` when it names a version that the
                function does not have.
        """

    async def function(self, account_id: str, name: str) -> Function:
        """
        Raises:
            Problem: `SCRIPT_NOT_FOUND`, also for another account's function.
        """

    async def sites(self) -> Mapping[str, Collection[str]]:
        """
        The digests of all site documents, by account.
        """

    async def functions(self, account_id: str) -> Sequence[tuple[Function, Deployment | None]]:
        """
        All of the account's, by name, each with its current deployment.
        """

    async def remove_function(self, account_id: str, name: str) -> Sequence[str]:
        """
        Remove it with its versions, deployments and aliases; the name is free again. Returns the
        ids of the versions that went.

        Raises:
            Problem: `SCRIPT_NOT_FOUND`.
        """

    async def version(self, account_id: str, name: str, version_id: str) -> Version:
        """
        Raises:
            Problem: `SCRIPT_NOT_FOUND`, `VERSION_NOT_FOUND`.
        """

    async def version_to_run(self, account_id: str | None, version_id: str) -> Version:
        """
        A version by its id alone, of this account or (None) of any.

        Raises:
            Problem: `VERSION_NOT_FOUND`.
        """

    async def versions(self, account_id: str, name: str, limit: int) -> Sequence[Version]:
        """
        The newest first. Others than that one are without their bindings if these are long.

        Raises:
            Problem: `SCRIPT_NOT_FOUND`.
        """

    async def deployments(self, account_id: str, name: str, limit: int) -> Sequence[Deployment]:
        """
        The newest (the current one) first.

        Raises:
            Problem: `SCRIPT_NOT_FOUND`.
        """

    async def aliases(self, account_id: str, name: str) -> Sequence[Alias]:
        """
        By name.

        Raises:
            Problem: `SCRIPT_NOT_FOUND`.
        """

    async def set_reach(self, account_id: str, name: str, reach: Reach) -> None:
        """
        Raises:
            Problem: `SCRIPT_NOT_FOUND`.
        """

    async def set_alias(
        self, account_id: str, name: str, alias: str, version_id: str, now: datetime
    ) -> Alias:
        """
        Raises:
            Problem: `SCRIPT_NOT_FOUND`, `VERSION_NOT_FOUND`, `TOO_MANY_ALIASES`.
        """

    async def remove_alias(self, account_id: str, name: str, alias: str) -> None:
        """
        Raises:
            Problem: `SCRIPT_NOT_FOUND`, `ALIAS_NOT_FOUND`.
        """


class Accounts(Protocol):
    """
    Accounts; who may act for them is the identity store's business.
    """

    async def account(self, account_id: str) -> Account | None:
        """
        The account of this id, if there is one.
        """


class VersionLoader(Protocol):
    """
    What cells ask for when they load a version.
    """

    async def load_document(self, account_id: str | None, version_id: str) -> bytes:
        """
        The load document (`wire.bundle`) of a version of this account; None means any account
        (only for cells that all accounts share).

        Raises:
            Problem: `VERSION_NOT_FOUND`, also for another account's; `BUNDLE_CORRUPT`.
        """


class FunctionEvents(Protocol):
    """
    What functions say: console output and exceptions, as workerd's tail reports them. Nothing here
    ever raises; what is too much is dropped and counted.
    """

    def invocation(self, route: Route, trace: Mapping[str, Any], ended: Any) -> None:
        """
        Take one invocation's trace (the shape of Cloudflare's tail events), and when it was over in
        milliseconds since 1970. Both come from a cell and are not to be trusted.
        """

    def lost(self, route: Route, invocations: int, dropped_lines: int) -> None:
        """
        So much was not reported, since it was too much.
        """

    def tailed(self, account_id: str | None) -> Sequence[str]:
        """
        The functions of this account (None: of all) of which every invocation is wanted, also one
        that says nothing.
        """


class LogStore(Protocol):
    """
    What functions said, kept for a bounded time and size per account. Logs are no promises: what
    cannot be written is dropped.
    """

    def keep(self, invocation: Invocation) -> None:
        """
        Write it soon. Never raises.
        """

    async def query(self, query: LogQuery) -> LogPage:
        """
        A page of what is kept, with everything that was to be kept before.

        Raises:
            Problem: `UNAVAILABLE`.
        """

    async def forget(self, account_id: str, function: str) -> None:
        """
        Remove all that a function said.

        Raises:
            Problem: `UNAVAILABLE`.
        """


class Checker(Protocol):
    """
    Loads an upload once, in a process of its own, before it is accepted.
    """

    async def check(self, function: str, code: Code, account_id: str = "") -> CheckReport:
        """
        Load `code` within the bounds. Uploads of one account (not of nobody, "") may meet in one
        process, one after the other.

        Raises:
            Problem: `INVALID_SCRIPT` with the message and the position in the user's file when it
                does not load; `UNAVAILABLE` when the check itself could not be made.
        """


class Cells(Protocol):
    """
    Ready processes for functions, as the relay asks for them. Never blocks.
    """

    def upstream(self, route: Route) -> Upstream | None:
        """
        A ready, unretired cell for a request from outside to this route, or None when one must be
        waited for. It may run nothing but this version.
        """

    def when_ready(
        self, route: Route, then: Callable[[Upstream | Problem], None]
    ) -> Callable[[], None]:
        """
        Start a cell if need be; call `then` once with it, or with the `UNAVAILABLE` problem that
        kept it from coming up in time. Returns a function that takes the wish back.
        """

    def version_removed(self, account_id: str, version_id: str) -> None:
        """
        A version was deleted: cells that hold it may let go of it.
        """


class Door(Protocol):
    """
    An open unix socket.
    """

    def close(self) -> None:
        """
        Accept no more, remove the socket. Idempotent.
        """


class Doors(Protocol):
    """
    Unix sockets behind which accounts' state cells are.
    """

    def open(self, path: Path, account_id: str | None) -> Door:
        """
        Open one that leads to this account's state cell, or (None) to that of the account that a
        request's host names, `<account>.state`.

        Raises:
            OSError: the socket cannot be made.
        """


class CallTargets(Protocol):
    """
    What cells ask for when one function calls another.
    """

    def shares(
        self, account_id: str, function: str, selector: str | None
    ) -> Sequence[tuple[float, str]]:
        """
        The versions that answer for a function of this account now: their ids, each with the
        position in [0, 100] at which its share ends.

        Args:
            account_id: Who calls.
            function: Whom.
            selector: An alias or the beginning of a version id; None: what is deployed.

        Raises:
            Problem: `TARGET_NOT_FOUND`, `NOT_DEPLOYED`, `VERSION_NOT_FOUND`, `VERSION_AMBIGUOUS`.
        """


class CallRights(Protocol):
    """
    Whether functions of one account may call a function of another one.
    """

    def may_call(self, account_id: str, function: str, owner: str) -> bool:
        """
        Args:
            account_id: Who calls.
            function: Whom.
            owner: The account that the function must belong to: it did when the caller was bound
                to it, and the name may be somebody else's now.
        """


class CellNotices(Protocol):
    """
    What running cells must learn about functions.
    """

    async def function_changed(self, account_id: str, function: str, *, reload: bool) -> None:
        """
        What serves a function is another version now. Returns when no cell of the account goes by
        what it knew before; one that does not say so in time is replaced.

        Args:
            account_id: Whose function.
            function: Which.
            reload: Whether its versions shall be loaded anew too, since what a cell is told with
                them has changed.
        """


class Authenticator(Protocol):
    """
    Turns a credential into who it stands for.
    """

    async def authenticate(self, authorization: str | None) -> Principal:
        """
        Args:
            authorization: The value of the `Authorization` header.

        Raises:
            Problem: `UNAUTHENTICATED` for anything but a valid bearer access token or API token;
                the message never says which part was wrong.
        """


class OwnedWork(Protocol):
    """
    Keeps work that must finish even when the client that asked for it has gone.
    """

    def finish(self, work: Callable[[], Awaitable[T]]) -> Awaitable[T]:
        """
        Start `work()` at once, own it until it ends, and return an awaitable of its outcome;
        cancelling the awaitable leaves the work running. A daemon that stops waits for it.
        """
