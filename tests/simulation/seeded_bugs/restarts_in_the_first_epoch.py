"""A restart takes the authority set from genesis, not from the head."""

from consensus.verification import Committee
from tests.simulation.node import SimulatedNode
from tests.simulation.variant import Variant


class _Node(SimulatedNode):
    def get_committee(self) -> Committee:
        return super().get_committee() if self.is_up else self.world.committees[0]


VARIANT = Variant(node=_Node)
