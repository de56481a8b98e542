"""The site of a version: from an upload's completion token, or taken over from the newest one."""

from collections.abc import Mapping, Sequence

import attrs

from workerd_faas.domain.errors import Kind, Problem
from workerd_faas.domain.model import Binding, BindingKind, Version
from workerd_faas.usecases.ports import AssetFiles, Bundles, HeldFile, InThread, WallClock
from workerd_faas.usecases.sites.tokens import COMPLETION, SessionTokens, token_invalid
from workerd_faas.wire.metadata import Metadata
from workerd_faas.wire.site.config import AssetsUpload, SiteConfig
from workerd_faas.wire.site.document import encode_site, wants_worker, with_config
from workerd_faas.wire.site.manifest import Manifest, decode_manifest


@attrs.frozen(kw_only=True)
class Sites:
    """
    Site documents, in the bundle store.
    """

    files: AssetFiles
    bundles: Bundles
    tokens: SessionTokens
    clock: WallClock
    in_thread: InThread

    async def of_upload(
        self, account_id: str, function: str, metadata: Metadata, newest: Version | None
    ) -> str | None:
        """
        The digest of the new version's site document, which is stored; None: it has no site.

        Raises:
            Problem: `INVALID_METADATA`, `ASSETS_TOKEN_INVALID`, `ASSETS_MISSING`, `STORAGE_FULL`.
        """
        uploaded = metadata.assets
        kept = newest.assets if metadata.keep_assets and newest is not None else None
        if uploaded is None or (uploaded.token is None and uploaded.config is None):
            site = None if kept is None else await self.bundles.get(kept)
        elif uploaded.token is not None:
            site = await self._of_session(account_id, function, uploaded.token, uploaded)
        elif kept is not None:
            before, config = await self.bundles.get(kept), uploaded.config or SiteConfig()
            site = await self.in_thread(lambda: with_config(before, config))
        else:
            raise _invalid(
                "metadata.assets needs 'jwt', the completion token of an upload session, or "
                "'keep_assets' and a version with assets to keep."
            )
        await self.in_thread(lambda: check_site(site, metadata.main_module, metadata.bindings))
        return None if site is None else await self.bundles.put(site)

    async def _of_session(
        self, account_id: str, function: str, token: str, uploaded: AssetsUpload
    ) -> bytes:
        now = self.clock.now()
        scope = self.tokens.check(COMPLETION, token, now)
        if scope is None or (scope.account_id, scope.function) != (account_id, function):
            raise token_invalid()
        data = await self.files.manifest(account_id, scope.manifest)
        if data is None:
            raise token_invalid()
        manifest = await self.in_thread(lambda: decode_manifest(data))
        held = await self.files.held(account_id, manifest.sizes.keys(), now)
        config = uploaded.config or SiteConfig()
        return await self.in_thread(lambda: _document(manifest, held, config))


def _document(manifest: Manifest, held: Mapping[str, HeldFile], config: SiteConfig) -> bytes:
    files = {}
    for path, entry in manifest.entries.items():
        file = held.get(entry.hash)
        if file is None or file.size != entry.size:
            raise Problem(
                kind=Kind.ASSETS_MISSING,
                message=f"The file of {path[:200]!r} has not been uploaded: deploy again.",
            )
        files[path] = (entry.hash, file.name, file.content_type, file.size)
    return encode_site(files, config)


def check_site(site: bytes | None, main_module: str, bindings: Sequence[Binding]) -> None:
    """
    What a version must have next to its site.

    Raises:
        Problem: `INVALID_METADATA`.
    """
    if site is None:
        if not main_module:
            raise _invalid(
                "The metadata needs 'main_module', the name of the main ES module, or 'assets'."
            )
        for binding in bindings:
            if binding.kind is BindingKind.ASSETS:
                raise _invalid(f"The binding {binding.name!r} needs 'assets' in the metadata.")
    elif not main_module:
        check_no_bindings(bindings)
        if wants_worker(site):
            raise _invalid("metadata.assets.config.run_worker_first needs a 'main_module'.")


def check_no_bindings(bindings: Sequence[Binding]) -> None:
    """
    A version without code has nothing that could use a binding.

    Raises:
        Problem: `INVALID_METADATA`.
    """
    if bindings:
        raise _invalid(f"The binding {bindings[0].name!r} needs a 'main_module' to be used in.")


def _invalid(message: str) -> Problem:
    return Problem(kind=Kind.INVALID_METADATA, message=message)
