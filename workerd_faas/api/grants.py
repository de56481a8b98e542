"""Grants over HTTP: `/accounts/:account/workers/scripts/:name/grants`. They are ours alone."""

from typing import Any

import attrs
from klein import Klein
from twisted.web.iweb import IRequest

from workerd_faas.api.envelope import answer
from workerd_faas.api.scripts import SCRIPT, target_of
from workerd_faas.domain.model import timestamp
from workerd_faas.usecases.ports import Authenticator
from workerd_faas.usecases.ties.grants import CallGrants
from workerd_faas.usecases.ties.ports import Grant


@attrs.frozen(kw_only=True)
class GrantRoutes:
    """
    Which other accounts' functions may call a function.
    """

    auth: Authenticator
    grants: CallGrants

    def register(self, app: Klein) -> None:
        """
        See `api.app.Routes.register`.
        """

        @app.route(SCRIPT + "/grants", methods=["GET"])
        async def grants(request: IRequest, account: str, name: str) -> bytes:
            target = await target_of(self.auth, request, account, name)
            return answer(request, [_shape(each) for each in await self.grants.grants(target)])

        @app.route(SCRIPT + "/grants/<grantee>", methods=["PUT"])
        async def grant(request: IRequest, account: str, name: str, grantee: str) -> bytes:
            target = await target_of(self.auth, request, account, name)
            return answer(request, _shape(await self.grants.grant(target, grantee)))

        @app.route(SCRIPT + "/grants/<grantee>", methods=["DELETE"])
        async def revoke(request: IRequest, account: str, name: str, grantee: str) -> bytes:
            target = await target_of(self.auth, request, account, name)
            await self.grants.revoke(target, grantee)
            return answer(request, None)


def _shape(value: Grant) -> dict[str, Any]:
    return {
        "account_id": value.account_id,
        "created_on": timestamp(value.created_at),
        "author_email": value.author,
    }
