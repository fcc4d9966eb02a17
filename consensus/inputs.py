"""Everything that the machine is told: a closed union, each with the monotonic time `now` in ms."""

from msgspec import Struct

from consensus.block_tree import FinalHead
from consensus.effects import Timer
from consensus.verification import (
    CheckedRequest,
    VerifiedBlock,
    VerifiedCertificate,
    VerifiedProposal,
    VerifiedVote,
)
from ledger.blocks import AuthoritySet, Block


class Started(Struct, frozen=True):
    """The first input, once."""

    now: int
    is_connected: bool = True
    """Whether this node is in step with others already; else `Connected` follows."""


class Connected(Struct, frozen=True):
    """f + 1 other authorities can be heard, and none of their blocks is missing here."""

    now: int


class TimerFired(Struct, frozen=True):
    """A timer's time has come; late, early and doubled ones do no harm."""

    now: int
    timer: Timer


class VoteReceived(Struct, frozen=True):
    """A vote, of a peer or our own after it was signed."""

    now: int
    vote: VerifiedVote


class ProposalReceived(Struct, frozen=True):
    """A proposal, of a peer or our own after it was signed."""

    now: int
    proposal: VerifiedProposal


class CertificateReceived(Struct, frozen=True):
    """A certificate of a peer."""

    now: int
    certificate: VerifiedCertificate


class CertificatesRequested(Struct, frozen=True):
    """A question of the authority with index `authority`."""

    now: int
    authority: int
    request: CheckedRequest


class BlockReceived(Struct, frozen=True):
    """The answer to `FetchBlock`, or any other block: only a wanted one is taken."""

    now: int
    block: VerifiedBlock


class ProposalBuilt(Struct, frozen=True):
    """The answer to `RequestProposal`: an executed block, or `None` where none can be built."""

    now: int
    view: int
    block: Block | None


class BlockValidated(Struct, frozen=True):
    """The answer to `ValidateBlock`, with its `is_certified`."""

    now: int
    block_hash: bytes
    is_valid: bool
    is_certified: bool


class WorkKnown(Struct, frozen=True):
    """Whether this node knows of a transaction or a due deadline that waits for a block."""

    now: int
    is_pending: bool


class ChainAdvanced(Struct, frozen=True):
    """The driver committed up to `head` by catching up, with every finality proof checked."""

    now: int
    head: FinalHead


class EpochOpened(Struct, frozen=True):
    """The authority set that follows the epoch's last block, which is final."""

    now: int
    authorities: AuthoritySet


Input = (
    Started
    | Connected
    | TimerFired
    | VoteReceived
    | ProposalReceived
    | CertificateReceived
    | CertificatesRequested
    | BlockReceived
    | ProposalBuilt
    | BlockValidated
    | WorkKnown
    | ChainAdvanced
    | EpochOpened
)
