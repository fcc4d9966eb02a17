"""Block 0 and the first state of a chain."""

from genesis.state import build_genesis_state
from ledger.blocks import decode_block
from ledger.codec import encode
from ledger.state import MemoryState, get_account, get_totals
from tests.genesis.test_document import build_genesis


def test_the_first_state_holds_the_allocations() -> None:
    genesis = build_genesis()
    block, changes = build_genesis_state(genesis)
    state = changes.base
    assert isinstance(state, MemoryState)
    state.commit(changes)
    allocation = genesis.allocations[0]
    assert get_account(state, allocation.address).balance == allocation.amount
    assert get_totals(state).supply == allocation.amount
    assert block.header.height == 0
    assert decode_block(encode(block)) == block


def test_block_zero_is_the_same_every_time() -> None:
    assert build_genesis_state(build_genesis()).block == build_genesis_state(build_genesis()).block
