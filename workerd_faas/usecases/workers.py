"""What can be done with Workers: upload, deploy, name, delete."""

import uuid
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, TypeVar

import attrs
from twisted.logger import Logger

from workerd_faas.domain.errors import Kind, Problem
from workerd_faas.domain.model import (
    Alias,
    Deployment,
    Reach,
    Split,
    Version,
)
from workerd_faas.domain.names import check_alias, check_function_name
from workerd_faas.domain.routing import RoutingTable
from workerd_faas.domain.splits import check_splits
from workerd_faas.domain.unversioned import NO_CHANGE
from workerd_faas.usecases.access import account_for
from workerd_faas.usecases.making import Revision, VersionMaker
from workerd_faas.usecases.ports import (
    Catalog,
    Cells,
    OwnedWork,
    WallClock,
)
from workerd_faas.usecases.reading import Reader
from workerd_faas.usecases.secrets import SecretValues
from workerd_faas.usecases.serial import SerialByName
from workerd_faas.usecases.target import Target
from workerd_faas.usecases.ties.ties import Ties
from workerd_faas.usecases.turns import Turns
from workerd_faas.usecases.unversioned.ports import UnversionedStore
from workerd_faas.usecases.upload import Upload

T = TypeVar("T")

TRIGGERS: Final = frozenset({"upload", "secret", "rollback", "promotion", "deployment"})


@attrs.frozen(kw_only=True)
class Stored:
    """
    The outcome of an upload.

    Attributes:
        has_modules: Whether the code is modules: not if it is a script, nor if there is none.
    """

    version: Version
    deployment: Deployment | None
    alias: str | None
    notes: tuple[str, ...]
    has_modules: bool = True


async def _nothing(*_about: str) -> None:
    """
    What is done after a change where nothing depends on it.
    """


@attrs.define(kw_only=True, eq=False)
class Workers:
    """
    The verbs. Every change is owned by `work`, so that a client that hangs up cannot interrupt
    it, and changes of one function happen one after the other.
    """

    log = Logger()

    catalog: Catalog
    read: Reader
    making: VersionMaker
    secrets: SecretValues
    ties: Ties
    unversioned: UnversionedStore
    cells: Cells
    routes: RoutingTable
    work: OwnedWork
    clock: WallClock
    deleted: Callable[[str, str], Awaitable[None]] = _nothing
    changed: Callable[[str], Awaitable[None]] = _nothing
    _serial: SerialByName = attrs.Factory(SerialByName)
    _turns: Turns = attrs.field(init=False)

    @_turns.default
    def _turns_of_uploads(self) -> Turns:
        return Turns(work=self.work)

    async def upload(
        self, target: Target, read: Callable[[], Awaitable[Upload]], *, source: str, deploy: bool
    ) -> Stored:
        """
        Check and store a version; with `deploy`, also let it serve all requests.

        Args:
            target: The function, which comes to be with its first version.
            read: Gives the upload; called once access has been granted and it is its turn.
            source: What sent it: `wrangler`, `wrkst`, `api`.
            deploy: Whether to deploy it at 100 % in the same transaction.

        Raises:
            Problem: saying what to mend; then nothing was stored.
        """
        account_for(target.principal, target.account_id)
        check_function_name(target.function)
        self._check_owner(target)

        async def work() -> Stored:
            upload = await read()
            return await self._change(
                target, lambda: self._store(target, upload, source=source, deploy=deploy)
            )

        return await self._turns.run(target.account_id, work)

    async def revise(self, target: Target, revision: Revision) -> Stored:
        """
        Check and store a version with the code of the newest one and other bindings.

        Raises:
            Problem: `SCRIPT_NOT_FOUND`, `FORBIDDEN`, `NEWEST_NOT_DEPLOYED`; what the check finds.
        """
        account_for(target.principal, target.account_id)
        return await self._turns.run(
            target.account_id,
            lambda: self._change(target, lambda: self._revise(target, revision)),
        )

    async def deploy(
        self,
        target: Target,
        splits: Sequence[Split],
        *,
        source: str,
        message: str | None = None,
        triggered_by: str | None = None,
        force: bool = False,
    ) -> Deployment:
        """
        Let these versions serve the function, each its share. When this returns, the next request
        is served so.

        Args:
            target: The function.
            splits: Versions with their shares.
            source: What asked for it: `wrangler`, `wrkst`, `api`.
            message: Why, for people.
            triggered_by: One of `TRIGGERS`.
            force: Whether to go back to an earlier version although secrets have changed since.

        Raises:
            Problem: `DEPLOYMENT_INVALID`, `SCRIPT_NOT_FOUND`, `VERSION_NOT_FOUND`, `FORBIDDEN`,
                `SECRETS_CHANGED`.
        """
        account_for(target.principal, target.account_id)
        check_splits(splits)
        deployment = self._deployment(target, splits, source, message, triggered_by or "deployment")

        async def change() -> Deployment:
            if len(splits) == 1 and not force:
                await self._check_secrets_unchanged(target, splits[0].version_id)
            stored = await self.catalog.add_deployment(target.account_id, deployment)
            self.routes.deployed(target.function, stored.splits)
            self._log_deployed(target, stored)
            return stored

        return await self._change(target, change)

    async def set_reach(self, target: Target, reach: Reach) -> Reach:
        """
        Open the function's hosts to requests from outside, or close them.

        Raises:
            Problem: `SCRIPT_NOT_FOUND`, `FORBIDDEN`.
        """
        account_for(target.principal, target.account_id)

        async def change() -> Reach:
            await self.catalog.set_reach(target.account_id, target.function, reach)
            self.routes.reach_set(target.function, reach)
            return reach

        return await self._change(target, change)

    async def set_alias(self, target: Target, alias: str, version_id: str) -> Alias:
        """
        Let `alias` name a version.

        Raises:
            Problem: `INVALID_NAME`, `SCRIPT_NOT_FOUND`, `VERSION_NOT_FOUND`, `FORBIDDEN`,
                `TOO_MANY_ALIASES`.
        """
        account_for(target.principal, target.account_id)
        check_alias(alias)

        async def change() -> Alias:
            self.routes.check_alias(target.function, alias, version_id)
            stored = await self.catalog.set_alias(
                target.account_id, target.function, alias, version_id, self.clock.now()
            )
            self.routes.alias_set(target.function, alias, version_id)
            return stored

        return await self._change(target, change)

    async def remove_alias(self, target: Target, alias: str) -> None:
        """
        Raises:
            Problem: `SCRIPT_NOT_FOUND`, `ALIAS_NOT_FOUND`, `FORBIDDEN`.
        """
        account_for(target.principal, target.account_id)

        async def change() -> None:
            await self.catalog.remove_alias(target.account_id, target.function, alias)
            self.routes.alias_removed(target.function, alias)

        await self._change(target, change)

    async def delete(self, target: Target) -> None:
        """
        Remove the function with all its versions; its name is free again.

        Raises:
            Problem: `SCRIPT_NOT_FOUND`, `FORBIDDEN`.
        """
        account_for(target.principal, target.account_id)

        async def change() -> None:
            gone = await self.catalog.remove_function(target.account_id, target.function)
            self.routes.removed(target.function)
            for version_id in gone:
                self.cells.version_removed(target.account_id, version_id)
            await self.deleted(target.account_id, target.function)
            self.log.info(
                "{function} of {account} deleted by {author}",
                function=target.function,
                account=target.account_id,
                author=target.principal.subject,
            )

        await self._change(target, change)

    async def _change(self, target: Target, change: Callable[[], Awaitable[T]]) -> T:
        async def told() -> T:
            try:
                return await change()
            finally:
                # Functions that call this one shall call what serves it now, before we answer.
                await self.ties.changed(target.account_id, target.function)
                await self.changed(target.account_id)

        return await self.work.finish(lambda: self._serial.run(target.function, told))

    async def _newest(self, target: Target) -> Version | None:
        if self.routes.owner(target.function) is None:
            return None
        return (await self.catalog.versions(target.account_id, target.function, 1))[0]

    def _deployment(
        self,
        target: Target,
        splits: Sequence[Split],
        source: str,
        message: str | None,
        triggered_by: str,
    ) -> Deployment:
        return Deployment(
            id=str(uuid.uuid4()),
            function=target.function,
            created_at=self.clock.now(),
            author=target.principal.author,
            source=source,
            splits=tuple(splits),
            message=message,
            triggered_by=triggered_by,
        )

    def _check_owner(self, target: Target) -> None:
        owner = self.routes.owner(target.function)
        if owner not in (None, target.account_id):
            raise Problem(
                kind=Kind.NAME_TAKEN,
                message=f"The name {target.function!r} is taken: choose another one.",
            )

    async def _store(self, target: Target, upload: Upload, *, source: str, deploy: bool) -> Stored:
        self._check_owner(target)  # somebody may have come first while this waited for its turn
        metadata = upload.metadata
        refers = metadata.inherit or metadata.keep or metadata.keep_assets
        newest = await self._newest(target) if refers else None
        version = await self.making.uploaded(target, upload, newest, source=source)
        stored = await self._add(
            target, version, deploy=deploy, alias=metadata.alias, notes=metadata.notes
        )
        if deploy and metadata.tail_consumers is not None:
            await self.ties.set_consumers(
                target.account_id, target.function, metadata.tail_consumers
            )
        if deploy and metadata.unversioned != NO_CHANGE:
            await self.unversioned.change(target.account_id, target.function, metadata.unversioned)
        has_modules = bool(version.main_module) and not metadata.is_script
        return attrs.evolve(stored, has_modules=has_modules)

    async def _add(
        self,
        target: Target,
        version: Version,
        *,
        deploy: bool,
        alias: str | None = None,
        notes: tuple[str, ...] = (),
    ) -> Stored:
        if alias is not None:
            self.routes.check_alias(target.function, alias, version.id)
        sealed = self.secrets.seal(version.bindings)
        version = attrs.evolve(version, bindings=sealed.bindings)
        deployment = None
        if deploy:
            everything = [Split(version_id=version.id, percentage=100)]
            deployment = self._deployment(
                target, everything, version.source, version.message, version.triggered_by
            )
        stored = await self.catalog.add_version(
            version, deployment=deployment, alias=alias, secrets=sealed.secrets
        )
        self._announce(target, stored, deployment, alias)
        return Stored(version=stored, deployment=deployment, alias=alias, notes=notes)

    async def _revise(self, target: Target, revision: Revision) -> Stored:
        found = await self.catalog.versions(target.account_id, target.function, 1)
        newest = found[0]
        if revision.deploy:
            await self._check_serves(target, newest)
        version = await self.making.revised(target, newest, revision)
        return await self._add(target, version, deploy=revision.deploy)

    async def _check_serves(self, target: Target, newest: Version) -> None:
        current = await self.catalog.deployments(target.account_id, target.function, 1)
        if not any(split.version_id == newest.id for each in current for split in each.splits):
            raise Problem(
                kind=Kind.NEWEST_NOT_DEPLOYED,
                message="The newest version of this Worker is not deployed, so a change of its "
                "secrets cannot be deployed either: deploy it first, or change the secrets of a "
                "new version with `versions secret`.",
            )

    async def _check_secrets_unchanged(self, target: Target, version_id: str) -> None:
        """
        Going back to an earlier version also takes its secrets back, which may be revoked ones.
        """
        account, function = target.account_id, target.function
        current = await self.catalog.deployments(account, function, 1)
        serving = [
            await self.catalog.version(account, function, split.version_id)
            for each in current
            for split in each.splits
        ]
        wanted = await self.catalog.version(account, function, version_id)
        latest = max(serving, key=lambda version: version.number, default=wanted)
        if wanted.number >= latest.number:
            return
        changed = await self.secrets.changed(wanted.bindings, latest.bindings)
        if changed:
            raise Problem(
                kind=Kind.SECRETS_CHANGED,
                message=f"The following secrets have changed: {', '.join(changed)}",
            )

    def _announce(
        self, target: Target, version: Version, deployment: Deployment | None, alias: str | None
    ) -> None:
        self.routes.version_added(target.account_id, target.function, version.id, size=version.size)
        if alias is not None:
            self.routes.alias_set(target.function, alias, version.id)
        self.log.info(
            "{function} of {account}: version {version} uploaded by {author}",
            function=target.function,
            account=target.account_id,
            version=version.id,
            author=target.principal.subject,
            size=version.size,
        )
        if deployment is not None:
            self.routes.deployed(target.function, deployment.splits)
            self._log_deployed(target, deployment)

    def _log_deployed(self, target: Target, deployment: Deployment) -> None:
        self.log.info(
            "{function} of {account}: {versions} deployed by {author}",
            function=target.function,
            account=target.account_id,
            versions={split.version_id: split.percentage for split in deployment.splits},
            deployment=deployment.id,
            author=target.principal.subject,
        )
