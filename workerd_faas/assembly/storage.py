"""KV, D1 and queues: state cells and what the API does with them."""

from collections.abc import Callable

from twisted.internet.task import deferLater

from workerd_faas.assembly.ground import Ground
from workerd_faas.ingress.passing import PassedCells
from workerd_faas.ingress.state_doors import state_doors
from workerd_faas.operator_socket import OperatorSocket
from workerd_faas.runtime.fleet import Fleet
from workerd_faas.runtime.state.dispatch import CellDispatch
from workerd_faas.runtime.state.fleet import StateFleet, StateOptions
from workerd_faas.store.resources import SQLResources
from workerd_faas.usecases.storage.databases import Databases
from workerd_faas.usecases.storage.instants import Instants
from workerd_faas.usecases.storage.inventory import Inventory
from workerd_faas.usecases.storage.queues import ConsumerTable, QueueDeliveries, Queues


class StorageParts:
    """
    Attributes:
        cells: State cells.
        state: The same for function cells, also while another daemon has them.
        doors: What function cells reach them by.
    """

    def __init__(self, ground: Ground, function_cells: Callable[[], Fleet]) -> None:
        self.resources = SQLResources(ground.database)
        self.consumers = ConsumerTable()
        self.deliveries = QueueDeliveries(
            table=self.consumers,
            routes=ground.routes,
            dispatch=CellDispatch(reactor=ground.reactor, cells=function_cells),
            pause=lambda seconds: deferLater(ground.reactor, seconds),
        )
        self.cells = StateFleet(
            reactor=ground.reactor,
            binary=ground.workerd.path,
            directory=ground.made("s"),
            data=ground.data.state,
            consumers=self.consumers.configuration,
            deliveries=self.deliveries,
            walls=ground.walls,
            options=StateOptions(
                max_cells=ground.settings.max_cells, idle=ground.settings.cell_idle_timeout
            ),
        )
        self.state = PassedCells(self.cells)
        self.doors = state_doors(reactor=ground.reactor, cells=self.state)
        self.inventory = Inventory(
            resources=self.resources, cells=self.cells, work=ground.jobs, clock=ground.clock
        )
        self.databases = Databases(
            inventory=self.inventory, directory=ground.data.transfers, reactor=ground.reactor
        )
        self.queues = Queues(
            inventory=self.inventory, table=self.consumers, owner=ground.routes.owner
        )

    def operator_socket(self, ground: Ground) -> OperatorSocket:
        """
        What `workerd-faas` commands ask the running daemon by.
        """
        return OperatorSocket(
            reactor=ground.reactor,
            path=ground.run / "operator",
            link=ground.data.operator,
            instants=Instants(holds=self.cells, turns=self.inventory.turns),
        )
