"""What must hold when the shipped code opens what a power cut left of a running node."""

from collections.abc import Sequence
from pathlib import Path

import msgspec

from consensus.block_tree import FinalHead
from consensus.messages import (
    Certificate,
    Envelope,
    FinalityProof,
    Proposal,
    Vote,
    encode_message,
)
from consensus.verification import Committee
from coordinator.ports import FinalBlock
from ledger import codec
from ledger.ballots import Ballot, VoteKind
from ledger.blocks import Block
from node.chain_store import ChainStore
from node.database import Database
from node.mempool import Mempool
from node.mempool_journal import DatabaseJournal
from node.vote_journal import ConflictRefused, VoteJournal
from tests.node.stores import compute_whole_root
from tests.power.acknowledgements import Accepted, Acknowledgement, BlockFinal, Left

MAX_MESSAGE_BYTES = 1_000_000
OTHER_BLOCK = b"\x01" * 32
RECENT_VIEWS = 8
"""Signatures this far below the newest are tried again; older ones the floor covers alike."""


def check_chain(
    database: Database,
    committee: Committee,
    journal_path: Path,
    seed: bytes,
    acknowledged: Sequence[Acknowledgement],
) -> list[bytes]:
    """Start on a database and a journal as a node does, and compare with what was acknowledged.

    Returns the hash of each block. Raises what the shipped code raises, and `AssertionError`.
    """
    chain_id = committee.chain_id
    store = ChainStore(database, chain_id)
    try:
        blocks = list(store.iterate_blocks())
        check_blocks(store, blocks, acknowledged)
        _check_transactions(store, blocks, acknowledged)
        sequence = store.read_sign_sequence()
        journal = VoteJournal(journal_path, chain_id, seed, sequence, override=False)
        try:
            _check_signatures(blocks[-1], committee, journal, acknowledged)
        finally:
            journal.close()
    finally:
        store.close()
    return [block.hash for block in blocks]


def check_blocks(
    store: ChainStore, blocks: Sequence[FinalBlock], acknowledged: Sequence[Acknowledgement]
) -> None:
    """Every final block is there, and the state is the newest one's."""
    assert [block.header.height for block in blocks] == list(range(len(blocks)))
    for each in acknowledged:
        if isinstance(each, BlockFinal):
            assert each.height < len(blocks), f"block {each.height} was final and is gone"
            assert blocks[each.height].hash == each.hash, f"another block {each.height}"
    assert compute_whole_root(store.state) == blocks[-1].header.state_root


def _check_transactions(
    store: ChainStore, blocks: Sequence[FinalBlock], acknowledged: Sequence[Acknowledgement]
) -> None:
    mempool = Mempool(50_000)
    DatabaseJournal(store.database).load(mempool, store.state, store.get_head().chain_id)
    included = {name for block in blocks for name in block.transaction_ids}
    for each in acknowledged:
        if isinstance(each, Accepted):
            name = each.transaction_id
            assert name in included or mempool.has(name), f"{name.hex()} was accepted and is gone"


def _check_signatures(
    newest: FinalBlock,
    committee: Committee,
    journal: VoteJournal,
    acknowledged: Sequence[Acknowledgement],
) -> None:
    """Every signature that left is known, is repeated byte for byte and never contradicted."""
    head = newest.header
    certificate = _read_certificate(newest)
    journal.restore(FinalHead(newest.hash, head.height, head.view, certificate), committee)
    sequence = journal.sequence
    for each in acknowledged:
        if isinstance(each, Left):
            message = codec.decode(each.message, Envelope, MAX_MESSAGE_BYTES).message
            match message:
                case Vote():
                    _check_vote(journal, message, head.view)
                case Proposal():
                    _check_proposal(journal, message, head.view)
                case _:
                    raise AssertionError("only votes and proposals are signed")
    assert journal.sequence == sequence, "a signature left that the journal does not know"


def _read_certificate(newest: FinalBlock) -> Certificate | None:
    if newest.header.height == 0:
        return None
    return codec.decode(newest.certificate, FinalityProof, len(newest.certificate)).certificate


def _check_vote(journal: VoteJournal, vote: Vote, head_view: int) -> None:
    ballot = vote.ballot
    if ballot.view < head_view - RECENT_VIEWS:
        return
    try:
        assert journal.sign_vote(ballot, None, vote.signer) == vote
    except ConflictRefused:
        assert ballot.view <= head_view, f"{ballot} left and is refused"
    kind = VoteKind.FINALIZE if ballot.kind is VoteKind.NULLIFY else ballot.kind
    other = Ballot(kind, ballot.epoch, ballot.view, OTHER_BLOCK)
    try:
        journal.sign_vote(other, None, vote.signer)
    except ConflictRefused:
        return
    raise AssertionError(f"{other} was signed after {ballot}")


def _check_proposal(journal: VoteJournal, proposal: Proposal, head_view: int) -> None:
    if proposal.view < head_view - RECENT_VIEWS:
        return
    try:
        again = journal.sign_proposal(proposal.view, proposal.block)
        assert encode_message(again) == encode_message(proposal)
    except ConflictRefused:
        assert proposal.view <= head_view, f"the proposal of view {proposal.view} is refused"
    header = proposal.block.header
    other = Block(msgspec.structs.replace(header, time=header.time + 1), ())
    try:
        journal.sign_proposal(proposal.view, other)
    except ConflictRefused:
        return
    raise AssertionError(f"a second proposal was signed in view {proposal.view}")
