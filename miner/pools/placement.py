"""Decides how many engines of each kind a cluster holds: pure arithmetic over what its nodes have.

An operator who names a number gets it, or is told that there is no room. For the rest the nodes are
filled in turns, one engine of each kind at a time, on the node with the most room, until none fits.
"""

import math
from collections.abc import Sequence
from typing import Final, NamedTuple

MAX_ENGINES: Final = 64
"""Of all kinds in one pool: as many jobs as a miner without a pool may run at a time."""
UNITS: Final = 10_000
"""Ray counts shares of a processor or GPU in ten-thousandths."""


class NoRoomError(Exception):
    """The cluster cannot hold what the settings ask for."""


class Node(NamedTuple):
    """What one node offers in all."""

    name: str
    cpus: float
    gpus: float


class Demand(NamedTuple):
    """What each engine of a kind takes of its node, and how many are wanted; None: what fits."""

    kind: str
    cpus: float
    gpus: float
    engines: int | None = None


class _Room:
    """What is left of a node. In whole units, so that ten tenths are one."""

    def __init__(self, node: Node) -> None:
        self.cpus = math.floor(node.cpus * UNITS + 0.5)
        self.gpus = math.floor(node.gpus * UNITS + 0.5)

    def fits(self, demand: Demand) -> bool:
        return self.cpus >= _count(demand.cpus) and self.gpus >= _count(demand.gpus)

    def take(self, demand: Demand) -> None:
        self.cpus -= _count(demand.cpus)
        self.gpus -= _count(demand.gpus)


def plan(nodes: Sequence[Node], demands: Sequence[Demand]) -> dict[str, int]:
    """Return the number of engines of each kind, at least one. Raises `NoRoomError`."""
    rooms = [_Room(node) for node in nodes]
    counts = {demand.kind: 0 for demand in demands}
    # Numbers that were asked for go first: what fills the rest must not take their room.
    for demand in demands:
        for _ in range(demand.engines or 0):
            if not _place(rooms, demand):
                raise NoRoomError(
                    f"the cluster has room for {counts[demand.kind]} of {demand.engines} engines "
                    f"for {demand.kind}: {describe(demand)} each"
                )
            counts[demand.kind] += 1
    open_ended = [demand for demand in demands if demand.engines is None]
    while open_ended:
        if sum(counts.values()) + len(open_ended) > MAX_ENGINES and all(counts.values()):
            break
        open_ended = [demand for demand in open_ended if _place(rooms, demand)]
        for demand in open_ended:
            counts[demand.kind] += 1
    for demand in demands:
        if not counts[demand.kind]:
            raise NoRoomError(
                f"no node of the cluster has room for {demand.kind}: {describe(demand)}"
            )
    return counts


def describe(demand: Demand) -> str:
    """Return what one engine takes, for people."""
    return f"{demand.cpus:g} processors and {demand.gpus:g} GPUs"


def _place(rooms: list[_Room], demand: Demand) -> bool:
    """Take the room of one engine, on the node that has the most; False where none has."""
    fitting = [room for room in rooms if room.fits(demand)]
    if not fitting:
        return False
    wants_gpu = demand.gpus > 0
    # Work that needs no GPU leaves the nodes that have one to the work that does.
    best = max(
        fitting,
        key=lambda room: (room.gpus, room.cpus) if wants_gpu else (-room.gpus, room.cpus),
    )
    best.take(demand)
    return True


def _count(share: float) -> int:
    return math.floor(share * UNITS + 0.5)
