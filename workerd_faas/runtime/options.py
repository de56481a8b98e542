"""What the operator decides about function cells."""

from typing import Final

import attrs

from workerd_faas.domain.blame import BlamePolicy
from workerd_faas.domain.policies import Isolation
from workerd_faas.runtime import egress
from workerd_faas.runtime.cell import Times
from workerd_faas.runtime.cpu import CpuLimit
from workerd_faas.runtime.process import MIB, RESERVED_DATA

_VERSION: Final = 5 * MIB
"""
What a loaded version may take on average: one with little code has 3.2 MB of data, and together
they must stay below the size from which a cell is replaced.
"""


def room_for_versions(memory: int) -> int:
    """
    How many versions a cell with so many bytes keeps loaded.
    """
    return max(1, memory // _VERSION)


@attrs.frozen(kw_only=True)
class FleetOptions:
    """
    Times are in seconds, sizes in bytes.

    Attributes:
        isolation: Who shares a cell, but for accounts with a policy of their own.
        egress_allow: Networks that functions may reach besides public addresses, but for such.
        database_allow: Networks of databases that can be opened for single accounts.
        deny: Addresses of this host that its interfaces do not show, such as a mapped public one.
        max_cells: How many processes at once. A hot restart may go beyond it by one.
        cells_per_place: How many of them may run what one could, when it has too much to do.
        promoted: How many versions of an account may have a process of their own since they are
            called so much.
        idle: A cell that no request has used for so long is stopped.
        wait: How long a request waits for a cell.
        memory: What the JavaScript and buffers of one cell may take: beyond it allocations fail.
        memory_of_all: What all cells may have to themselves together, so that one that has not been
            used for long makes room; None: no bound but those of the cells.
        recycle: Bytes of data from which a cell is replaced, before allocations fail.
        recycle_age: How long a cell lives at least before that: one that needs its memory all the
            time is not replaced all the time.
        loaded_versions: How many versions one cell keeps loaded; by default as many as `memory`
            has room for.
        times: Bounds of each cell's life.
        cpu: How much CPU time a cell may have; None: as much as it gets.
        blame: When functions are suspected and quarantined.
    """

    isolation: Isolation = Isolation.ACCOUNT
    egress_allow: tuple[egress.Network, ...] = ()
    database_allow: tuple[egress.Network, ...] = ()
    deny: tuple[egress.Address, ...] = ()
    max_cells: int = 64
    cells_per_place: int = 1
    promoted: int = 1
    idle: float = 300.0
    wait: float = 10.0
    memory: int = 256 * MIB
    memory_of_all: int | None = None
    recycle: int = attrs.field()
    recycle_age: float = 60.0
    loaded_versions: int = attrs.field()
    times: Times = attrs.Factory(Times)
    cpu: CpuLimit | None = attrs.Factory(CpuLimit)
    blame: BlamePolicy = attrs.Factory(BlamePolicy)

    @recycle.default
    def _most_of_the_memory(self) -> int:
        return RESERVED_DATA + self.memory * 3 // 4

    @loaded_versions.default
    def _as_there_is_room(self) -> int:
        return room_for_versions(self.memory)
