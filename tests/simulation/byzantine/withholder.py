"""An authority that votes, and keeps to itself all that others need besides."""

from consensus import effects
from consensus.messages import Certificate, CommittedBlock
from ledger.blocks import Block
from ledger.quorum import compute_quorum
from tests.simulation.byzantine.dishonest import DishonestNode


class Withholder(DishonestNode):
    """Shows its proposals to no more than a quorum; serves no block, range or certificate."""

    def sign_proposal(self, view: int, block: Block, block_hash: bytes) -> None:
        proposal = self.make_proposal(view, block, block_hash)
        others = self.get_others()
        enough = min(len(others), compute_quorum(self.machine.committee.size) - 1)
        for node in self.random.sample(others, enough):
            self.whisper(node, proposal)
        self.hear_own(proposal)

    def perform(self, effect: effects.Effect) -> None:
        match effect:
            case effects.Broadcast(Certificate()) | effects.Send(_, Certificate()):
                return
            case _:
                super().perform(effect)

    def serve_block(self, block_hash: bytes) -> Block | None:
        return None

    def serve_range(self, first: int, end: int) -> list[CommittedBlock]:
        return []
