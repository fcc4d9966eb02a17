"""A leader that builds on an older certified block, as if what came after it had been nullified."""

from consensus.timing import Timing
from ledger.blocks import Block, compute_header_hash
from tests.simulation.byzantine.dishonest import DishonestNode


class Forker(DishonestNode):
    """Leaves out the newest certified block in each of its turns, before that can become final."""

    def start(self) -> None:
        self.timing = Timing(delta=20, block_interval=1, heartbeat=20)
        super().start()

    def sign_proposal(self, view: int, block: Block, block_hash: bytes) -> None:
        parent = self.serve_block(block.header.parent)
        if view != block.header.view or parent is None:
            return super().sign_proposal(view, block, block_hash)
        header = parent.header
        fork = self.world.build(
            header.height, view, header.parent, header.parent_view, header.time + 7, self.known
        )
        if fork.header.epoch != block.header.epoch:
            return super().sign_proposal(view, block, block_hash)
        proposal = self.make_proposal(view, fork, compute_header_hash(fork.header))
        for node in self.get_others():
            self.whisper(node, proposal)
        return None
