"""What a machine starts from: the final head of the store and what the journal holds above it."""

from msgspec import Struct

from consensus.block_tree import FinalHead
from consensus.messages import Certificate, Vote
from consensus.verification import VerifiedProposal


class Restored(Struct, frozen=True):
    """Own votes, kept proposals and certificates of the epoch of the block after `head`.

    `head.closes_epoch` is false here: the machine is given the committee of the next block.
    """

    head: FinalHead
    votes: tuple[Vote, ...] = ()
    proposals: tuple[VerifiedProposal, ...] = ()
    certificates: tuple[Certificate, ...] = ()
    is_wiped: bool = False
    """Whether there was no journal, so that earlier votes of this key may be forgotten."""
