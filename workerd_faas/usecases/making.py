"""How a version comes to be: out of an upload, or out of the newest one. Only code is stored."""

from collections.abc import Callable, Sequence
from typing import Final

import attrs

from workerd_faas.domain.limits import UploadLimits
from workerd_faas.domain.model import (
    Binding,
    CheckReport,
    Code,
    Module,
    ModuleKind,
    Version,
    new_version_id,
)
from workerd_faas.usecases.ports import Bundles, Checker, WallClock
from workerd_faas.usecases.secrets import SecretValues
from workerd_faas.usecases.sites.versions import Sites, check_no_bindings
from workerd_faas.usecases.storage.bindings import NoStorage
from workerd_faas.usecases.storage.ports import StorageBindings
from workerd_faas.usecases.target import Target
from workerd_faas.usecases.ties.ties import Ties
from workerd_faas.usecases.upload import Upload, check_env_size, merge_bindings
from workerd_faas.wire.bundle import decode_bundle, encode_bundle

_NOTHING_TO_CHECK: Final = CheckReport(handlers=(), startup_ms=0)
"""Of a version that is a site only."""


@attrs.frozen(kw_only=True)
class Revision:
    """
    How a new version that differs from the newest one only in its bindings comes to be.

    Attributes:
        change: From the newest version's bindings to the new one's; a secret that stays is left as
            it is. What it raises reaches the caller, and nothing was stored then.
        source: What asked for it: `wrangler`, `wrkst`, `api`.
        deploy: Whether to deploy it at 100 % in the same transaction, which the newest version
            must be deployed for.
    """

    change: Callable[[Sequence[Binding]], tuple[Binding, ...]]
    source: str
    deploy: bool
    message: str | None = None
    tag: str | None = None


@attrs.define(kw_only=True, eq=False)
class VersionMaker:
    """
    Puts a version together and has it checked. Its code is kept under its hash when this returns;
    the version itself is not stored yet, and its secrets are plain.
    """

    bundles: Bundles
    secrets: SecretValues
    sites: Sites
    ties: Ties
    checker: Checker
    clock: WallClock
    limits: UploadLimits = attrs.Factory(UploadLimits)
    storage: StorageBindings = attrs.Factory(NoStorage)

    async def uploaded(
        self, target: Target, upload: Upload, newest: Version | None, *, source: str
    ) -> Version:
        """
        The version that an upload asks for.

        Args:
            target: The function.
            upload: Code and metadata.
            newest: What the upload's inherited bindings and files are those of.
            source: What sent it: `wrangler`, `wrkst`, `api`.

        Raises:
            Problem: saying what to mend.
        """
        metadata = upload.metadata
        merged = merge_bindings(metadata, () if newest is None else newest.bindings)
        bindings = self.ties.tied(
            target.account_id, target.function, merged, metadata.tail_consumers
        )
        site = await self.sites.of_upload(
            target.account_id, target.function, attrs.evolve(metadata, bindings=bindings), newest
        )
        code = Code(
            main_module=metadata.main_module,
            modules=_run(upload.modules),
            compatibility_date=metadata.compatibility_date,
            compatibility_flags=metadata.compatibility_flags,
            bindings=bindings,
        )
        if code.main_module:
            bound = await self.storage.bound(target.account_id, target.function, code)
            code = attrs.evolve(code, bindings=bound)
        report = await self._checked(target, code)
        digest = await self.bundles.put(encode_bundle(code.main_module, upload.modules))
        return Version(
            id=new_version_id(),
            function=target.function,
            account_id=target.account_id,
            number=0,
            created_at=self.clock.now(),
            author=target.principal.author,
            source=source,
            bundle=digest,
            size=upload.size,
            main_module=code.main_module,
            compatibility_date=code.compatibility_date,
            compatibility_flags=code.compatibility_flags,
            bindings=code.bindings,
            handlers=report.handlers,
            startup_ms=report.startup_ms,
            assets=site,
            message=metadata.message,
            tag=metadata.tag,
        )

    async def revised(self, target: Target, newest: Version, revision: Revision) -> Version:
        """
        The newest version with other bindings.

        Raises:
            Problem: `BUNDLE_CORRUPT`; what the check finds.
        """
        bindings = revision.change(newest.bindings)
        modules = decode_bundle(await self.bundles.get(newest.bundle)).modules
        code = Code(
            main_module=newest.main_module,
            modules=_run(modules),
            compatibility_date=newest.compatibility_date,
            compatibility_flags=newest.compatibility_flags,
            bindings=bindings,
        )
        report = await self._checked(target, code)
        return attrs.evolve(
            newest,
            id=new_version_id(),
            number=0,
            created_at=self.clock.now(),
            author=target.principal.author,
            source=revision.source,
            bindings=bindings,
            handlers=report.handlers,
            startup_ms=report.startup_ms,
            message=revision.message,
            tag=revision.tag,
            triggered_by="secret",
        )

    async def _checked(self, target: Target, code: Code) -> CheckReport:
        if not code.main_module:
            check_no_bindings(code.bindings)
            return _NOTHING_TO_CHECK
        plain = await self.secrets.reveal(code.bindings)
        check_env_size(plain, self.limits)
        whole = attrs.evolve(code, bindings=plain)
        return await self.checker.check(target.function, whole, target.account_id)


def _run(modules: Sequence[Module]) -> tuple[Module, ...]:
    """
    The modules that run: source maps only explain.
    """
    return tuple(module for module in modules if module.kind is not ModuleKind.SOURCE_MAP)
