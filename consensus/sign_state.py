"""What this key may still sign: the guard before every signature (rule C11).

It repeats the machine's own care on purpose: the machine's memory ends with the process, this one
is read from the disk, and no signature passes without it.
"""

from collections.abc import Iterable

from consensus.block_tree import FinalHead
from consensus.journal import (
    JOURNAL_VERSION,
    DecodedJournal,
    Entry,
    JournalHead,
    KeptCertificate,
    KeptProposal,
    SignedProposal,
    SignedVote,
)
from consensus.messages import Certificate, Proposal, Vote
from consensus.restored import Restored
from consensus.verification import (
    Committee,
    VerifiedProposal,
    verify_certificate,
    verify_proposal,
    verify_vote,
)
from ledger.ballots import Ballot, VoteKind, is_conflict
from ledger.blocks import compute_header_hash


class ConflictingSignature(Exception):
    """Signing this would contradict what the key has signed: evidence against ourselves."""


class SignStateRefused(Exception):
    """The sign-state does not belong to this store, so the node must not start with it."""


class SignStateMissing(SignStateRefused):
    """The store knows of signatures, and there is no journal."""


class SignStateOlder(SignStateRefused):
    """The journal is an older copy than the store."""


def check_sign_state(sequence: int | None, stored_sequence: int) -> None:
    """Refuse to start where votes may be forgotten (rule C11).

    `sequence` is the journal's, `None` without one; `stored_sequence` is the `SignState.sequence`
    that the store wrote in the transaction of its last block, 0 where it never had one.
    Raises `SignStateMissing` or `SignStateOlder`; an operator may override, and then the machine is
    started as wiped.
    """
    if sequence is None and stored_sequence > 0:
        raise SignStateMissing(f"the store has seen {stored_sequence} signatures of this key")
    if sequence is not None and sequence < stored_sequence:
        detail = f"it ends with signature {sequence}, the store has seen {stored_sequence}"
        raise SignStateOlder(detail)


class SignState:
    """Every signature above a floor. `record_…` returns the frame that must be durable first."""

    def __init__(self, head: JournalHead, entries: Iterable[Entry] = ()) -> None:
        self._chain_id, self._key = head.chain_id, head.key
        self._floor = (head.epoch, head.view)
        self._has_signed = head.has_signed
        self.sequence = head.sequence
        """Number of the last signature; the store keeps it with each block."""
        self._votes: dict[tuple[int, int, VoteKind], SignedVote] = {}
        self._proposals: dict[tuple[int, int], SignedProposal] = {}
        self._kept: dict[tuple[int, int], KeptProposal] = {}
        self._certificates: dict[Ballot, KeptCertificate] = {}
        self._unwritten: list[Entry] = []
        for entry in entries:
            self._remember(entry)

    @classmethod
    def create(cls, chain_id: bytes, key: bytes, stored_sequence: int = 0) -> "SignState":
        """Return the state of a key that has signed nothing, or whose votes were given up.

        In the second case numbers go on after the store's, so that the new file is not the older.
        """
        return cls(JournalHead(JOURNAL_VERSION, chain_id, key, stored_sequence, 0, 0, False))

    @classmethod
    def restore(cls, journal: DecodedJournal) -> "SignState":
        """Return the state that a journal holds."""
        return cls(journal.head, journal.entries)

    def find_vote(self, ballot: Ballot) -> Vote | None:
        """Return the vote where this ballot was cast already: the same bytes are sent again.

        `None` permits to sign it. Raises `ConflictingSignature`.
        """
        self._check_floor(ballot.epoch, ballot.view)
        for kind in VoteKind:
            signed = self._votes.get((ballot.epoch, ballot.view, kind))
            if signed is not None and is_conflict(signed.vote.ballot, ballot):
                raise ConflictingSignature(f"{ballot} after {signed.vote.ballot}")
        same = self._votes.get((ballot.epoch, ballot.view, ballot.kind))
        return None if same is None else same.vote

    def find_proposal(self, epoch: int, view: int, block_hash: bytes) -> Proposal | None:
        """Return the proposal where this block was proposed already in this view.

        `None` permits to sign it. Raises `ConflictingSignature`.
        """
        self._check_floor(epoch, view)
        signed = self._proposals.get((epoch, view))
        if signed is None:
            return None
        if compute_header_hash(signed.proposal.block.header) != block_hash:
            raise ConflictingSignature(f"a second proposal in view {view} of epoch {epoch}")
        return signed.proposal

    def record_vote(self, vote: Vote, proposal: Proposal | None) -> tuple[Entry, ...]:
        """Take in a vote just signed, with the proposal that a notarize is for."""
        assert self.find_vote(vote.ballot) is None
        entries: list[Entry] = []
        place = (vote.ballot.epoch, vote.ballot.view)
        if proposal is not None and place not in self._kept and place not in self._proposals:
            entries.append(KeptProposal(proposal))
        entries.append(SignedVote(self.sequence + 1, vote))
        for entry in entries:
            self._remember(entry)
        return self._take_unwritten(entries)

    def record_proposal(self, proposal: Proposal) -> tuple[Entry, ...]:
        """Take in a proposal just signed."""
        header = proposal.block.header
        block_hash = compute_header_hash(header)
        assert self.find_proposal(header.epoch, proposal.view, block_hash) is None
        entry = SignedProposal(self.sequence + 1, proposal)
        self._remember(entry)
        return self._take_unwritten([entry])

    def record_certificate(self, certificate: Certificate) -> None:
        """Take in a certificate; it is written in one frame with the next signature."""
        entry = KeptCertificate(certificate)
        self._remember(entry)
        self._unwritten.append(entry)

    def compact(self, epoch: int, view: int) -> tuple[Entry, ...]:
        """Forget what lies at or below a final block; return the whole of the new file."""
        self._floor = max(self._floor, (epoch, view))
        self._unwritten.clear()
        floor = self._floor
        self._votes = {k: e for k, e in self._votes.items() if k[:2] > floor}
        self._proposals = {k: e for k, e in self._proposals.items() if k > floor}
        self._kept = {k: e for k, e in self._kept.items() if k > floor}
        self._certificates = {
            b: e for b, e in self._certificates.items() if (b.epoch, b.view) > floor
        }
        signed: list[SignedVote | SignedProposal] = [
            *self._votes.values(),
            *self._proposals.values(),
        ]
        first = self.sequence - len(signed)
        head = JournalHead(
            JOURNAL_VERSION, self._chain_id, self._key, first, *floor, self._has_signed
        )
        renumbered: list[Entry] = []
        for number, entry in enumerate(sorted(signed, key=lambda kept: kept.sequence), first + 1):
            if isinstance(entry, SignedVote):
                renumbered.append(SignedVote(number, entry.vote))
            else:
                renumbered.append(SignedProposal(number, entry.proposal))
        for kept in renumbered:
            self._store(kept)
        return (head, *self._kept.values(), *self._certificates.values(), *renumbered)

    def make_restored(self, final: FinalHead, committee: Committee) -> Restored:
        """Return what a machine starts from, with every record verified again.

        Raises `Rejected` where a record does not hold, which a checksum rules out unless the file
        was made up.
        """
        epoch = committee.epoch
        votes = [e.vote for k, e in self._votes.items() if k[0] == epoch and k[1] > final.view]
        proposals = {k: e.proposal for k, e in self._kept.items()}
        proposals |= {k: e.proposal for k, e in self._proposals.items()}
        verified: list[VerifiedProposal] = [
            verify_proposal(proposal, committee)
            for (of_epoch, view), proposal in sorted(proposals.items())
            if of_epoch == epoch and view > final.view
        ]
        signed_views = [k[1] for k in (*self._votes, *self._proposals) if k[0] == epoch]
        certificates = [b for b in self._certificates if b.epoch == epoch and b.view > final.view]
        return Restored(
            final,
            tuple(verify_vote(vote, committee).vote for vote in votes),
            tuple(verified),
            tuple(
                verify_certificate(self._certificates[ballot].certificate, committee).certificate
                for ballot in certificates
            ),
            is_wiped=not self._has_signed,
            first_view=min(signed_views, default=0),
        )

    def _take_unwritten(self, entries: list[Entry]) -> tuple[Entry, ...]:
        frame = (*self._unwritten, *entries)
        self._unwritten.clear()
        return frame

    def _check_floor(self, epoch: int, view: int) -> None:
        if (epoch, view) <= self._floor:
            raise ConflictingSignature(f"view {view} of epoch {epoch} is settled")

    def _remember(self, entry: Entry) -> None:
        if isinstance(entry, SignedVote | SignedProposal):
            self.sequence = entry.sequence
            self._has_signed = True
        self._store(entry)

    def _store(self, entry: Entry) -> None:
        match entry:
            case SignedVote(_, vote):
                ballot = vote.ballot
                self._votes[(ballot.epoch, ballot.view, ballot.kind)] = entry
            case SignedProposal(_, proposal):
                self._proposals[(proposal.block.header.epoch, proposal.view)] = entry
            case KeptProposal(proposal):
                self._kept[(proposal.block.header.epoch, proposal.view)] = entry
            case KeptCertificate(certificate):
                self._certificates[certificate.ballot] = entry
            case JournalHead():
                raise AssertionError("a head is no entry")
