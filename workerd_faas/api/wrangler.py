"""
What Wrangler asks around a deploy and a delete that is not about scripts themselves.

What Cloudflare calls the function's subdomain are its hosts here.
"""

from collections.abc import Mapping
from typing import Any

import attrs
from klein import Klein
from twisted.web.iweb import IRequest

from workerd_faas.api import shapes
from workerd_faas.api.envelope import answer, answer_page, read_json
from workerd_faas.api.scripts import SCRIPT, target_of
from workerd_faas.domain.errors import Kind, Problem
from workerd_faas.domain.model import PublicUrls, Reach
from workerd_faas.usecases.access import account_for
from workerd_faas.usecases.ports import Authenticator
from workerd_faas.usecases.target import Target
from workerd_faas.usecases.ties.verbs import TieVerbs
from workerd_faas.usecases.unversioned.verbs import UnversionedVerbs
from workerd_faas.usecases.workers import Workers
from workerd_faas.wire.metadata import read_tail_consumers
from workerd_faas.wire.unversioned import read_unversioned

WORKERS = "/accounts/<account>/workers"
SERVICE = WORKERS + "/services/<name>"


@attrs.frozen(kw_only=True)
class WranglerRoutes:
    """
    Services, subdomains, settings and references.
    """

    auth: Authenticator
    workers: Workers
    ties: TieVerbs
    unversioned: UnversionedVerbs
    urls: PublicUrls

    def register(self, app: Klein) -> None:
        """
        See `api.app.Routes.register`.
        """
        self._register_services(app)
        self._register_subdomains(app)
        self._register_settings(app)
        self._register_references(app)
        self._register_nothing_yet(app)

    async def _target(self, request: IRequest, account: str, name: str = "") -> Target:
        target = await target_of(self.auth, request, account, name)
        account_for(target.principal, account)
        return target

    def _register_services(self, app: Klein) -> None:
        @app.route(SERVICE, methods=["GET"])
        async def service(request: IRequest, account: str, name: str) -> bytes:
            target = await self._target(request, account, name)
            try:
                found = await self.workers.read.function(target)
            except Problem as problem:
                if problem.kind is not Kind.SCRIPT_NOT_FOUND:
                    raise
                raise Problem(kind=Kind.SERVICE_NOT_FOUND, message=problem.message) from None
            tags = list((await self.unversioned.of(target)).tags)
            script = {"tag": found.tag, "tags": tags, "last_deployed_from": "wrangler"}
            environment = {"environment": "production", "script": script}
            return answer(request, {"id": name, "default_environment": environment})

        @app.route(SERVICE, methods=["DELETE"])
        async def delete_service(request: IRequest, account: str, name: str) -> bytes:
            await self.workers.delete(await self._target(request, account, name))
            return answer(request, None)

    def _register_subdomains(self, app: Klein) -> None:
        @app.route(WORKERS + "/subdomain", methods=["GET"])
        async def account_subdomain(request: IRequest, account: str) -> bytes:
            await self._target(request, account)
            return answer(request, {"subdomain": self.urls.base_domain.partition(".")[0]})

        @app.route(WORKERS + "/workers/<name>", methods=["GET"])
        async def worker(request: IRequest, account: str, name: str) -> bytes:
            found = await self.workers.read.function(await self._target(request, account, name))
            subdomain = {
                **shapes.subdomain(found.reach),
                "url": self.urls.function(name),
                "preview_url_suffix": f".{name}.{self.urls.base_domain}",
            }
            return answer(request, {"name": name, "subdomain": subdomain})

        @app.route(SCRIPT + "/subdomain", methods=["GET"])
        async def subdomain(request: IRequest, account: str, name: str) -> bytes:
            found = await self.workers.read.function(await self._target(request, account, name))
            return answer(request, shapes.subdomain(found.reach))

        @app.route(SCRIPT + "/subdomain", methods=["POST"])
        async def set_subdomain(request: IRequest, account: str, name: str) -> bytes:
            target = await self._target(request, account, name)
            reach = await self.workers.set_reach(target, _read_reach(read_json(request)))
            return answer(request, shapes.subdomain(reach))

    def _register_settings(self, app: Klein) -> None:
        @app.route(SCRIPT + "/settings", methods=["GET"])
        async def settings(request: IRequest, account: str, name: str) -> bytes:
            target = await self._target(request, account, name)
            versions = await self.workers.read.versions(target)
            newest = shapes.version(versions[0], self.urls)["resources"]
            return answer(
                request,
                {
                    **newest["script_runtime"],
                    "bindings": newest["bindings"],
                    **await self._unversioned(target),
                },
            )

        @app.route(SCRIPT + "/script-settings", methods=["GET"])
        async def script_settings(request: IRequest, account: str, name: str) -> bytes:
            target = await self._target(request, account, name)
            return answer(request, await self._unversioned(target))

        @app.route(SCRIPT + "/script-settings", methods=["PATCH"])
        async def set_script_settings(request: IRequest, account: str, name: str) -> bytes:
            target = await self._target(request, account, name)
            document = read_json(request)
            for key in ("logpush", "streaming_tail_consumers"):
                if document.get(key):
                    raise Problem(kind=Kind.UNSUPPORTED, message=f"{key!r} is not supported yet.")
            consumers = read_tail_consumers(document.get("tail_consumers"))
            change = read_unversioned(document)
            if consumers is not None:
                await self.ties.set_consumers(target, consumers)
            await self.unversioned.change(target, change)
            return answer(request, await self._unversioned(target))

    async def _unversioned(self, target: Target) -> dict[str, Any]:
        consumers = await self.ties.consumers(target)
        kept = await self.unversioned.of(target)
        return {
            "logpush": False,
            "observability": kept.observability,
            "tags": list(kept.tags),
            "tail_consumers": [{"service": consumer} for consumer in consumers] or None,
        }

    def _register_references(self, app: Klein) -> None:
        @app.route(SCRIPT + "/references", methods=["GET"])
        async def references(request: IRequest, account: str, name: str) -> bytes:
            found = await self.ties.references(await self._target(request, account, name))
            incoming = [
                {"service": caller, "environment": "production"} for caller in found.callers
            ]
            services = {"incoming": incoming, "outgoing": [], "pages_function": False}
            return answer(request, {"services": services} if incoming else {})

        @app.route(WORKERS + "/tails/by-consumer/<name>", methods=["GET"])
        async def tails_by_consumer(request: IRequest, account: str, name: str) -> bytes:
            found = await self.ties.references(await self._target(request, account, name))
            return answer(request, [{"producer": {"service": p}} for p in found.producers])

    def _register_nothing_yet(self, app: Klein) -> None:
        @app.route(WORKERS + "/durable_objects/namespaces", methods=["GET"])
        async def durable_objects(request: IRequest, account: str) -> bytes:
            await self._target(request, account)
            return answer_page(request, [])


def _read_reach(document: Mapping[str, Any]) -> Reach:
    enabled = document.get("enabled", True)
    previews = document.get("previews_enabled")
    previews = enabled if previews is None else previews
    if not isinstance(enabled, bool) or not isinstance(previews, bool):
        raise Problem(
            kind=Kind.BAD_REQUEST, message="enabled and previews_enabled are true or false."
        )
    return Reach(enabled=enabled, previews=previews)
