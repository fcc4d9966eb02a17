"""Checking a whole chain again from genesis, with nothing but the database (rule B6).

Every signature, root, proof, outcome and finality proof of every block is checked by the code that
checks live blocks, and the state that follows must be the stored one, entry by entry. A chain that
began with a snapshot is checked from there on; the snapshot itself is proved from genesis.
"""

import itertools
from collections.abc import Callable, Iterator
from typing import NamedTuple

from consensus.light_client import Succession
from consensus.messages import CommittedBlock, decode_finality
from consensus.verification import Committee, verify_committed
from coordinator.ports import FinalBlock
from genesis.document import Genesis, compute_chain_id, load_verifying_key
from genesis.state import build_genesis_state
from ledger import codec
from ledger.blocks import Block, Header, compute_header_hash
from ledger.context import Rules
from ledger.rejection import Rejected
from ledger.state import MemoryState, get_authorities
from ledger.transactions import verify_transaction
from ledger.transition import apply_block
from node.chain_base import is_closing
from node.chain_store import ChainStore
from node.exit_codes import ExitCode, OperatorError
from node.proofs import list_proofs
from zk.backend_arkworks import ARKWORKS
from zk.verifier import AnyBackend, Item, verify, verify_batch
from zk.verifying_key import VerifyingKey

_ALWAYS = 2**64
"""A clock behind every deadline, and more jobs than there are."""


class ChainDamaged(OperatorError):
    """The database holds something that the rules do not give."""

    exit_code = ExitCode.VERIFICATION_FAILED


class Base(NamedTuple):
    """The first block of a store and the state after it: where a replay begins."""

    block: FinalBlock
    state: MemoryState


class Replayed(NamedTuple):
    """Where a replay ended, and how much it checked."""

    head: Header
    state: MemoryState
    transactions: int
    settlements: int
    successions: list[Succession]
    """How the authority set changed on the way."""


class Report(NamedTuple):
    """What was checked: the blocks after `base_height`, which is 0 or a snapshot's."""

    base_height: int
    height: int
    state_root: bytes
    transactions: int
    settlements: int
    entries: int


class Verdicts:
    """Proof verdicts of the block at hand, from one batch."""

    def __init__(self, key: VerifyingKey, backend: AnyBackend) -> None:
        self._key = key
        self._backend = backend
        self._known: dict[Item, bool] = {}

    def prepare(self, items: list[Item]) -> None:
        """Learn the verdicts on a block's proofs."""
        verdicts = verify_batch(self._key, items, self._backend) if items else []
        self._known = dict(zip(items, verdicts, strict=True))

    def verify(self, public: tuple[int, ...], proof: bytes) -> bool:
        """Return a verdict: `VerifyProof` of the ledger's rules."""
        known = self._known.get((public, proof))
        return verify(self._key, public, proof, self._backend) if known is None else known


def verify_chain(
    store: ChainStore,
    genesis: Genesis,
    on_block: Callable[[int, int], None] = lambda _height, _head: None,
    backend: AnyBackend = ARKWORKS,
    base: Base | None = None,
) -> Report:
    """Check everything from genesis on, or from the base of a store that began with a snapshot.

    `on_block(height, head)` hears the progress. Raises `ChainDamaged`.
    """
    first = base or build_genesis_base(genesis)
    height = store.get_head().height
    replayed = replay(
        first, store.iterate_blocks(0), genesis, lambda done: on_block(done, height), backend
    )
    head, state = replayed.head, replayed.state
    _compare_state(store, state)
    start = first.block.header.height
    if [each for each in store.read_successions() if each.header.height > start] != (
        replayed.successions
    ):
        raise ChainDamaged("what is kept of the authority sets is not what the blocks say")
    return Report(
        start,
        head.height,
        head.state_root,
        replayed.transactions,
        replayed.settlements,
        len(state.entries),
    )


def build_genesis_base(genesis: Genesis) -> Base:
    """Return block 0 and the first state."""
    block, changes = build_genesis_state(genesis)
    state = changes.base
    assert isinstance(state, MemoryState)
    state.commit(changes)
    header = block.header
    return Base(FinalBlock(header, compute_header_hash(header), (), (), (), b""), state)


def replay(
    base: Base,
    blocks: Iterator[FinalBlock],
    genesis: Genesis,
    on_block: Callable[[int], None] = lambda _height: None,
    backend: AnyBackend = ARKWORKS,
) -> Replayed:
    """Check and execute blocks from the base's own on; the base's state becomes that after them.

    `on_block(height)` hears the progress. Raises `ChainDamaged`.
    """
    verdicts = Verdicts(load_verifying_key(genesis), backend)
    rules = Rules(compute_chain_id(genesis), genesis.parameters, genesis.proof, verdicts.verify)
    head, state = base.block.header, base.state
    if next(blocks, None) != base.block:
        source = "snapshot" if head.height else "genesis document"
        raise ChainDamaged(f"block {head.height} is not that of the {source}")
    transactions = settlements = 0
    successions = []
    for final in blocks:
        try:
            settlements += _verify_block(state, head, final, rules, verdicts)
        except (Rejected, ValueError) as error:
            raise ChainDamaged(f"block {head.height + 1}: {error}") from None
        head = final.header
        transactions += len(final.transactions)
        if is_closing(head):
            following = get_authorities(state).current
            successions.append(Succession(head, decode_finality(final.certificate), following))
        on_block(head.height)
    return Replayed(head, state, transactions, settlements, successions)


def _verify_block(
    state: MemoryState, parent: Header, final: FinalBlock, rules: Rules, verdicts: Verdicts
) -> int:
    """Check one block on the state before it, and bring the state after it; count its proofs."""
    committee = Committee(rules.chain_id, get_authorities(state).current)
    proof = decode_finality(final.certificate)
    block = Block(final.header, final.transactions)
    verify_committed(CommittedBlock(block, proof), committee)
    if final.hash != compute_header_hash(final.header):
        raise ValueError("the stored hash is not the header's")
    verified = [
        verify_transaction(transaction, codec.encode(transaction), rules.chain_id)
        for transaction in final.transactions
    ]
    if final.transaction_ids != tuple(each.id for each in verified):
        raise ValueError("the stored transaction ids are not the transactions'")
    items = list_proofs(rules, state, verified)
    verdicts.prepare(items)
    executed = apply_block(state, parent, block, verified, rules)
    if executed.outcomes != final.outcomes:
        raise ValueError("the stored outcomes are not those of the rules")
    state.commit(executed.changes)
    return len(items)


def _compare_state(store: ChainStore, state: MemoryState) -> None:
    """Check that the stored state is the one that the blocks lead to, in every way it is read."""
    stored = store.state.iterate_entries()
    for number, (row, key) in enumerate(itertools.zip_longest(stored, state.leaves)):
        if row is None or key is None or row[:2] != (number, key):
            raise ChainDamaged(f"entry {number} of the state is missing, or one too many")
        if row[2] != codec.encode(state.entries[key]):
            raise ChainDamaged(f"entry {number} of the state has another value")
        if store.state.get_leaf(key) != number:
            raise ChainDamaged(f"entry {number} of the state is not found by its key")
    for (level, index), node in state.nodes.items():
        if store.state.get_node(level, index) != node:
            raise ChainDamaged(f"node {index} of level {level} of the state tree differs")
    if store.state.get_due_jobs(_ALWAYS, _ALWAYS) != state.get_due_jobs(_ALWAYS, _ALWAYS):
        raise ChainDamaged("the list of deadlines is not that of the live jobs")
