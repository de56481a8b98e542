"""Batches of queues on their way into function cells."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import attrs

from workerd_faas.domain.errors import Kind, Problem
from workerd_faas.domain.routing import Route
from workerd_faas.runtime.unix_http import NoAnswer, ask
from workerd_faas.runtime.waiting import router_for
from workerd_faas.usecases.ports import Cells
from workerd_faas.usecases.storage.ports import Dispatch
from workerd_faas.wire.headers import ROUTE_AND_CF

RUN_SECONDS: Final = 15 * 60.0
"""How long a consumer may take with a batch; Cloudflare's own bound."""


@attrs.frozen(kw_only=True)
class CellDispatch:
    """
    `usecases.storage.ports.Dispatch` on the function cells, which are made after the state cells.
    """

    reactor: Any
    cells: Callable[[], Cells]

    async def dispatch(self, route: Route, event: Mapping[str, Any], body: bytes) -> bytes:
        """
        See `Dispatch.dispatch`.
        """
        upstream = await router_for(self.cells(), route)
        upstream.begin(route.function)
        run = object()
        upstream.witnesses[run] = lambda _: (route.function,)
        try:
            answer = await ask(
                self.reactor,
                Path(upstream.address),
                {ROUTE_AND_CF: json.dumps(event)},
                body,
                RUN_SECONDS,
            )
        except NoAnswer:
            raise Problem(
                kind=Kind.UPSTREAM_FAILED, message="The function's process ended meanwhile."
            ) from None
        finally:
            del upstream.witnesses[run]
            upstream.end()
        if answer.status != 200:
            raise Problem(kind=Kind.UNAVAILABLE, message="The function could not be started.")
        return answer.body


_check: type[Dispatch] = CellDispatch
