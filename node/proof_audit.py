"""Checking settlements' proofs a second time, by a library that shares no code with the first.

Every node verifies with one library; an error in it would be a rule of the chain. Two that agree
on proofs which moved money are evidence against that (section P4).
"""

from collections.abc import Callable
from typing import NamedTuple

from genesis.document import Genesis, compute_chain_id, load_verifying_key
from ledger import settlement
from ledger.rejection import Rejected
from ledger.state import get_job
from ledger.transactions import JobSettle
from node import block_rows
from node.chain_store import ChainStore, naming_damage
from node.sqlcipher import get_raw
from node.verify_chain import ChainDamaged
from zk.backend_arkworks import ARKWORKS
from zk.verifier import AnyBackend, Item, verify


class ProofReport(NamedTuple):
    """What was checked. `seconds` of the node's own backend and of the reference."""

    height: int
    settlements: int
    checked: int
    seconds: float
    reference_seconds: float


def audit_proofs(
    store: ChainStore,
    genesis: Genesis,
    sample: int,
    reference: AnyBackend,
    clock: Callable[[], float],
    on_proof: Callable[[int, int], None] = lambda _number, _last: None,
    backend: AnyBackend = ARKWORKS,
) -> ProofReport:
    """Check up to `sample` settlements, spread evenly over the chain, with both backends.

    `clock` gives seconds; `on_proof(number, last)` hears the progress. Raises `ChainDamaged` when
    a stored proof does not hold, or when one backend accepts what the other refuses;
    `DatabaseDamaged` for rows that cannot be read.
    """
    key = load_verifying_key(genesis)
    with naming_damage(store.database.path):
        count, positions = store.history.find_settlement_positions(sample)
    seconds = reference_seconds = 0.0
    for number, position in enumerate(positions, 1):
        name, (public, proof) = _read_item(store, genesis, position)
        begin = clock()
        verdict = verify(key, public, proof, backend)
        middle = clock()
        other = verify(key, public, proof, reference)
        reference_seconds += clock() - middle
        seconds += middle - begin
        if verdict != other:
            accepts, refuses = (backend, reference) if verdict else (reference, backend)
            raise ChainDamaged(
                f"the libraries differ on the proof of {name}: "
                f"{type(accepts).__name__} accepts it, {type(refuses).__name__} refuses it"
            )
        if not verdict:
            raise ChainDamaged(f"the proof of {name} does not hold")
        on_proof(number, len(positions))
    return ProofReport(store.get_head().height, count, len(positions), seconds, reference_seconds)


def _read_item(store: ChainStore, genesis: Genesis, position: int) -> tuple[str, Item]:
    """Return a settlement's name for people, its public inputs and its proof."""
    with naming_damage(store.database.path):
        located = store.database.read_now(
            lambda connection: block_rows.read_located(get_raw(connection), position)
        )
    if located is None or not isinstance(located.transaction.payload, JobSettle):
        raise ChainDamaged(f"position {position} of the index is no settlement")
    payload = located.transaction.payload
    name = f"job_{payload.job.hex()} in block {located.height}"
    job = get_job(store.state, payload.job)
    if job is None or job.lease is None:
        raise ChainDamaged(f"the state holds no lease of {name}")
    try:
        public = settlement.compute_public_inputs(
            compute_chain_id(genesis), genesis.proof.key_id, job, job.lease, payload
        )
    except Rejected as error:
        raise ChainDamaged(f"{name}: {error}") from None
    return name, (public, payload.proof)
