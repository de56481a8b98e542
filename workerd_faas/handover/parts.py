"""What only one daemon may do, in the order in which it is let go of."""

from typing import Final

import attrs

from workerd_faas.directories import DirectoryStage
from workerd_faas.domain.routing import RoutingTable
from workerd_faas.domain.upstream import Upstream
from workerd_faas.handover.giving import Part, Successor
from workerd_faas.ingress.passing import PassedCells
from workerd_faas.ingress.service import Ingress
from workerd_faas.lifecycle import Stage
from workerd_faas.runtime.state.fleet import StateFleet
from workerd_faas.usecases.ports import Catalog
from workerd_faas.usecases.storage.queues import Queues

STATE_SECONDS: Final = 5.0
"""How long one operation on an account's state may delay the hand-over; then it is cut off."""


@attrs.frozen(kw_only=True)
class Parts:
    """
    Functions are served all the while until the last two; what they ask of their state waits from
    the last but two on.

    Attributes:
        drain: Seconds for what is under way in the API, schedules and queues.
        state: What the function cells' doors lead to.
    """

    ingress: Ingress
    tails: Stage
    jobs: Stage
    scheduler: Stage
    queues: Queues
    sweeper: Stage
    state_cells: StateFleet
    state: PassedCells
    directory: DirectoryStage
    catalog: Catalog
    routes: RoutingTable
    drain: float

    def __call__(self) -> list[Part]:
        """
        In their order.
        """
        ingress = self.ingress
        return [
            Part("watchers", self.tails.stop),
            Part("api", self._api, ingress.take_back),
            Part("schedules", self.scheduler.stop, self.scheduler.start),
            Part("queues", self.queues.stop, self.queues.resume),
            Part("sites", self.sweeper.stop, self.sweeper.start),
            Part("state", self._state, self._state_again, self._pass_state),
            Part("requests", self._requests, ingress.take_back, self._pass_requests),
            Part("directory", self._directory, self._directory_again),
        ]

    async def _api(self) -> None:
        await self.ingress.hold_api(self.drain)
        await self.jobs.stop()

    async def _state(self) -> None:
        self.state.hold()
        await self.state_cells.stop(within=STATE_SECONDS)

    async def _state_again(self) -> None:
        await self.state_cells.start()
        self.state.take_back()

    def _pass_state(self, successor: Successor) -> None:
        self.state.pass_on(Upstream(successor.state, "the next daemon's state"))

    async def _requests(self) -> None:
        self.ingress.hold_all()

    def _pass_requests(self, successor: Successor) -> None:
        self.ingress.pass_on(successor.requests)

    async def _directory(self) -> None:
        self.directory.release()

    async def _directory_again(self) -> None:
        await self.directory.start()
        self.routes.load(await self.catalog.routes())
