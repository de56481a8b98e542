"""A state cell with all that belongs to it: directories, configuration, door to the daemon."""

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import attrs
from twisted.internet.defer import maybeDeferred
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort, IProcessTransport

from workerd_faas.domain.upstream import Upstream
from workerd_faas.runtime import uids
from workerd_faas.runtime.cell import Cell, CellOwner, Times
from workerd_faas.runtime.probe import SocketProber
from workerd_faas.runtime.process import Launch, ProcessOwner, handed, spawn
from workerd_faas.runtime.state import door
from workerd_faas.runtime.state.config import (
    BLOBS,
    KEYS,
    OBJECTS,
    StateCell,
    render_state_cell,
)
from workerd_faas.runtime.state.damage import DamageReports
from workerd_faas.runtime.state.syncing import MODE, BlobSync, make_folder
from workerd_faas.runtime.walls import Walls
from workerd_faas.usecases.storage.ports import Deliveries

Consumers = Callable[[str], Mapping[str, Mapping[str, Any]]]
"""The consumers of an account's queues, as `queues.js` takes its `CONSUMERS`."""

_TEMPORARY: Final = "etilqs_*"
"""What SQLite calls its temporary files."""

_LISTEN: Final = Path("h")
_DAEMON: Final = Path("d")


@attrs.define(eq=False, kw_only=True)
class StateHouse:
    """
    Where one state cell lives. Its data outlives it; the rest is made when its process is started
    and cleared when that is gone.
    """

    reactor: Any
    launch: Launch
    data: Path
    modules: tuple[tuple[str, str], ...]
    account_id: str
    consumers: Consumers
    deliveries: Deliveries
    damage: DamageReports
    _door: IListeningPort | None = None

    def spawn(self, process: ProcessOwner) -> IProcessTransport:
        """
        Make the directories, open the door, start the process.

        Raises:
            OSError: one of these failed.
        """
        directory = self.launch.directory
        self._make_folders()
        directory.mkdir(mode=MODE, parents=True, exist_ok=True)
        for temporary in self.data.glob(_TEMPORARY):
            # Of a process that was killed before it had taken the name away.
            temporary.unlink()
        path = str(directory / _DAEMON)
        try:
            sync = BlobSync(reactor=self.reactor, folder=self.data / BLOBS)
            self._door = door.listen(self.reactor, path, self.account_id, self.deliveries, sync)
        except CannotListenError as error:
            raise OSError(str(error)) from error
        config = StateCell(
            listen=_LISTEN,
            daemon=_DAEMON,
            data=handed(0),
            modules=self.modules,
            consumers=self.consumers(self.account_id),
        )
        if self.launch.uid is not None:
            uids.give(directory, self.launch.uid)
        watched = self.damage.watching(self.account_id, process)
        return spawn(self.reactor, self.launch, render_state_cell(config), watched)

    def _make_folders(self) -> None:
        make_folder(self.data / BLOBS)
        if make_folder(self.data / OBJECTS):
            # workerd would make these, and not sync the one that they are in. Where there are some
            # already they are the cell's, and we might be somebody else.
            for key in KEYS:
                make_folder(self.data / OBJECTS / key)

    async def clear(self) -> None:
        """
        Close the door and remove what is not data.
        """
        port, self._door = self._door, None
        if port is not None:
            await maybeDeferred(port.stopListening)
        shutil.rmtree(self.launch.directory, ignore_errors=True)


@attrs.frozen(kw_only=True)
class StateBuilder:
    """
    Makes state cells.

    Attributes:
        reactor: Provides IReactorProcess, IReactorTime and IReactorUNIX.
        directory: Where the cells' runtime directories go.
        data: Where the accounts' state directories are.
        memory: See `process.Launch`.
    """

    reactor: Any
    binary: Path
    directory: Path
    data: Path
    modules: tuple[tuple[str, str], ...]
    memory: int
    times: Times
    consumers: Consumers
    deliveries: Deliveries
    damage: DamageReports
    walls: Walls = attrs.Factory(Walls)

    def build(
        self, name: str, label: str, account_id: str, owner: CellOwner
    ) -> tuple[Cell, StateHouse]:
        """
        A cell that is not started, and its house.
        """
        directory, data = self.directory / name, self.data / account_id
        house = StateHouse(
            reactor=self.reactor,
            launch=Launch(
                binary=self.binary,
                directory=directory,
                memory=self.memory,
                connect=False,
                uid=None if self.walls.uids is None else self.walls.uids.state,
                landlock=self.walls.landlock,
                seccomp=self.walls.seccomp,
                bwrap=self.walls.bwrap,
                writable=(data,),
                # What a query sorts, and what a change may have to take back, is written to files
                # that have no name any more; everywhere else it may write to no file.
                environment={"SQLITE_TMPDIR": str(handed(0))},
            ),
            data=data,
            modules=self.modules,
            account_id=account_id,
            consumers=self.consumers,
            deliveries=self.deliveries,
            damage=self.damage,
        )
        cell = Cell(
            reactor=self.reactor,
            label=label,
            upstream=Upstream(str(directory / _LISTEN), label),
            times=self.times,
            prober=SocketProber(self.reactor, directory / _LISTEN, self.times.ping),
            spawn=house.spawn,
            owner=owner,
        )
        return cell, house
