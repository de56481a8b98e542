"""`/accounts/:account/hyperdrive/configs`: configurations of databases. Passwords only come in."""

from typing import Any

import attrs
from klein import Klein
from twisted.web.iweb import IRequest

from workerd_faas.api.access import principal_of
from workerd_faas.api.envelope import answer, answer_page, read_json
from workerd_faas.domain.hyperdrive import Configuration
from workerd_faas.domain.model import Principal, timestamp
from workerd_faas.usecases.hyperdrive.verbs import Hyperdrives
from workerd_faas.usecases.ports import Authenticator

CONFIGS = "/accounts/<account>/hyperdrive/configs"
CONFIG = CONFIGS + "/<id_>"


@attrs.frozen(kw_only=True)
class HyperdriveRoutes:
    """
    `wrangler hyperdrive …`.
    """

    auth: Authenticator
    hyperdrives: Hyperdrives

    def register(self, app: Klein) -> None:
        """
        See `api.app.Routes.register`.
        """

        @app.route(CONFIGS, methods=["GET"])
        async def configs(request: IRequest, account: str) -> bytes:
            found = await self.hyperdrives.all_of(await self._who(request), account)
            return answer_page(request, found, shown)

        @app.route(CONFIGS, methods=["POST"])
        async def create(request: IRequest, account: str) -> bytes:
            who = await self._who(request)
            return answer(
                request, shown(await self.hyperdrives.create(who, account, read_json(request)))
            )

        @app.route(CONFIG, methods=["GET"])
        async def config(request: IRequest, account: str, id_: str) -> bytes:
            who = await self._who(request)
            return answer(request, shown(await self.hyperdrives.get(who, account, id_)))

        @app.route(CONFIG, methods=["PUT", "PATCH"])
        async def update(request: IRequest, account: str, id_: str) -> bytes:
            who = await self._who(request)
            changed = await self.hyperdrives.update(
                who, account, id_, read_json(request), whole=request.method == b"PUT"
            )
            return answer(request, shown(changed))

        @app.route(CONFIG, methods=["DELETE"])
        async def delete(request: IRequest, account: str, id_: str) -> bytes:
            await self.hyperdrives.remove(await self._who(request), account, id_)
            return answer(request, None)

    async def _who(self, request: IRequest) -> Principal:
        return await principal_of(self.auth, request)


def shown(value: Configuration) -> dict[str, Any]:
    """
    A configuration without its password.
    """
    origin = value.origin
    return {
        "id": value.id,
        "name": value.name,
        "origin": {
            "scheme": origin.scheme,
            "host": origin.host,
            "port": origin.port,
            "database": origin.database,
            "user": origin.user,
        },
        "caching": {"disabled": True},
        **value.settings,
        "created_on": timestamp(value.created_at),
        "modified_on": timestamp(value.modified_at),
    }
