"""An authority whose blocks do not execute, or stand on no certificate."""

import msgspec

from ledger.blocks import Block, compute_header_hash
from tests.simulation.byzantine.dishonest import DishonestNode


class Invalid(DishonestNode):
    """Proposes a false outcome, or a block on a parent that was never certified."""

    def sign_proposal(self, view: int, block: Block, block_hash: bytes) -> None:
        if view != block.header.view:
            return super().sign_proposal(view, block, block_hash)
        if self.random.random() < 0.5:
            header = msgspec.structs.replace(block.header, state_root=bytes(32))
        else:
            header = msgspec.structs.replace(block.header, parent=self.random.randbytes(32))
        false = Block(header, block.transactions)
        proposal = self.make_proposal(view, false, compute_header_hash(header))
        for node in self.get_others():
            self.whisper(node, proposal)
        return None
