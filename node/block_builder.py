"""Filling a block: the transactions that fit, in the order in which they came.

What the block cannot take now stays in line (a nonce that waits for an earlier one, a proof whose
epoch is ahead of the block); what no block can take any more is handed back for removal.
"""

from typing import NamedTuple

from ledger.blocks import (
    BLOCK_VERSION,
    MAX_BLOCK_TRANSACTIONS,
    MAX_BODY_BYTES,
    Block,
    Header,
    compute_authorities_hash,
    compute_header_hash,
)
from ledger.context import Rules
from ledger.merkle import compute_root
from ledger.rejection import Rejected, Rejection
from ledger.state import StateView, get_authorities
from ledger.transactions import VerifiedTransaction
from ledger.transition import Executed, Execution
from node.mempool import Mempool, Waiting

PASSING = frozenset({Rejection.NOT_YET_DUE, Rejection.NONCE_GAP})


class Place(NamedTuple):
    """Where a new block stands, and when."""

    parent: Header
    view: int
    time: int
    proposer: bytes


class Built(NamedTuple):
    """A block of ours with what it does, and the waiting transactions no block can take."""

    block: Block
    transactions: tuple[VerifiedTransaction, ...]
    executed: Executed
    unfit: list[Waiting]


def build_block(state: StateView, place: Place, mempool: Mempool, rules: Rules) -> Built:
    """Return a block on `place.parent`, whose state is `state`; the proposer must be in its set."""
    authorities = get_authorities(state)
    account = next(
        member.account for member in authorities.current.members if member.key == place.proposer
    )
    execution = Execution(state, place.parent, place.time, account, rules)
    taken: list[VerifiedTransaction] = []
    unfit: list[Waiting] = []
    room = MAX_BODY_BYTES
    for waiting in mempool.iterate_durable():
        if len(taken) == MAX_BLOCK_TRANSACTIONS or len(waiting.verified.raw) > room:
            break
        try:
            execution.apply(waiting.verified)
        except Rejected as rejected:
            if rejected.reason not in PASSING:
                unfit.append(waiting)
            continue
        taken.append(waiting.verified)
        room -= len(waiting.verified.raw)
    executed = execution.finish()
    header = Header(
        version=BLOCK_VERSION,
        chain_id=rules.chain_id,
        epoch=authorities.current.epoch,
        height=place.parent.height + 1,
        view=place.view,
        parent_view=place.parent.view,
        time=place.time,
        parent=compute_header_hash(place.parent),
        proposer=place.proposer,
        transactions_root=compute_root([verified.raw for verified in taken]),
        receipts_root=executed.receipts_root,
        state_root=executed.state_root,
        authorities=compute_authorities_hash(authorities.current),
        next_authorities=compute_authorities_hash(authorities.following),
    )
    block = Block(header, tuple(verified.transaction for verified in taken))
    return Built(block, tuple(taken), executed, unfit)
