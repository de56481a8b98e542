"""
What Wranglers of other years ask for where 4.164 asks for something else.

They change secrets by sending all bindings anew, and make a version with other secrets by getting
the newest one's modules and uploading them again.
"""

from typing import Any

import attrs
from klein import Klein
from twisted.web.iweb import IRequest

from workerd_faas.api import shapes
from workerd_faas.api.envelope import answer, header, query
from workerd_faas.api.module_form import answer_modules
from workerd_faas.api.multipart import parse_multipart
from workerd_faas.api.scripts import SCRIPT, source_of, target_of
from workerd_faas.domain.errors import Kind, Problem
from workerd_faas.domain.limits import UploadLimits
from workerd_faas.domain.model import PublicUrls
from workerd_faas.usecases.making import Revision
from workerd_faas.usecases.ports import Authenticator
from workerd_faas.usecases.revisions import replaced
from workerd_faas.usecases.workers import Workers
from workerd_faas.wire.strict_json import RefusedJson, parse_json


@attrs.frozen(kw_only=True)
class OlderWranglerRoutes:
    """
    Settings with a list of bindings, and the modules of a version.
    """

    auth: Authenticator
    workers: Workers
    urls: PublicUrls
    limits: UploadLimits

    def register(self, app: Klein) -> None:
        """
        See `api.app.Routes.register`.
        """

        @app.route(SCRIPT + "/settings", methods=["PATCH"])
        async def patch_settings(request: IRequest, account: str, name: str) -> bytes:
            target = await target_of(self.auth, request, account, name)
            listed = self._bindings(request)
            stored = await self.workers.revise(
                target,
                Revision(
                    change=lambda bindings: replaced(bindings, listed),
                    source=source_of(request),
                    deploy=True,
                ),
            )
            resources = shapes.version(stored.version, self.urls)["resources"]
            return answer(
                request, {**resources["script_runtime"], "bindings": resources["bindings"]}
            )

        @app.route(SCRIPT + "/content/v2", methods=["GET"])
        async def content(request: IRequest, account: str, name: str) -> bytes:
            target = await target_of(self.auth, request, account, name)
            main, modules = await self.workers.read.content(target, query(request, "version"))
            return answer_modules(request, main, modules)

    def _bindings(self, request: IRequest) -> Any:
        request.content.seek(0)
        parts = parse_multipart(
            header(request, "content-type"), request.content.read(), max_parts=1
        )
        try:
            (part,) = (part for part in parts if part.name == "settings")
            document = parse_json(part.content, max_bytes=self.limits.metadata)
        except (ValueError, RefusedJson):
            document = None
        if not isinstance(document, dict) or document.keys() != {"bindings"}:
            raise Problem(
                kind=Kind.BAD_REQUEST,
                message="Send one part named 'settings': the JSON object "
                '{"bindings": [...]} with all bindings.',
            )
        return document["bindings"]
