"""How a receipt looks: the union of its signed core and what the chain added to it."""

import json
from typing import Any

from coordinator import receipt_documents, wire
from coordinator.coordinator import Coordinator
from coordinator.http.receipt_models import Receipt
from coordinator.job_rows import JobRecord
from ledger import codec
from ledger.entries import LEASE_STATES, Job, JobStatus, job_key
from ledger.settlement import compute_public_inputs
from ledger.state import get_job
from ledger.state_tree import StateProof
from ledger.transactions import JobSettle
from zk.statement import PublicInputs


async def view_receipt(
    coordinator: Coordinator, record: JobRecord, is_listed: bool = False
) -> dict[str, Any]:
    """Return a receipt's union form; in lists without the two proofs."""
    row, job = record.receipt, record.job
    assert row is not None
    document = receipt_documents.build_document(row)
    payload = {name: value for name, value in document.items() if name != "attestations"}
    zk, inclusion = None, None
    if not is_listed:
        zk = await view_proof(coordinator, job.job_id, job.settle_tx)
        inclusion = await _view_inclusion(coordinator, job.job_id) if row.is_final else None
    transaction = job.settle_tx
    return Receipt(
        **{
            **document,
            "created_at": wire.format_time(row.created_ms),
            "signed_payload": receipt_documents.encode_signed_payload(payload),
            "status": "final" if row.is_final else "pending",
            "tx": None if transaction is None else wire.format_transaction_id(transaction),
            "height": job.end_height if row.is_final else None,
            "block_hash": job.end_block.hex() if row.is_final and job.end_block else None,
            "inclusion_proof": inclusion,
            "zk": zk,
            "amount_base": str(document["amount"]),
            "openings": {
                "receipt": json.loads(row.opening),
                "price": json.loads(row.price_opening),
            },
        }
    ).model_dump(mode="json")


async def view_proof(
    coordinator: Coordinator, job_id: bytes, transaction: bytes | None
) -> dict[str, Any] | None:
    """Return a settlement's proof and its public inputs, from its final transaction."""
    located = None
    if transaction is not None:
        located = await coordinator.chain.find_transaction(transaction)
    entry = get_job(coordinator.chain.get_view(), job_id)
    if located is None or entry is None or not isinstance(
        located.transaction.payload, JobSettle
    ):  # fmt: skip
        return None
    public = read_public_inputs(coordinator, entry, located.transaction.payload)
    return {
        "scheme": "groth16",
        "curve": coordinator.chain.proof.curve,
        "commitment": located.transaction.payload.receipt_commit.hex(),
        "proof": located.transaction.payload.proof.hex(),
        "public_inputs": {
            name: str(value)
            for name, value in zip(PublicInputs.__struct_fields__, public or (), strict=False)
        },
        "key_id": coordinator.chain.proof.key_id.hex(),
    }


def read_public_inputs(
    coordinator: Coordinator, entry: Job, payload: JobSettle
) -> tuple[int, ...] | None:
    """Return what a settlement's proof is about, None when the job has no lease any more."""
    has_lease = entry.status in LEASE_STATES or entry.status is JobStatus.SETTLED
    if entry.lease is None or not has_lease:
        return None
    return compute_public_inputs(
        coordinator.chain.chain_id, coordinator.chain.proof.key_id, entry, entry.lease, payload
    )


async def _view_inclusion(coordinator: Coordinator, job_id: bytes) -> dict[str, Any]:
    value, proof, header = await coordinator.chain.prove_entry(job_key(job_id))
    return {
        "key": job_key(job_id).hex(),
        "value": value.hex(),
        "proof": _encode_proof(proof),
        "header": codec.encode(header).hex(),
        "height": header.height,
        "state_root": header.state_root.hex(),
    }


def _encode_proof(proof: StateProof) -> dict[str, Any]:
    return {
        "leaf": proof.leaf,
        "count": proof.count,
        "nodes": [node.hex() for node in proof.nodes],
    }
