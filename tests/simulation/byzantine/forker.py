"""A leader that builds on an older certified block, as if what came after it had been nullified."""

from consensus import effects
from consensus.messages import Proposal
from consensus.timing import Timing
from ledger.ballots import Ballot, VoteKind
from ledger.blocks import Block, compute_header_hash
from tests.simulation.byzantine.dishonest import DishonestNode


class Forker(DishonestNode):
    """Leaves out the newest certified block in each of its turns, before that can become final."""

    def start(self) -> None:
        self.timing = Timing(delta=2, block_interval=1, heartbeat=100)
        super().start()

    def perform(self, effect: effects.Effect) -> None:
        # In its haste it would repeat everything each 2 ms, which tests nothing.
        match effect:
            case effects.Broadcast() | effects.Send() | effects.SetTimer(effects.Timer.RESEND):
                return
            case _:
                super().perform(effect)

    def sign_proposal(self, view: int, block: Block, block_hash: bytes) -> None:
        parent = self.serve_block(block.header.parent)
        if view != block.header.view or parent is None:
            return super().sign_proposal(view, block, block_hash)
        header = parent.header
        grandparent = self.find_state(header.parent)
        if grandparent is None or grandparent.authorities.epoch != block.header.epoch:
            return super().sign_proposal(view, block, block_hash)
        place = (view, header.parent, header.parent_view)
        fork = self.world.build(grandparent, place, header.time + 7, self.known)
        fork_hash = compute_header_hash(fork.header)
        proposal = self.make_proposal(view, fork, fork_hash)
        votes = [
            self.make_vote(Ballot(kind, fork.header.epoch, view, fork_hash))
            for kind in (VoteKind.NOTARIZE, VoteKind.FINALIZE)
        ]
        for node in self.get_others():
            self.whisper(node, proposal)
            for vote in votes:
                self.whisper(node, vote)
        return None

    def sign_vote(self, ballot: Ballot, proposal: Proposal | None) -> None:
        if ballot.kind is not VoteKind.NULLIFY:
            super().sign_vote(ballot, proposal)
