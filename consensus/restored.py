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
    """Whether the journal holds no signature, so that earlier ones of this key may be forgotten."""
    first_view: int = 0
    """No vote is cast in earlier views, of which the journal knows nothing."""
