"""State cells and function cells as the daemon joins them, with real processes."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs
from twisted.internet.defer import Deferred

from tests.runtime.support import ACCOUNT, RealCase, Reply, code, workerd
from workerd_faas.domain.errors import Kind, Problem
from workerd_faas.domain.model import Binding, BindingKind
from workerd_faas.domain.routing import Route
from workerd_faas.ingress.state_doors import state_doors
from workerd_faas.runtime.fleet import Fleet
from workerd_faas.runtime.options import FleetOptions
from workerd_faas.runtime.state.fleet import StateFleet, StateOptions
from workerd_faas.runtime.walls import Walls
from workerd_faas.usecases.storage.ports import StateAnswer, StateQuestion
from workerd_faas.wire.bundle import load_document_for_check

STORES = (
    Binding(name="KV", kind=BindingKind.KV_NAMESPACE, value={"namespace_id": "ns"}),
    Binding(name="OTHER", kind=BindingKind.KV_NAMESPACE, value={"namespace_id": "other"}),
    Binding(name="D1", kind=BindingKind.D1, value={"id": "db"}),
    Binding(
        name="QUEUE",
        kind=BindingKind.QUEUE,
        value={"id": "queue", "queue_name": "queue", "format": "json", "delay": 0},
    ),
)


@attrs.define
class RecordingDeliveries:
    """
    Acknowledges every batch, or does what `outcome` says, and keeps it; while there is a `held`,
    waits for that first.
    """

    batches: list[tuple[str, Any]] = attrs.Factory(list)
    outcome: Mapping[str, Any] = attrs.Factory(
        lambda: {"outcome": "ok", "retryBatch": {"retry": False}, "explicitAcks": []}
    )
    failing: bool = False
    held: "Deferred[None] | None" = None
    in_flight: int = 0
    most: int = 0

    async def deliver(self, account_id: str, batch: bytes) -> bytes:
        """
        See `Deliveries`.
        """
        if self.failing:
            raise Problem(kind=Kind.UPSTREAM_FAILED, message="no consumer")
        self.batches.append((account_id, json.loads(batch)))
        self.in_flight += 1
        self.most = max(self.most, self.in_flight)
        try:
            if self.held is not None:
                over: Deferred[None] = Deferred()
                self.held.chainDeferred(over)
                await over
        finally:
            self.in_flight -= 1
        return json.dumps(self.outcome).encode()


class AccountLoader:
    """
    One version for all, each with its account in the load document.
    """

    def __init__(self, text: str, bindings: tuple[Binding, ...] = STORES, **more: Any) -> None:
        self._code = attrs.evolve(code(text, **more), bindings=bindings)

    async def load_document(self, account_id: str | None, version_id: str) -> bytes:
        """
        See `VersionLoader`. Of cells that all share, the version's id is the account.
        """
        document = load_document_for_check(self._code, "fn")
        size = int.from_bytes(document[4:8], "big")
        header = json.loads(document[8 : 8 + size])
        header |= {"account": account_id or version_id, "version": {"id": version_id}}
        packed = json.dumps(header).encode()
        return document[:4] + len(packed).to_bytes(4, "big") + packed + document[8 + size :]


class StateCase(RealCase):
    """
    A state fleet, doors to it, and function cells behind them.
    """

    timeout = 120

    def setUp(self) -> None:
        """
        See `RealCase`.
        """
        super().setUp()
        self.deliveries = RecordingDeliveries()
        self.consumers: dict[str, dict[str, dict[str, Any]]] = {}
        self.data = self.directory / "data"

    async def state_fleet(self, walls: Walls | None = None, **options: Any) -> StateFleet:
        """
        A started one that is stopped when the test ends.
        """
        folder = self.directory / "s"
        folder.mkdir(exist_ok=True)
        fleet = StateFleet(
            reactor=self.reactor,
            binary=workerd(),
            directory=folder,
            data=self.data,
            consumers=lambda account: self.consumers.get(account, {}),
            deliveries=self.deliveries,
            options=StateOptions(**options),
            walls=walls or Walls(),
        )
        await fleet.start()
        self.addCleanup(lambda: Deferred.fromCoroutine(fleet.stop()))
        return fleet

    async def functions(self, state: StateFleet, loader: AccountLoader, **options: Any) -> Fleet:
        """
        Function cells that reach the state cells.
        """
        doors = state_doors(reactor=self.reactor, cells=state)
        await doors.start()
        self.addCleanup(lambda: Deferred.fromCoroutine(doors.stop()))
        folder = self.directory / f"f{len(list(self.directory.glob('f*')))}"
        folder.mkdir()
        fleet = Fleet(
            reactor=self.reactor,
            binary=workerd(),
            directory=folder,
            loader=loader,
            events=self.events,
            targets=self.targets,
            doors=doors,
            options=FleetOptions(**options),
        )
        await fleet.start()
        self.addCleanup(lambda: Deferred.fromCoroutine(fleet.stop()))
        return fleet

    async def call(
        self, fleet: Fleet, path: str = "/", *, account: str = ACCOUNT, **more: Any
    ) -> Reply:
        """
        A request to the version that is called like its account.
        """
        upstream = await self.ready(fleet, Route(account, "fn", account))
        reply = await self.client.get(upstream, account, path, **more)
        if reply.status == 500:
            await self.until(lambda: self.events.traces)
            exceptions = [trace["exceptions"] for *_, trace in self.events.traces]
            raise AssertionError(f"the function threw: {exceptions}")
        return reply

    def pid(self, state: StateFleet) -> int:
        """
        The process of the only state cell.
        """
        (cell,) = state.cells()
        assert cell.pid is not None
        return cell.pid


async def manage(
    state: StateFleet, method: str, target: str, id_: str, document: Any = None
) -> StateAnswer:
    """
    A question of the management API to the state cell.
    """
    body = document if isinstance(document, bytes) else json.dumps(document).encode()
    question = StateQuestion(
        kind="manage",
        id=id_,
        method=method,
        target=target,
        body=None if document is None else body,
    )
    return await state.ask(ACCOUNT, question)


def files_of(data: Path, account: str) -> list[str]:
    """
    Names of the files in an account's state directory.
    """
    return [str(path.relative_to(data / account)) for path in (data / account).rglob("*")]
