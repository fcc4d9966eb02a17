"""Making the file that proves a settled receipt offline, for consensus/receipt_bundle.py."""

import json
from typing import Any

import msgspec
from sqlalchemy import Connection

from consensus.messages import decode_finality
from consensus.receipt_bundle import (
    SettlementPart,
    StatePart,
    encode_bundle,
)
from coordinator import sql
from coordinator.receipt_documents import build_document
from coordinator.tables import JobRow, ReceiptRow
from ledger import codec, merkle
from ledger.entries import Job, job_key
from ledger.terms import ReceiptTerms, read_opening
from node import chain_base
from node.chain_store import ChainStore
from node.database import Database
from node.sqlcipher import get_raw


async def build_receipt_bundle(
    database: Database, store: ChainStore, job_id: bytes
) -> dict[str, Any] | None:
    """Return the bundle of a job's settled receipt, or None while there is none."""

    def read(connection: Connection) -> tuple[JobRow, ReceiptRow] | None:
        job = sql.find(connection, JobRow, job_id=job_id)
        receipt = job and sql.find(connection, ReceiptRow, job_row_id=job.row_id)
        return (job, receipt) if job and receipt and receipt.is_final else None

    rows = await database.read(read)
    if rows is None:
        return None
    job, receipt = rows
    settled = await _build_settlement(store, job)
    state = await _build_state(store, job_id)
    successions = await database.read(lambda raw: chain_base.read_successions(get_raw(raw)))
    if settled is None or state is None:
        return None
    opening = read_opening(json.loads(receipt.opening), ReceiptTerms)
    return msgspec.to_builtins(  # type: ignore[no-any-return]
        encode_bundle(build_document(receipt), opening, settled, state, successions)
    )


async def _build_settlement(store: ChainStore, job: JobRow) -> SettlementPart | None:
    """Return the settling transaction and its outcome, with their places in the block."""
    if job.end_tx is None or job.end_height is None:
        return None
    block = await store.read_block(job.end_height)
    if block is None or job.end_tx not in block.transaction_ids:
        return None
    index = block.transaction_ids.index(job.end_tx)
    due = len(block.outcomes) - len(block.transactions)
    raws = [codec.encode(transaction) for transaction in block.transactions]
    outcomes = [codec.encode(outcome) for outcome in block.outcomes]
    return SettlementPart(
        header=block.header,
        finality=decode_finality(block.certificate),
        transaction=raws[index],
        transaction_inclusion=merkle.prove_inclusion(raws, index),
        outcome=block.outcomes[due + index],
        outcome_inclusion=merkle.prove_inclusion(outcomes, due + index),
    )


async def _build_state(store: ChainStore, job_id: bytes) -> StatePart | None:
    """Return the job's entry in the state after the head."""
    proven = store.prove_entry(job_key(job_id))
    if proven is None:
        return None
    value, proof, header = proven
    block = await store.read_block(header.height)
    assert block is not None
    entry = codec.decode(value, Job, len(value))
    return StatePart(header, decode_finality(block.certificate), entry, proof)
