"""A leader that shows everybody both of its proposals, in a different order."""

from ledger.blocks import Block, compute_header_hash
from tests.simulation.byzantine.dishonest import DishonestNode


class TwinProposals(DishonestNode):
    """Its two blocks race; the votes split, and everybody holds evidence."""

    def sign_proposal(self, view: int, block: Block, block_hash: bytes) -> None:
        if view != block.header.view:
            return super().sign_proposal(view, block, block_hash)
        other = self.build_other(block)
        pair = [
            self.make_proposal(view, block, block_hash),
            self.make_proposal(view, other, compute_header_hash(other.header)),
        ]
        for node in self.get_others():
            self.random.shuffle(pair)
            for proposal in pair:
                self.whisper(node, proposal)
        self.hear_own(pair[0])
        return None
