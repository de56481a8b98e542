"""`GET /`: what this is and how to begin. `GET /health`: whether it serves."""

from collections.abc import Awaitable, Callable, Mapping
from html import escape
from typing import Any

import attrs
from klein import Klein
from twisted.web.iweb import IRequest

from workerd_faas.api.envelope import answer, write_json
from workerd_faas.api.pages import page, wants_page
from workerd_faas.domain.model import PublicUrls

Health = Callable[[], Awaitable[Mapping[str, Any]]]
"""Gives the parts of the platform and their states; each has a boolean `ok`."""


@attrs.frozen(kw_only=True)
class HomeRoutes:
    """
    The two routes that need no login.
    """

    urls: PublicUrls
    version: str
    health: Health

    def register(self, app: Klein) -> None:
        """
        See `api.app.Routes.register`.
        """

        @app.route("/", methods=["GET"])
        async def home(request: IRequest) -> bytes:
            if wants_page(request):
                return page(request, "workerd-faas", self._text())
            return answer(request, {"name": "workerd-faas", "version": self.version})

        @app.route("/health", methods=["GET"])
        async def health(request: IRequest) -> bytes:
            parts = await self.health()
            healthy = all(part["ok"] for part in parts.values())
            document = {
                "status": "healthy" if healthy else "unhealthy",
                "version": self.version,
                **parts,
            }
            return write_json(request, 200 if healthy else 503, document)

    def _text(self) -> str:
        url = escape(self.urls.api)
        example = escape(self.urls.function("my-worker"))
        return f"""
<p>This is a self-hosted Functions-as-a-Service platform for Cloudflare Workers code.
A function called <code>my-worker</code> answers at <code>{example}</code>.</p>
<p>To the first deploy it takes three commands, in the directory of your Worker:</p>
<pre>wrkst config set-url {url}
wrkst login
wrkst deploy</pre>
<p>No Worker yet? <code>wrkst init my-worker</code> makes one.
Is everything well here? <a href="/health">/health</a> says.</p>
<p>workerd-faas {escape(self.version)}</p>
"""
