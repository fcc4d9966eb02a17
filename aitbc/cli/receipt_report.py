"""What a verified receipt and an audited opening show, as commands print it."""

from consensus.receipt_audit import audit_opening
from consensus.receipt_bundle import TrustAnchor, VerifiedReceipt, decode_bundle, verify_bundle
from genesis.checkpoint import Checkpoint
from ledger.rejection import Rejected, Rejection
from ledger.terms import compute_model_hash
from zk.opening import InvalidOpeningError, decode_opening


def describe_verified(data: bytes, trusted: Checkpoint) -> dict[str, object]:
    """Return what a bundle proves to whoever trusts a checkpoint. Raises `Rejected`."""
    proven = _verify(data, trusted)
    core, settled = proven.core, proven.settled
    return {
        "valid": True,
        "chain_id": core.chain_id,
        "receipt_id": core.receipt_id,
        "job_id": core.job_id,
        "client": core.client,
        "provider": core.provider,
        "miner_id": core.miner_id,
        "claim_number": core.claim_number,
        "service": core.service,
        "model": core.model,
        "units": core.units,
        "unit_type": core.unit_type,
        "amount_base": str(settled.amount),
        "payout_base": str(settled.payout),
        "coordinator_share_base": str(settled.coordinator_share),
        "network_share_base": str(settled.network_share),
        "refund_base": str(settled.refund),
        "result_hash": core.result_hash,
        **_describe_place(proven, trusted),
    }


def describe_audited(opening: bytes, bundle: bytes, trusted: Checkpoint) -> dict[str, object]:
    """Return what an opening shows of the settled receipt in a bundle. Raises `Rejected`."""
    proven = _verify(bundle, trusted)
    try:
        opened = decode_opening(opening)
    except InvalidOpeningError as error:
        raise Rejected(Rejection.MALFORMED, str(error)) from None
    audit_opening(opened, proven)
    core, offer, receipt = proven.core, opened.offer, opened.receipt
    return {
        "valid": True,
        "chain_id": core.chain_id,
        "receipt_id": core.receipt_id,
        "job_id": core.job_id,
        "client": core.client,
        "provider": core.provider,
        "miner_id": core.miner_id,
        "claim_number": core.claim_number,
        "service": core.service,
        "units": receipt.units,
        "unit_type": core.unit_type,
        "price_base": str(opened.price.price),
        "amount_base": str(proven.settled.amount),
        "max_units": offer.max_units,
        "max_price_base": str(offer.max_price),
        "escrow_base": str(proven.job.escrow),
        "claimed_ms": proven.public.claim_time,
        "started_ms": receipt.started,
        "completed_ms": receipt.completed,
        "offer_deadline_ms": offer.deadline,
        "model": core.model,
        "model_hash": compute_model_hash(core.model).hex(),
        "input_hash": core.input_hash,
        "result_hash": core.result_hash,
        **_describe_place(proven, trusted),
    }


def _verify(data: bytes, trusted: Checkpoint) -> VerifiedReceipt:
    anchor = TrustAnchor(trusted.chain_id, trusted.authorities, trusted.verifying_key)
    return verify_bundle(decode_bundle(data), anchor)


def _describe_place(proven: VerifiedReceipt, trusted: Checkpoint) -> dict[str, object]:
    return {
        "transaction_id": f"tx_{proven.transaction_id.hex()}",
        "height": proven.height,
        "block_hash": proven.block_hash.hex(),
        "block_time_ms": proven.block_time,
        "epoch": proven.epoch,
        "authorities_signed": proven.signers,
        "authorities": proven.authorities,
        "trusted_epoch": trusted.authorities.epoch,
        "is_dev_chain": trusted.is_dev,
    }
