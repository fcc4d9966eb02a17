"""What the honest nodes of a run are made of; a seeded bug replaces one piece."""

from dataclasses import dataclass

from tests.simulation.code import Code
from tests.simulation.node import SimulatedNode


@dataclass(frozen=True)
class Variant(Code):
    """The driver and what it runs."""

    node: type[SimulatedNode] = SimulatedNode
