"""`/accounts/:account/policy`: what the operator has decided for an account. Ours; read only."""

from typing import Any

import attrs
from klein import Klein
from twisted.web.iweb import IRequest

from workerd_faas.api.access import principal_of
from workerd_faas.api.envelope import answer
from workerd_faas.domain.policies import Effective
from workerd_faas.usecases.policies.policies import Policies
from workerd_faas.usecases.ports import Authenticator


@attrs.frozen(kw_only=True)
class PolicyRoutes:
    """
    An account's policy, for those who may act for it.
    """

    auth: Authenticator
    policies: Policies

    def register(self, app: Klein) -> None:
        """
        See `api.app.Routes.register`.
        """

        @app.route("/accounts/<account>/policy", methods=["GET"])
        async def policy(request: IRequest, account: str) -> bytes:
            principal = await principal_of(self.auth, request)
            return answer(request, shown(self.policies.effective(principal, account)))


def shown(effective: Effective) -> dict[str, Any]:
    """
    What holds for an account, as the API and the operator's command say it.
    """
    return {
        "isolation": effective.isolation.value,
        "isolation_source": _source(effective.own_isolation),
        "egress": str(effective.egress),
        "egress_source": _source(effective.own_egress),
    }


def _source(own: bool) -> str:
    return "account" if own else "installation"
