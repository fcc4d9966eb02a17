"""Final blocks of a peer are taken without their proofs."""

from consensus.messages import CommittedBlock
from tests.simulation.node import SimulatedNode
from tests.simulation.variant import Variant


class _Node(SimulatedNode):
    def check_final(self, committed: CommittedBlock) -> None:
        return


VARIANT = Variant(node=_Node)
