"""Block 0 and the first state: what a genesis document means (rule G3)."""

from typing import NamedTuple

from genesis.document import Genesis, compute_chain_id
from ledger import merkle
from ledger.blocks import (
    BLOCK_VERSION,
    AuthoritySet,
    Block,
    Header,
    compute_authorities_hash,
)
from ledger.entries import (
    AUTHORITIES_KEY,
    TOTALS_KEY,
    Account,
    Authorities,
    Totals,
    account_key,
)
from ledger.state import Changes, MemoryState


class GenesisState(NamedTuple):
    """Block 0 and the entries under it, as writes over the empty state."""

    block: Block
    changes: Changes


def build_genesis_state(genesis: Genesis) -> GenesisState:
    """Return block 0 and the first state. Nobody signs block 0: the chain id is its proof."""
    changes = Changes(MemoryState())
    supply = sum(allocation.amount for allocation in genesis.allocations)
    changes.put(
        TOTALS_KEY,
        Totals(
            supply=supply, balances=supply, escrows=0, bonds=0, accounts=len(genesis.allocations)
        ),
    )
    authorities = AuthoritySet(0, genesis.authorities)
    changes.put(AUTHORITIES_KEY, Authorities(authorities, authorities))
    for allocation in genesis.allocations:
        changes.put(account_key(allocation.address), Account(allocation.amount))
    empty = merkle.compute_root([])
    authorities_hash = compute_authorities_hash(authorities)
    header = Header(
        version=BLOCK_VERSION,
        chain_id=compute_chain_id(genesis),
        epoch=0,
        height=0,
        view=0,
        parent_view=0,
        time=genesis.time,
        parent=bytes(32),
        proposer=bytes(32),
        transactions_root=empty,
        receipts_root=empty,
        state_root=changes.compute_root(),
        authorities=authorities_hash,
        next_authorities=authorities_hash,
    )
    return GenesisState(Block(header, ()), changes)
