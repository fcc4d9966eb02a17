"""What every key of a cluster has signed, by the journals of all its processes, and what conflicts.

Each journal is read again and again, so that what a later one has dropped or lost still counts.
"""

from pathlib import Path
from typing import NamedTuple

from consensus.journal import SignedProposal, SignedVote, decode_journal
from ledger.ballots import Ballot, VoteKind, is_conflict
from ledger.blocks import compute_header_hash
from node.folder import JOURNAL_FILE


class _View(NamedTuple):
    key: bytes
    epoch: int
    view: int


class Conflict(NamedTuple):
    """Two signatures that convict their key (rule C18)."""

    key: bytes
    kinds: frozenset[VoteKind]
    """Of two votes; empty for two proposals."""
    text: str


class Signatures:
    """Everything signed so far on one chain."""

    def __init__(self, chain_id: bytes) -> None:
        self._chain_id = chain_id
        self._ballots: dict[_View, set[Ballot]] = {}
        self._proposals: dict[_View, set[bytes]] = {}

    @property
    def count(self) -> int:
        """How many different signatures there are."""
        votes = sum(len(ballots) for ballots in self._ballots.values())
        return votes + sum(len(hashes) for hashes in self._proposals.values())

    def take_journal(self, data: Path, key: bytes) -> None:
        """Take in the journal of a node's folder, where there is one."""
        path = data / JOURNAL_FILE
        decoded = decode_journal(path.read_bytes(), self._chain_id, key) if path.exists() else None
        for entry in decoded.entries if decoded else ():
            if isinstance(entry, SignedVote):
                ballot = entry.vote.ballot
                view = _View(key, ballot.epoch, ballot.view)
                self._ballots.setdefault(view, set()).add(ballot)
            elif isinstance(entry, SignedProposal):
                header = entry.proposal.block.header
                view = _View(key, header.epoch, entry.proposal.view)
                self._proposals.setdefault(view, set()).add(compute_header_hash(header))

    def list_conflicts(self) -> list[Conflict]:
        """Return what convicts a key, in whichever of its journals the two halves stand."""
        found = [
            Conflict(
                view.key,
                frozenset(),
                f"{len(hashes)} proposals in view {view.view} of epoch {view.epoch}",
            )
            for view, hashes in self._proposals.items()
            if len(hashes) > 1
        ]
        for view, ballots in self._ballots.items():
            cast = sorted(ballots, key=lambda ballot: (ballot.kind, ballot.block_hash))
            found += [
                Conflict(view.key, frozenset((first.kind, second.kind)), f"{first} and {second}")
                for index, first in enumerate(cast)
                for second in cast[index + 1 :]
                if is_conflict(first, second)
            ]
        return found
