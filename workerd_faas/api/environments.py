"""
What `wrangler init --from-dash` downloads: a function's newest version and its configuration.

A function has one environment here, `production`: those of a configuration are functions of their
own.
"""

from typing import Any, Final

import attrs
from klein import Klein
from twisted.web.iweb import IRequest

from workerd_faas.api import shapes
from workerd_faas.api.envelope import answer
from workerd_faas.api.module_form import answer_modules
from workerd_faas.api.scripts import target_of
from workerd_faas.api.wrangler import SERVICE, WORKERS
from workerd_faas.domain.errors import Kind, Problem
from workerd_faas.domain.model import BindingKind, PublicUrls, Version, timestamp
from workerd_faas.usecases.ports import Authenticator
from workerd_faas.usecases.target import Target
from workerd_faas.usecases.ties.verbs import TieVerbs
from workerd_faas.usecases.unversioned.verbs import UnversionedVerbs
from workerd_faas.usecases.workers import Workers

ENVIRONMENT: Final = SERVICE + "/environments/<environment>"


@attrs.frozen(kw_only=True)
class EnvironmentRoutes:
    """
    The one environment of a function, and the parts of its configuration.
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

        @app.route(ENVIRONMENT, methods=["GET"])
        async def environment_(
            request: IRequest, account: str, name: str, environment: str
        ) -> bytes:
            target = await self._target(request, account, name, environment)
            newest = await self._newest(target)
            consumers = await self.ties.consumers(target)
            script = {
                "compatibility_date": newest.compatibility_date,
                "compatibility_flags": list(newest.compatibility_flags),
                "tags": list((await self.unversioned.of(target)).tags),
                "tail_consumers": [{"service": each} for each in consumers] or None,
            }
            made = timestamp(newest.created_at)
            return answer(
                request, {"environment": environment, "script": script, "created_on": made}
            )

        @app.route(ENVIRONMENT + "/bindings", methods=["GET"])
        async def bindings(request: IRequest, account: str, name: str, environment: str) -> bytes:
            target = await self._target(request, account, name, environment)
            return answer(request, _bindings(await self._newest(target)))

        @app.route(ENVIRONMENT + "/content/v2", methods=["GET"])
        async def content(request: IRequest, account: str, name: str, environment: str) -> bytes:
            target = await self._target(request, account, name, environment)
            main, modules = await self.workers.read.content(target, None)
            return answer_modules(request, main, modules)

        @app.route(ENVIRONMENT + "/subdomain", methods=["GET"])
        async def subdomain(request: IRequest, account: str, name: str, environment: str) -> bytes:
            target = await self._target(request, account, name, environment)
            reach = (await self.workers.read.function(target)).reach
            return answer(request, shapes.subdomain(reach))

        # Nobody has routes or domains of his own here: there are none of any function.
        @app.route(ENVIRONMENT + "/routes", methods=["GET"])
        async def routes(request: IRequest, account: str, name: str, environment: str) -> bytes:
            await self._target(request, account, name, environment)
            return answer(request, [])

        @app.route(WORKERS + "/domains/records", methods=["GET"])
        async def domains(request: IRequest, account: str) -> bytes:
            await target_of(self.auth, request, account, "")
            return answer(request, [])

    async def _target(self, request: IRequest, account: str, name: str, environment: str) -> Target:
        target = await target_of(self.auth, request, account, name)
        await self.workers.read.function(target)
        if environment != "production":
            raise Problem(
                kind=Kind.SERVICE_NOT_FOUND,
                message="A function has the environment 'production' only: those of a "
                "configuration are functions of their own, <name>-<environment>.",
            )
        return target

    async def _newest(self, target: Target) -> Version:
        return (await self.workers.read.versions(target))[0]


def _bindings(version: Version) -> list[dict[str, Any]]:
    """
    Those of a version; a site is shown even if the code does not bind it, so that Wrangler says
    that it does not download sites instead of leaving one out.
    """
    found = [shapes.binding(each) for each in version.bindings]
    if version.assets is not None and not any(
        each.kind is BindingKind.ASSETS for each in version.bindings
    ):
        found.append({"name": "ASSETS", "type": "assets"})
    return found
