"""A function cell with all that belongs to it: directory, configuration, door to the daemon."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import attrs
from twisted.internet.defer import maybeDeferred
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort, IProcessTransport

from workerd_faas.domain.upstream import Upstream
from workerd_faas.runtime import daemon_socket, uids
from workerd_faas.runtime.budget import Budget
from workerd_faas.runtime.cell import Cell, CellOwner, Times
from workerd_faas.runtime.config import FunctionCell, render_function_cell
from workerd_faas.runtime.egress import Egress
from workerd_faas.runtime.probe import SocketProber
from workerd_faas.runtime.process import Launch, ProcessOwner, handed, spawn
from workerd_faas.runtime.promoted import Promoted
from workerd_faas.runtime.rules import SharedPoints, SharedTargets, SharedVersions
from workerd_faas.runtime.site_files import SiteFiles
from workerd_faas.runtime.walls import Walls
from workerd_faas.usecases.ports import (
    CallTargets,
    Door,
    Doors,
    FunctionEvents,
    PointSink,
    VersionLoader,
)

_LISTEN: Final = Path("h")
_DAEMON: Final = Path("d")
_STATE: Final = Path("s")
_CALLS: Final = Path("n")
_PROMOTED: Final = Path("p")
"""
Sockets in a cell's directory: its own, the daemon's, the one to the state cells, the one to
functions of other accounts, that of a promoted version.
"""


@attrs.define(eq=False, kw_only=True)
class House:
    """
    Where one cell lives. Made when the cell's process is started, cleared when that is gone.

    Attributes:
        account_id: Whose versions the cell may load; None: everybody's.
        doors: Makes its way to the state cells; None: it has none.
        calls: Makes its way to functions of other accounts; None: it has none.
        files: Whether it may read files of sites: those in the first folder of the launch.
        promoted: A version that is a service of it.
        called: The functions that it has asked about, since its functions call them.
        loaded: The functions of which it was given a version.
        reports: What all cells together may report.
    """

    reactor: Any
    launch: Launch
    walls: Walls
    modules: tuple[tuple[str, str], ...]
    egress: Egress
    loaded_versions: int
    account_id: str | None
    loader: VersionLoader
    events: FunctionEvents
    targets: CallTargets
    reports: Budget
    doors: Doors | None = None
    calls: Doors | None = None
    points: PointSink | None = None
    files: bool = False
    promoted: Promoted | None = None
    called: set[str] = attrs.Factory(set)
    loaded: set[str] = attrs.Factory(set)
    _door: IListeningPort | None = None
    _opened: list[Door] = attrs.Factory(list)
    _uid: int | None = None

    @property
    def socket(self) -> Path:
        """
        Where the cell's router answers.
        """
        return self.launch.directory / _LISTEN

    @property
    def front(self) -> Path:
        """
        Where requests go.
        """
        return self.socket if self.promoted is None else self.launch.directory / _PROMOTED

    def spawn(self, process: ProcessOwner) -> IProcessTransport:
        """
        Make the directory, open the door, start the process.

        Raises:
            OSError: one of these failed.
        """
        directory = self.launch.directory
        directory.mkdir(mode=0o700)
        try:
            self._door = daemon_socket.listen(
                self.reactor,
                str(directory / _DAEMON),
                account_id=self.account_id,
                loader=self.loader,
                events=self.events,
                targets=self.targets,
                called=self.called,
                loaded=self.loaded,
                common=self.reports,
                points=self.points,
                given=() if self.promoted is None else (self.promoted.route,),
            )
        except CannotListenError as error:
            raise OSError(str(error)) from error
        for doors, path in ((self.doors, _STATE), (self.calls, _CALLS)):
            if doors is not None:
                self._opened.append(doors.open(directory / path, self.account_id))
        config = FunctionCell(
            listen=_LISTEN,
            daemon=_DAEMON,
            state=None if self.doors is None else _STATE,
            calls=None if self.calls is None else _CALLS,
            files=handed(0) if self.files else None,
            files_of_all=self.account_id is None,
            modules=self.modules,
            egress=self.egress,
            loaded_versions=self.loaded_versions,
            promoted=self.promoted,
            promoted_listen=_PROMOTED,
        )
        if self.walls.uids is not None:
            self._uid = self.walls.uids.take()
            uids.give(directory, self._uid)
        launch = attrs.evolve(self.launch, uid=self._uid)
        return spawn(self.reactor, launch, render_function_cell(config), process)

    async def clear(self) -> None:
        """
        Close the doors and remove the directory.
        """
        while self._opened:
            self._opened.pop().close()
        door, self._door = self._door, None
        if door is not None:
            await maybeDeferred(door.stopListening)
        shutil.rmtree(self.launch.directory, ignore_errors=True)
        uid, self._uid = self._uid, None
        if self.walls.uids is not None and uid is not None:
            self.walls.uids.give_back(uid)


@attrs.frozen(kw_only=True)
class Builder:
    """
    Makes cells that differ in name and account only.

    Attributes:
        reactor: Provides IReactorProcess, IReactorTime and IReactorUNIX.
        directory: Where the cells' own directories go.
        memory: See `process.Launch`.
        sites: What its cells serve sites with; None: they serve none.
        shares: Which accounts are for a cell that is everybody's.
    """

    reactor: Any
    binary: Path
    directory: Path
    modules: tuple[tuple[str, str], ...]
    egress: Callable[[str | None], Egress]
    loaded_versions: int
    memory: int
    times: Times
    loader: VersionLoader
    events: FunctionEvents
    targets: CallTargets
    doors: Doors | None = None
    calls: Doors | None = None
    points: PointSink | None = None
    sites: SiteFiles | None = None
    shares: Callable[[str], bool] = lambda _: True
    walls: Walls = attrs.Factory(Walls)
    reports: Budget = attrs.Factory(daemon_socket.budget_of_all)

    def build(
        self,
        name: str,
        label: str,
        account_id: str | None,
        owner: CellOwner,
        promoted: Promoted | None = None,
    ) -> tuple[Cell, House]:
        """
        A cell that is not started, and its house.

        Args:
            promoted: The version that is to be a service of it.
        """
        directory = self.directory / name
        files = None if self.sites is None else self.sites.of(account_id)
        rules = self.egress(account_id)
        loader, targets, points = self.loader, self.targets, self.points
        if account_id is None:
            loader = SharedVersions(loader, self.shares)
            targets = SharedTargets(targets, self.shares)
            points = None if points is None else SharedPoints(points, self.shares)
        house = House(
            reactor=self.reactor,
            launch=Launch(
                binary=self.binary,
                directory=directory,
                memory=self.memory,
                connect=bool(rules.allow),
                landlock=self.walls.landlock,
                seccomp=self.walls.seccomp,
                bwrap=self.walls.bwrap,
                readable=() if files is None else (files,),
            ),
            walls=self.walls,
            modules=self.modules,
            egress=rules,
            loaded_versions=self.loaded_versions,
            account_id=account_id,
            loader=loader,
            events=self.events,
            targets=targets,
            reports=self.reports,
            doors=self.doors,
            calls=self.calls,
            points=points,
            files=files is not None,
            promoted=promoted,
        )
        cell = Cell(
            reactor=self.reactor,
            label=label,
            upstream=Upstream(str(house.front), label),
            times=self.times,
            prober=SocketProber(
                self.reactor,
                house.socket,
                self.times.ping,
                tailed=lambda: self.events.tailed(account_id),
                loaded=house.loaded,
            ),
            spawn=house.spawn,
            owner=owner,
        )
        return cell, house
