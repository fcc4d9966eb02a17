"""The blocks and certificates above the final head, and what follows from them (rules C8 to C12).

Decides which block may be built on, what is missing for that, and which blocks a finalize
certificate makes final.
"""

from msgspec import Struct

from consensus.messages import Certificate, CommittedBlock, FinalityProof, Proposal
from consensus.verification import VerifiedProposal
from ledger.ballots import VoteKind
from ledger.blocks import Block, compute_header_hash


class FinalHead(Struct, frozen=True):
    """The last final block: genesis has height 0, view 0 and no certificate."""

    block_hash: bytes
    height: int
    view: int
    certificate: Certificate | None = None
    closes_epoch: bool = False
    """Whether the next block belongs to another authority set."""


class Path(Struct, frozen=True):
    """The way from the final head up to a block, lowest first; gapless where nothing is missing."""

    blocks: tuple[tuple[bytes, Block], ...]
    missing: bytes | None
    is_fork: bool = False
    """Whether it leaves the final chain below its head."""


class Parent(Struct, frozen=True):
    """A block that may be built on in some view, or proposed again where it closes the epoch."""

    block_hash: bytes
    height: int
    view: int
    closing: Block | None = None


class Missing(Struct, frozen=True):
    """The span of views of which certificates are needed first."""

    first_view: int
    last_view: int


class BlockTree:
    """All of one epoch above `final`."""

    def __init__(self, final: FinalHead) -> None:
        self.final = final
        self.blocks: dict[bytes, Block] = {}
        self.proposals: dict[int, VerifiedProposal] = {}
        self.executed: set[bytes] = set()
        self.notarized: dict[int, Certificate] = {}
        self.nullified: dict[int, Certificate] = {}
        self.finalization: Certificate | None = None
        self.highest_view = final.view
        """Highest view with a certificate of any kind."""

    def add_certificate(self, certificate: Certificate) -> bool:
        """Keep a certificate above the final head; tell whether it is new."""
        ballot = certificate.ballot
        if not self.is_wanted(ballot.kind, ballot.view):
            return False
        match ballot.kind:
            case VoteKind.NOTARIZE:
                self.notarized[ballot.view] = certificate
            case VoteKind.NULLIFY:
                self.nullified[ballot.view] = certificate
            case VoteKind.FINALIZE:
                self.finalization = certificate
        self.highest_view = max(self.highest_view, ballot.view)
        return True

    def is_wanted(self, kind: VoteKind, view: int) -> bool:
        """Tell whether a certificate of this kind and view would be new."""
        if view <= self.final.view:
            return False
        match kind:
            case VoteKind.NOTARIZE:
                return view not in self.notarized
            case VoteKind.NULLIFY:
                return view not in self.nullified
            case VoteKind.FINALIZE:
                return self.finalization is None or self.finalization.ballot.view < view

    def get_top_notarization(self) -> Certificate | None:
        """Return the notarization of the highest view above the final head."""
        return self.notarized[max(self.notarized)] if self.notarized else None

    def find_path(self, block_hash: bytes) -> Path:
        """Walk from a block down to the final head, as far as blocks are here."""
        blocks: list[tuple[bytes, Block]] = []
        while block_hash != self.final.block_hash:
            block = self.blocks.get(block_hash)
            if block is None:
                return Path(tuple(reversed(blocks)), block_hash)
            if block.header.height <= self.final.height:
                return Path(tuple(reversed(blocks)), None, is_fork=True)
            blocks.append((block_hash, block))
            block_hash = block.header.parent
        return Path(tuple(reversed(blocks)), None)

    def is_executed(self, block_hash: bytes) -> bool:
        """Tell whether a block's outcome is known, so that a child can be executed."""
        return block_hash == self.final.block_hash or block_hash in self.executed

    def find_parent(self, view: int) -> Parent | Missing | None:
        """Return what the leader of `view` builds on (rule C8).

        `Missing` where a certificate lacks, `None` where only the parent's block or its outcome
        does.
        """
        for earlier in range(view - 1, self.final.view, -1):
            notarization = self.notarized.get(earlier)
            if notarization is not None:
                block_hash = notarization.ballot.block_hash
                block = self.blocks.get(block_hash)
                if block is not None and block_hash in self.executed:
                    closing = block if closes_epoch(block) else None
                    return Parent(block_hash, block.header.height, earlier, closing)
                if earlier not in self.nullified:
                    return None
            elif earlier not in self.nullified:
                return self._find_gap(self.final.view + 1, earlier)
        return Parent(self.final.block_hash, self.final.height, self.final.view)

    def find_unjustified(self, proposal: Proposal) -> Missing | None:
        """Return the views whose certificates a proposal still needs (rule C9)."""
        base = self._find_base(proposal)
        if base > self.final.view and base not in self.notarized:
            return Missing(base, base)
        for view in range(max(base, self.final.view) + 1, proposal.view):
            if view not in self.nullified:
                last = max(v for v in range(view, proposal.view) if v not in self.nullified)
                return Missing(view, last)
        return None

    def is_built_on_parent(self, proposal: Proposal) -> bool:
        """Tell whether a justified proposal names what was certified in the view it builds on."""
        header = proposal.block.header
        if proposal.view != header.view:
            notarization = self.notarized.get(self._find_base(proposal))
            block_hash = compute_header_hash(header)
            return notarization is not None and notarization.ballot.block_hash == block_hash
        if header.parent_view == self.final.view:
            return header.parent == self.final.block_hash and header.height == self.final.height + 1
        notarization = self.notarized.get(header.parent_view)
        if notarization is None or notarization.ballot.block_hash != header.parent:
            return False
        parent = self.blocks.get(header.parent)
        if parent is None:
            return True
        return header.height == parent.header.height + 1 and not closes_epoch(parent)

    def _find_base(self, proposal: Proposal) -> int:
        """Return the view whose notarization a proposal builds on."""
        header = proposal.block.header
        if proposal.view == header.view:
            return header.parent_view
        block_hash = compute_header_hash(header)
        for view in range(proposal.view - 1, header.view, -1):
            notarization = self.notarized.get(view)
            if notarization is not None and notarization.ballot.block_hash == block_hash:
                return view
        return header.view

    def make_commit(self, path: Path, certificate: Certificate) -> CommittedBlock:
        """Return the lowest block of a path that a finalize certificate ends, with its proof."""
        headers = tuple(block.header for _, block in path.blocks[1:])
        return CommittedBlock(path.blocks[0][1], FinalityProof(headers, certificate))

    def advance(self, final: FinalHead) -> None:
        """Move the final head up and forget all that is not above it."""
        self.final = final
        view = final.view
        self.highest_view = max(self.highest_view, view)
        self.notarized = {v: c for v, c in self.notarized.items() if v > view}
        self.nullified = {v: c for v, c in self.nullified.items() if v > view}
        self.proposals = {v: p for v, p in self.proposals.items() if v > view}
        self.blocks = {h: b for h, b in self.blocks.items() if b.header.view > view}
        self.executed &= self.blocks.keys()
        if self.finalization is not None and self.finalization.ballot.view <= view:
            self.finalization = None

    def _find_gap(self, first: int, last: int) -> Missing:
        while first in self.notarized or first in self.nullified:
            first += 1
        return Missing(min(first, last), last)


def closes_epoch(block: Block) -> bool:
    """Tell whether a block is the last of its epoch (rule C17)."""
    return block.header.next_authorities != block.header.authorities
