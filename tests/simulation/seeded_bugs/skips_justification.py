"""A proposal is judged without a nullification of every view after its parent's."""

from consensus.block_tree import BlockTree, Missing
from consensus.machine import Consensus
from consensus.messages import Proposal
from consensus.verification import Committee
from tests.simulation.variant import Variant


class _Tree(BlockTree):
    def find_unjustified(self, proposal: Proposal) -> Missing | None:
        return None


class _Machine(Consensus):
    def _begin_epoch(self, committee: Committee) -> None:
        super()._begin_epoch(committee)
        self.tree = _Tree(self.tree.final)


VARIANT = Variant(machine=_Machine)
