"""Restarting cells over HTTP."""

from typing import Any

import attrs
from klein import Klein
from twisted.web.iweb import IRequest

from workerd_faas.api.access import principal_of
from workerd_faas.api.envelope import answer
from workerd_faas.api.scripts import SCRIPT, target_of
from workerd_faas.usecases.ports import Authenticator
from workerd_faas.usecases.restarts.ports import Restarted
from workerd_faas.usecases.restarts.verbs import CellVerbs


@attrs.frozen(kw_only=True)
class RestartRoutes:
    """
    `POST …/workers/cells/restart` and `POST …/workers/scripts/:name/restart`.
    """

    auth: Authenticator
    cells: CellVerbs

    def register(self, app: Klein) -> None:
        """
        See `api.app.Routes.register`.
        """

        @app.route("/accounts/<account>/workers/cells/restart", methods=["POST"])
        async def restart_all(request: IRequest, account: str) -> bytes:
            principal = await principal_of(self.auth, request)
            return answer(request, _shape(await self.cells.restart_all(principal, account)))

        @app.route(SCRIPT + "/restart", methods=["POST"])
        async def restart(request: IRequest, account: str, name: str) -> bytes:
            target = await target_of(self.auth, request, account, name)
            return answer(request, _shape(await self.cells.restart(target)))


def _shape(done: Restarted) -> dict[str, Any]:
    return {"replaced": done.replaced, "failed": done.failed}
