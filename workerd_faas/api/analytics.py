"""`/accounts/:account/analytics_engine`: what functions have written. Ours, not Cloudflare's."""

from datetime import UTC, datetime

import attrs
from klein import Klein
from twisted.web.iweb import IRequest

from workerd_faas.api.access import principal_of
from workerd_faas.api.envelope import answer, number, query
from workerd_faas.domain.errors import Kind, Problem
from workerd_faas.domain.model import Principal, timestamp
from workerd_faas.usecases.analytics.points import DataPoints
from workerd_faas.usecases.ports import Authenticator

DATASETS = "/accounts/<account>/analytics_engine"


@attrs.frozen(kw_only=True)
class AnalyticsRoutes:
    """
    Datasets, their counts and their newest points.
    """

    auth: Authenticator
    points: DataPoints

    def register(self, app: Klein) -> None:
        """
        See `api.app.Routes.register`.
        """

        @app.route(DATASETS, methods=["GET"])
        async def datasets(request: IRequest, account: str) -> bytes:
            found = await self.points.datasets(await self._who(request), account)
            return answer(
                request, [{"dataset": name, "count": count} for name, count in found.items()]
            )

        @app.route(DATASETS + "/<dataset>/count", methods=["GET"])
        async def count(request: IRequest, account: str, dataset: str) -> bytes:
            who = await self._who(request)
            since, until = _moment(request, "since"), _moment(request, "until")
            found = await self.points.count(who, account, dataset, since, until)
            return answer(request, {"dataset": dataset, "count": found})

        @app.route(DATASETS + "/<dataset>/points", methods=["GET"])
        async def points(request: IRequest, account: str, dataset: str) -> bytes:
            who = await self._who(request)
            limit = number(request, "limit", default=100, most=1000)
            found = await self.points.newest(who, account, dataset, limit)
            return answer(
                request,
                [
                    {
                        "timestamp": timestamp(point.at),
                        "function": point.function,
                        "indexes": [point.index],
                        "blobs": list(point.blobs),
                        "doubles": list(point.doubles),
                    }
                    for point in found
                ],
            )

    async def _who(self, request: IRequest) -> Principal:
        return await principal_of(self.auth, request)


def _moment(request: IRequest, name: str) -> datetime | None:
    text = query(request, name)
    if text is None:
        return None
    try:
        found = datetime.fromisoformat(text)
        return (found if found.tzinfo else found.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        raise Problem(
            kind=Kind.BAD_REQUEST,
            message=f"The query parameter {name!r} takes a time such as 2026-11-23T12:00:00Z.",
        ) from None
