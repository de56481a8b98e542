"""
Secrets over HTTP. Texts come in and never go out.

Under `…/scripts/N/` a change is deployed at once; `versions/latest` makes a version that is not.
"""

from collections.abc import Mapping
from typing import Any, Final

import attrs
from klein import Klein
from twisted.web.iweb import IRequest

from workerd_faas.api import shapes
from workerd_faas.api.envelope import answer, read_json
from workerd_faas.api.scripts import SCRIPT, source_of, target_of, text_of
from workerd_faas.domain.errors import Kind, Problem
from workerd_faas.domain.model import BindingKind, PublicUrls
from workerd_faas.usecases.making import Revision
from workerd_faas.usecases.ports import Authenticator
from workerd_faas.usecases.revisions import patched
from workerd_faas.usecases.secrets import with_secrets
from workerd_faas.usecases.target import Target
from workerd_faas.usecases.workers import Stored, Workers
from workerd_faas.wire.metadata import parse_bindings

MAX_AT_ONCE: Final = 100
"""Secrets in one bulk request, as at Cloudflare."""


@attrs.frozen(kw_only=True)
class SecretRoutes:
    """
    `wrangler secret …` and `wrangler versions secret …`.
    """

    auth: Authenticator
    workers: Workers
    urls: PublicUrls

    def register(self, app: Klein) -> None:
        """
        See `api.app.Routes.register`.
        """

        @app.route(SCRIPT + "/secrets", methods=["GET"])
        async def secrets(request: IRequest, account: str, name: str) -> bytes:
            found = await self.workers.read.versions(await self._target(request, account, name))
            return answer(
                request,
                [
                    shapes.binding(binding)
                    for binding in found[0].bindings
                    if binding.kind is BindingKind.SECRET_TEXT
                ],
            )

        @app.route(SCRIPT + "/secrets", methods=["PUT"])
        async def put_secret(request: IRequest, account: str, name: str) -> bytes:
            target = await self._target(request, account, name)
            document = read_json(request)
            secret, text = _secret(document.get("name"), document)
            await self._deploy(request, target, {secret: text})
            return answer(request, {"name": secret, "type": "secret_text"})

        @app.route(SCRIPT + "/secrets/<path:secret>", methods=["GET", "DELETE"])
        async def one_secret(request: IRequest, account: str, name: str, secret: str) -> bytes:
            target = await self._target(request, account, name)
            if request.method == b"GET":
                return answer(request, await self._one(target, secret))
            await self._deploy(request, target, {secret: None}, must_exist=True)
            return answer(request, None)

        @app.route(SCRIPT + "/secrets-bulk", methods=["PATCH"])
        async def secrets_bulk(request: IRequest, account: str, name: str) -> bytes:
            target = await self._target(request, account, name)
            sent = read_json(request).get("secrets")
            if not isinstance(sent, dict) or len(sent) > MAX_AT_ONCE:
                raise _wrong(f"'secrets' takes an object of at most {MAX_AT_ONCE} secrets")
            changes = {
                key: None if value is None else _secret(key, value)[1]
                for key, value in sent.items()
            }
            stored = await self._deploy(request, target, changes)
            bindings = stored.version.bindings if stored else ()
            kept = [b for b in bindings if b.kind is BindingKind.SECRET_TEXT]
            return answer(request, [shapes.binding(binding) for binding in kept])

        @app.route(LATEST, methods=["PATCH"])
        async def patch_latest(request: IRequest, account: str, name: str) -> bytes:
            target = await self._target(request, account, name)
            changes, annotations = _patch(read_json(request))
            try:
                stored = await self.workers.revise(
                    target,
                    Revision(
                        change=lambda bindings: patched(bindings, changes),
                        source=source_of(request),
                        deploy=False,
                        message=text_of(annotations, "workers/message"),
                        tag=text_of(annotations, "workers/tag"),
                    ),
                )
            except Problem as problem:
                if problem.kind is not Kind.SCRIPT_NOT_FOUND:
                    raise
                raise Problem(kind=Kind.NO_VERSIONS, message=problem.message) from None
            return answer(request, shapes.stored(stored, self.urls))

    async def _target(self, request: IRequest, account: str, name: str) -> Target:
        return await target_of(self.auth, request, account, name)

    async def _one(self, target: Target, secret: str) -> dict[str, Any]:
        found = await self.workers.read.versions(target)
        for binding in found[0].bindings:
            if binding.name == secret and binding.kind is BindingKind.SECRET_TEXT:
                return shapes.binding(binding)
        raise Problem(kind=Kind.BINDING_NOT_FOUND, message="There is no secret of this name.")

    async def _deploy(
        self,
        request: IRequest,
        target: Target,
        changes: Mapping[str, str | None],
        *,
        must_exist: bool = False,
    ) -> Stored | None:
        if not changes:
            await self.workers.read.function(target)
            return None
        return await self.workers.revise(
            target,
            Revision(
                change=lambda bindings: with_secrets(bindings, changes, must_exist=must_exist),
                source=source_of(request),
                deploy=True,
            ),
        )


LATEST: Final = "/accounts/<account>/workers/workers/<name>/versions/latest"


def _wrong(what: str) -> Problem:
    return Problem(kind=Kind.BAD_REQUEST, message=f"The body is not right: {what}.")


def _secret(name: Any, entry: Any) -> tuple[str, str]:
    """
    Name and text of one secret that is sent.
    """
    if not isinstance(entry, dict) or entry.get("type", "secret_text") != "secret_text":
        raise _wrong("a secret is an object with the type 'secret_text'")
    ((binding,), _) = parse_bindings(
        [{"name": name, "type": "secret_text", "text": entry.get("text")}]
    )
    return binding.name, binding.value


def _patch(document: dict[str, Any]) -> tuple[dict[str, Any], Any]:
    """
    Bindings by name (None: take it away), and the annotations.
    """
    env = document.get("env", {})
    if not isinstance(env, dict) or document.keys() - {"env", "annotations"}:
        raise _wrong("it takes 'env', an object of bindings by name, and 'annotations'")
    changes: dict[str, Any] = {}
    for name, entry in env.items():
        if entry is None:
            changes[name] = None
        elif isinstance(entry, dict):
            ((changes[name],), _) = parse_bindings([{**entry, "name": name}])
        else:
            raise _wrong(f"env.{name[:80]} is neither a binding nor null")
    return changes, document.get("annotations") or {}
