"""A block is notarized on its certificates alone, before it is executed."""

from consensus.machine import Consensus
from ledger.ballots import VoteKind
from ledger.blocks import Block
from tests.simulation.variant import Variant


class _Machine(Consensus):
    def _execute(self, block: Block, block_hash: bytes) -> None:
        verified = self.tree.proposals[self.view]
        self._vote(VoteKind.NOTARIZE, self.view, block_hash, verified.proposal)


VARIANT = Variant(machine=_Machine)
