"""An authority that votes but never proposes."""

from ledger.blocks import Block
from tests.simulation.byzantine.dishonest import DishonestNode


class Silent(DishonestNode):
    """Lets each of its turns pass."""

    def sign_proposal(self, view: int, block: Block, block_hash: bytes) -> None:
        return None
