"""Whoever is proved guilty is reported to nobody's block."""

from consensus.effects import RequestProposal
from ledger.blocks import Block
from tests.simulation.node import SimulatedNode
from tests.simulation.variant import Variant


class _Node(SimulatedNode):
    def build(self, request: RequestProposal) -> Block:
        self.evidence.clear()
        return super().build(request)


VARIANT = Variant(node=_Node)
