"""The tolerance on the header's time decides about certified blocks, too."""

from ledger.blocks import Block
from tests.simulation.node import SimulatedNode
from tests.simulation.variant import Variant


class _Node(SimulatedNode):
    def validate(self, block: Block, block_hash: bytes, is_certified: bool) -> bool:
        return super().validate(block, block_hash, False)


VARIANT = Variant(node=_Node)
