"""File descriptors: two for most clients, so that they bound how many there can be."""

import resource
from typing import Final

_OTHERS: Final = 128
"""For everything else that a daemon has open."""


def room_for_connections(most: int) -> int:
    """
    As many clients as there are descriptors for: one each, every other one for its connection to
    a cell, and some for everything else.
    """
    descriptors, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return room_in(descriptors, most)


def room_in(descriptors: int, most: int) -> int:
    """
    The same for this many descriptors.
    """
    if descriptors == resource.RLIM_INFINITY:
        return most
    return min(most, max(16, (descriptors - _OTHERS) * 2 // 3))


def needed_for(connections: int) -> int:
    """
    How many descriptors so many clients need.
    """
    return connections + (connections + 1) // 2 + _OTHERS


def few(descriptors: int, connections: int) -> str | None:
    """
    What to say when there are fewer descriptors than so many clients need.
    """
    room = room_in(descriptors, connections)
    if room >= connections:
        return None
    return (
        f"{descriptors} are room for {room} clients at once; for {connections} there must be "
        f"{needed_for(connections)}: raise LimitNOFILE of the service, or ulimit -n"
    )


def raise_limit() -> int:
    """
    Let this process have as many descriptors as it may; returns how many. (Programs that use
    select(2) cannot have more than 1024, which is why systems begin with so few: we do not.)
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard
