"""The file of this node's own signatures: nothing that it signs leaves before it is durable here.

Rule C11. The records and the guard are consensus/journal.py and consensus/sign_state.py; this is
their file, written by one thread, one fsync a signature.
"""

import os
from pathlib import Path

from consensus.block_tree import FinalHead
from consensus.journal import Entry, JournalDamaged, decode_journal, encode_frame
from consensus.messages import Certificate, Proposal, Vote
from consensus.restored import Restored
from consensus.sign_state import (
    ConflictingSignature,
    SignState,
    SignStateRefused,
    check_sign_state,
)
from consensus.verification import Committee
from ledger import crypto
from ledger.ballots import Ballot, compute_proposal_bytes, compute_vote_bytes
from ledger.blocks import Block, compute_header_hash
from ledger.keystore import sync_folder
from ledger.rejection import Rejected
from node.exit_codes import ExitCode, OperatorError

COMPACT_BYTES = 16 * 1024 * 1024
"""A longer file is rewritten without what lies below the final head."""


class JournalRefused(OperatorError):
    """The journal is missing, older than the store, damaged, or another key's."""

    exit_code = ExitCode.SIGN_STATE_MISSING_OR_OLD


class ConflictRefused(OperatorError):
    """The next signature would contradict one in the journal."""

    exit_code = ExitCode.CONFLICTING_SIGNATURE_SEEN


class JournalUnwritable(OperatorError):
    """A signature could not be made durable, so it does not leave: the disk is full, or worse."""

    exit_code = ExitCode.UNEXPECTED


class VoteJournal:
    """Signs for one key on one chain. Methods block on the disk; one thread calls them in turn."""

    def __init__(
        self,
        path: Path,
        chain_id: bytes,
        seed: bytes,
        stored_sequence: int,
        *,
        override: bool,
        compact_bytes: int = COMPACT_BYTES,
    ) -> None:
        """Read the file, or begin one. Raises `JournalRefused`.

        `override` starts although votes may be forgotten; the machine then counts as wiped.
        """
        self._path = path
        self._chain_id = chain_id
        self._seed = seed
        self._compact_bytes = compact_bytes
        self.key = crypto.compute_public_key(seed)
        self.is_wiped = False
        data = path.read_bytes() if path.exists() else b""
        try:
            decoded = decode_journal(data, chain_id, self.key)
            self._state = (
                SignState.restore(decoded) if decoded else SignState.create(chain_id, self.key)
            )
            check_sign_state(self._state.sequence if decoded else None, stored_sequence)
        except SignStateRefused as error:
            if not override:
                raise JournalRefused(
                    f"{path}: {error}; start with --accept-lost-votes only when no copy of this "
                    "key runs elsewhere"
                ) from None
            self.is_wiped = True
            decoded = None
            self._state = SignState.create(chain_id, self.key, stored_sequence)
        except JournalDamaged as error:
            raise JournalRefused(f"{path}: {error}") from None
        if decoded is None:
            self._rewrite(self._state.compact(0, 0))
        elif decoded.length < len(data):
            os.truncate(path, decoded.length)
        self._descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
        os.fsync(self._descriptor)

    @property
    def sequence(self) -> int:
        """How many signatures there are so far."""
        return self._state.sequence

    def restore(self, head: FinalHead, committee: Committee) -> Restored:
        """Return what the machine starts from. Raises `JournalRefused`."""
        try:
            return self._state.make_restored(head, committee)
        except Rejected as error:
            raise JournalRefused(f"{self._path} holds a record that is not ours: {error}") from None

    def sign_vote(self, ballot: Ballot, proposal: Proposal | None, signer: int) -> Vote:
        """Return our vote, durable; the same bytes where it was cast before.

        Raises `ConflictRefused`, `JournalUnwritable`.
        """
        try:
            known = self._state.find_vote(ballot)
        except ConflictingSignature as error:
            raise ConflictRefused(str(error)) from None
        if known is not None:
            return known
        signature = crypto.sign(self._seed, compute_vote_bytes(self._chain_id, ballot))
        vote = Vote(ballot, signer, signature)
        self._append(self._state.record_vote(vote, proposal))
        return vote

    def sign_proposal(self, view: int, block: Block) -> Proposal:
        """Return our proposal of a block in a view, durable. Raises as `sign_vote` does."""
        epoch, block_hash = block.header.epoch, compute_header_hash(block.header)
        try:
            known = self._state.find_proposal(epoch, view, block_hash)
        except ConflictingSignature as error:
            raise ConflictRefused(str(error)) from None
        if known is not None:
            return known
        message = compute_proposal_bytes(self._chain_id, epoch, view, block_hash)
        proposal = Proposal(view, block, crypto.sign(self._seed, message))
        self._append(self._state.record_proposal(proposal))
        return proposal

    def keep_certificate(self, certificate: Certificate) -> None:
        """Keep a certificate; it is written with the next signature."""
        self._state.record_certificate(certificate)

    def compact(self, epoch: int, view: int) -> None:
        """Drop what a final block has settled, once the file is long enough to be worth it."""
        if os.fstat(self._descriptor).st_size < self._compact_bytes:
            return
        self._rewrite(self._state.compact(epoch, view))
        os.close(self._descriptor)
        self._descriptor = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)

    def close(self) -> None:
        """Close the file."""
        os.close(self._descriptor)

    def _append(self, entries: tuple[Entry, ...]) -> None:
        """Make a frame durable. Raises `JournalUnwritable`."""
        try:
            _write_all(self._descriptor, encode_frame(entries))
            os.fsync(self._descriptor)
        except OSError as error:
            raise JournalUnwritable(
                f"{self._path}: a signature cannot be made durable: {error.strerror}"
            ) from None

    def _rewrite(self, entries: tuple[Entry, ...]) -> None:
        """Replace the file by these records, durably and whole."""
        temporary = self._path.with_name(self._path.name + ".new")
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
        descriptor = os.open(temporary, flags, 0o600)
        try:
            _write_all(descriptor, encode_frame(entries))
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        temporary.rename(self._path)
        sync_folder(self._path.parent)


def _write_all(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]
