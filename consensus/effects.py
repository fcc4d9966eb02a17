"""Everything that the machine asks for: a closed union, performed in the order given.

A driver keeps this order on disk (rule C11): what the journal holds is durable before a signature
leaves, and a signature has left before the block that it helps to commit is stored.
"""

from enum import Enum

from msgspec import Struct

from consensus.evidence import Evidence
from consensus.messages import Certificate, CommittedBlock, Message, Proposal
from ledger.ballots import Ballot
from ledger.blocks import Block


class Timer(Enum):
    """The machine's timers; setting one replaces its earlier time."""

    PROPOSE = "propose"
    LEADER = "leader"
    VIEW = "view"
    RESEND = "resend"
    LISTEN = "listen"


class SetTimer(Struct, frozen=True):
    """Answer with `TimerFired` at the monotonic time `at`, in ms."""

    timer: Timer
    at: int


class RequestProposal(Struct, frozen=True):
    """Build and execute a block on `parent`; answer with `ProposalBuilt`."""

    view: int
    epoch: int
    height: int
    parent: bytes
    parent_view: int


class SignProposal(Struct, frozen=True):
    """Journal and sign our block, then broadcast it and return it as `ProposalReceived`."""

    view: int
    block: Block
    block_hash: bytes


class SignVote(Struct, frozen=True):
    """Journal and sign a ballot, then broadcast it and return it as `VoteReceived`.

    With a notarize comes its proposal, to be journaled first: a notarized block must outlive a
    crash of everybody.
    """

    ballot: Ballot
    proposal: Proposal | None = None


class JournalCertificate(Struct, frozen=True):
    """Append to the journal; it becomes durable with the next signature."""

    certificate: Certificate


class Broadcast(Struct, frozen=True):
    """Send to every peer."""

    message: Message


class Send(Struct, frozen=True):
    """Send to the authority with index `authority`."""

    authority: int
    message: Message


class FetchBlock(Struct, frozen=True):
    """Ask for a block by hash, best of `holders`; repeated until it is here."""

    block_hash: bytes
    holders: tuple[int, ...]


class ValidateBlock(Struct, frozen=True):
    """Execute a block whose parent is executed or final; answer with `BlockValidated`.

    The clock's tolerance applies only where `is_certified` is false.
    """

    block: Block
    block_hash: bytes
    is_certified: bool


class Commit(Struct, frozen=True):
    """Store a final block, its proof and its state in one transaction; in order of height."""

    committed: CommittedBlock
    block_hash: bytes


class CatchUp(Struct, frozen=True):
    """Blocks up to about `height` are final elsewhere: fetch ranges, answer `ChainAdvanced`."""

    height: int


class ReportEvidence(Struct, frozen=True):
    """An authority broke the rules, and this proves it."""

    evidence: Evidence


class Stop(Struct, frozen=True):
    """This node must not go on; the machine answers nothing from here."""

    reason: "StopReason"
    detail: str


class StopReason(Enum):
    """Why a machine stops itself."""

    OWN_KEY_ELSEWHERE = "another copy of our key is running"
    DIVERGED = "a quorum certified what this node finds invalid or contradicting its final chain"


Effect = (
    SetTimer
    | RequestProposal
    | SignProposal
    | SignVote
    | JournalCertificate
    | Broadcast
    | Send
    | FetchBlock
    | ValidateBlock
    | Commit
    | CatchUp
    | ReportEvidence
    | Stop
)
