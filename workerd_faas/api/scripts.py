"""Functions over HTTP: `/accounts/:account/workers/scripts/…`."""

from collections.abc import Awaitable, Callable
from typing import Any

import attrs
from klein import Klein
from twisted.web.iweb import IRequest

from workerd_faas.api import shapes
from workerd_faas.api.access import principal_of
from workerd_faas.api.envelope import answer, answer_page, header, query, read_json, whole_body
from workerd_faas.api.multipart import parse_multipart
from workerd_faas.domain.errors import Kind, Problem
from workerd_faas.domain.limits import UploadLimits
from workerd_faas.domain.model import PublicUrls, Split
from workerd_faas.usecases.ports import Authenticator
from workerd_faas.usecases.target import Target
from workerd_faas.usecases.upload import Upload, read_upload
from workerd_faas.usecases.workers import TRIGGERS, Workers

SCRIPTS = "/accounts/<account>/workers/scripts"
SCRIPT = SCRIPTS + "/<name>"

InThread = Callable[[Callable[[], Upload]], Awaitable[Upload]]


@attrs.frozen(kw_only=True)
class ScriptRoutes:
    """
    Uploads, versions, deployments and aliases.

    Attributes:
        in_thread: Runs work off the reactor thread: a large form takes a while to read.
    """

    auth: Authenticator
    workers: Workers
    urls: PublicUrls
    limits: UploadLimits
    in_thread: InThread

    def register(self, app: Klein) -> None:
        """
        See `api.app.Routes.register`.
        """
        self._register_scripts(app)
        self._register_versions(app)
        self._register_deployments(app)
        self._register_aliases(app)

    async def _target(self, request: IRequest, account: str, name: str) -> Target:
        return await target_of(self.auth, request, account, name)

    async def _upload(self, request: IRequest, target: Target, *, deploy: bool) -> Any:
        def read() -> Upload:
            parts = parse_multipart(
                header(request, "content-type"),
                whole_body(request),
                max_parts=self.limits.modules + 1,
            )
            return read_upload([(p.name, p.content_type, p.content) for p in parts], self.limits)

        return await self.workers.upload(
            target, lambda: self.in_thread(read), source=source_of(request), deploy=deploy
        )

    def _register_scripts(self, app: Klein) -> None:
        @app.route(SCRIPTS, methods=["GET"])
        async def scripts(request: IRequest, account: str) -> bytes:
            target = await self._target(request, account, "")
            found = await self.workers.read.functions(target.principal, account)
            return answer_page(request, found, lambda f: shapes.function(*f, self.urls))

        @app.route(SCRIPT, methods=["GET"])
        async def script(request: IRequest, account: str, name: str) -> bytes:
            target = await self._target(request, account, name)
            found = await self.workers.read.function(target)
            deployments = await self.workers.read.deployments(target)
            current = deployments[0] if deployments else None
            return answer(request, shapes.function(found, current, self.urls))

        @app.route(SCRIPT, methods=["PUT"])
        async def put_script(request: IRequest, account: str, name: str) -> bytes:
            target = await self._target(request, account, name)
            stored = await self._upload(request, target, deploy=True)
            return answer(request, shapes.script(stored, self.urls), messages=stored.notes)

        @app.route(SCRIPT, methods=["DELETE"])
        async def delete_script(request: IRequest, account: str, name: str) -> bytes:
            await self.workers.delete(await self._target(request, account, name))
            return answer(request, None)

    def _register_versions(self, app: Klein) -> None:
        @app.route(SCRIPT + "/versions", methods=["POST"])
        async def add_version(request: IRequest, account: str, name: str) -> bytes:
            target = await self._target(request, account, name)
            stored = await self._upload(request, target, deploy=False)
            return answer(request, shapes.stored(stored, self.urls), messages=stored.notes)

        @app.route(SCRIPT + "/versions", methods=["GET"])
        async def versions(request: IRequest, account: str, name: str) -> bytes:
            found = await self.workers.read.versions(await self._target(request, account, name))
            return answer(request, {"items": [shapes.version(v, self.urls) for v in found]})

        @app.route(SCRIPT + "/versions/<version>", methods=["GET"])
        async def version(request: IRequest, account: str, name: str, version: str) -> bytes:
            target = await self._target(request, account, name)
            found = await self.workers.read.version(target, version)
            return answer(request, shapes.version(found, self.urls))

    def _register_deployments(self, app: Klein) -> None:
        @app.route(SCRIPT + "/deployments", methods=["POST"])
        async def deploy(request: IRequest, account: str, name: str) -> bytes:
            target = await self._target(request, account, name)
            document = read_json(request)
            annotations = document.get("annotations") or {}
            deployed = await self.workers.deploy(
                target,
                _splits(document),
                source=source_of(request),
                message=text_of(annotations, "workers/message"),
                triggered_by=_trigger(annotations),
                force=query(request, "force") == "true",
            )
            result = shapes.deployment(deployed)
            result["urls"] = {"function": self.urls.function(name)}
            return answer(request, result)

        @app.route(SCRIPT + "/deployments", methods=["GET"])
        async def deployments(request: IRequest, account: str, name: str) -> bytes:
            found = await self.workers.read.deployments(await self._target(request, account, name))
            return answer(request, {"deployments": [shapes.deployment(d) for d in found]})

    def _register_aliases(self, app: Klein) -> None:
        @app.route(SCRIPT + "/aliases", methods=["GET"])
        async def aliases(request: IRequest, account: str, name: str) -> bytes:
            found = await self.workers.read.aliases(await self._target(request, account, name))
            return answer_page(request, found, lambda a: shapes.alias(a, name, self.urls))

        @app.route(SCRIPT + "/aliases/<alias>", methods=["GET"])
        async def alias_(request: IRequest, account: str, name: str, alias: str) -> bytes:
            target = await self._target(request, account, name)
            for each in await self.workers.read.aliases(target):
                if each.name == alias:
                    return answer(request, shapes.alias(each, name, self.urls))
            raise Problem(
                kind=Kind.ALIAS_NOT_FOUND, message="This Worker has no alias of that name."
            )

        @app.route(SCRIPT + "/aliases/<alias>", methods=["PUT"])
        async def put_alias(request: IRequest, account: str, name: str, alias: str) -> bytes:
            target = await self._target(request, account, name)
            version_id = text_of(read_json(request), "version_id")
            if version_id is None:
                raise Problem(
                    kind=Kind.BAD_REQUEST, message="The body needs 'version_id', a version's id."
                )
            stored = await self.workers.set_alias(target, alias, version_id)
            return answer(request, shapes.alias(stored, name, self.urls))

        @app.route(SCRIPT + "/aliases/<alias>", methods=["DELETE"])
        async def delete_alias(request: IRequest, account: str, name: str, alias: str) -> bytes:
            target = await self._target(request, account, name)
            await self.workers.remove_alias(target, alias)
            return answer(request, None)


async def target_of(auth: Authenticator, request: IRequest, account: str, name: str) -> Target:
    """
    Whose function this request is about, once its credential has been checked.

    Raises:
        Problem: `UNAUTHENTICATED`.
    """
    principal = await principal_of(auth, request)
    return Target(principal=principal, account_id=account, function=name)


def source_of(request: IRequest) -> str:
    """
    Which program sent a request, as versions and deployments say it.
    """
    agent = (header(request, "user-agent") or "").partition("/")[0]
    return agent if agent in {"wrangler", "wrkst"} else "api"


def text_of(document: Any, key: str) -> str | None:
    """
    A short text in a JSON object; None if it is missing or empty.

    Raises:
        Problem: `BAD_REQUEST`.
    """
    value = document.get(key) if isinstance(document, dict) else None
    if value is None or value == "":
        return None
    if not isinstance(value, str) or len(value) > 1000:
        raise Problem(
            kind=Kind.BAD_REQUEST, message=f"{key!r} takes a string of at most 1000 characters."
        )
    return value


def _trigger(annotations: Any) -> str | None:
    trigger = text_of(annotations, "workers/triggered_by")
    return trigger if trigger in TRIGGERS else None


def _splits(document: dict[str, Any]) -> list[Split]:
    strategy, versions = document.get("strategy", "percentage"), document.get("versions")
    wrong = Problem(
        kind=Kind.DEPLOYMENT_INVALID,
        message='A deployment is {"strategy": "percentage", "versions": '
        '[{"version_id": "<id>", "percentage": 100}]}.',
    )
    if strategy != "percentage" or not isinstance(versions, list):
        raise wrong
    splits = []
    for each in versions:
        if not isinstance(each, dict):
            raise wrong
        version_id, percentage = each.get("version_id"), each.get("percentage")
        if not isinstance(version_id, str):
            raise wrong
        if not isinstance(percentage, int | float) or isinstance(percentage, bool):
            raise wrong
        splits.append(Split(version_id=version_id, percentage=percentage))
    return splits
