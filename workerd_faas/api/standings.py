"""
How functions stand: `/accounts/:account/workers/status` and `…/scripts/:name/quarantine`. Ours.
"""

from typing import Any

import attrs
from klein import Klein
from twisted.web.iweb import IRequest

from workerd_faas.api.access import principal_of
from workerd_faas.api.envelope import answer
from workerd_faas.api.scripts import SCRIPT, target_of
from workerd_faas.domain.blame import Record
from workerd_faas.usecases.ports import Authenticator
from workerd_faas.usecases.standings.ports import Process
from workerd_faas.usecases.standings.verbs import AccountStatus, Standings


@attrs.frozen(kw_only=True)
class StandingRoutes:
    """
    Reading, and ending a quarantine before its time.
    """

    auth: Authenticator
    standings: Standings

    def register(self, app: Klein) -> None:
        """
        See `api.app.Routes.register`.
        """

        @app.route("/accounts/<account>/workers/status", methods=["GET"])
        async def account_status(request: IRequest, account: str) -> bytes:
            principal = await principal_of(self.auth, request)
            return answer(request, _status(self.standings.status(principal, account)))

        @app.route(SCRIPT + "/quarantine", methods=["GET"])
        async def quarantine(request: IRequest, account: str, name: str) -> bytes:
            target = await target_of(self.auth, request, account, name)
            record = self.standings.standing(target)
            return answer(request, _free(name) if record is None else _record(record))

        @app.route(SCRIPT + "/quarantine", methods=["DELETE"])
        async def release(request: IRequest, account: str, name: str) -> bytes:
            target = await target_of(self.auth, request, account, name)
            released = self.standings.release(target)
            return answer(request, {**_free(name), "released": released})


def _status(value: AccountStatus) -> dict[str, Any]:
    return {
        "functions": [_record(each) for each in value.records],
        "processes": [_process(each) for each in value.processes],
        "in_flight": value.in_flight,
        "limits": attrs.asdict(value.limits),
    }


def _free(name: str) -> dict[str, Any]:
    return {"name": name, "standing": "free"}


def _record(value: Record) -> dict[str, Any]:
    return {
        "name": value.function,
        "standing": value.standing.value,
        "termination": value.termination.value,
        "strikes": value.strikes,
        "deaths": value.deaths,
        "quarantines": value.quarantines,
        "retry_in_seconds": round(value.refused, 1),
        "ends_in_seconds": round(value.ends, 1),
    }


def _process(value: Process) -> dict[str, Any]:
    return {
        "function": value.function,
        "state": value.state,
        "in_flight": value.in_flight,
        "served": value.served,
        "loaded_versions": value.loaded,
        "memory_bytes": value.data,
        "age_seconds": round(value.age, 1),
    }
