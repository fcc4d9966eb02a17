"""The chain's own routes over the in-process chain: as much of them as a miner asks for."""

from typing import Any

import msgspec

from coordinator import wire
from coordinator.http.problems import not_found
from coordinator.http.routing import PUBLIC, Answer, Bucket, Call, Handler, Route
from coordinator.ports import Chain
from ledger import crypto
from ledger.state import get_account, get_job, get_miner


def _get_chain(call: Call) -> Chain:
    return call.coordinator.chain


async def get_status(call: Call) -> Answer:
    chain = _get_chain(call)
    return Answer(
        {
            "chain_id": chain.chain_id.hex(),
            "height": chain.get_head().height,
            "minimum_fee_rate": chain.parameters.minimum_fee_rate,
            "maximum_validity": chain.parameters.maximum_validity,
            "proof_key_id": chain.proof.key_id.hex(),
        }
    )


async def get_account_route(call: Call) -> Answer:
    chain, address = _get_chain(call), crypto.parse_address(call.path["address"])
    account = get_account(chain.get_view(), address)
    return Answer(
        {
            "address": call.path["address"],
            "balance_base": str(account.balance),
            "nonce": account.nonce,
            "pending_nonce": chain.get_next_nonce(address),
        }
    )


async def get_transaction(call: Call) -> Answer:
    transaction_id = wire.parse_id(call.path["transaction_id"], wire.TRANSACTION_PREFIX)
    assert transaction_id is not None
    found = await _get_chain(call).find_transaction(transaction_id)
    if found is None:
        raise not_found("transaction")
    return Answer({"status": "final", "height": found.height, "code": found.outcome.code})


async def get_chain_job(call: Call) -> Answer:
    job = get_job(_get_chain(call).get_view(), bytes.fromhex(call.path["job_id"][4:]))
    assert job is not None
    members: dict[str, Any] = {
        "client": crypto.format_address(job.client),
        "escrow_base": str(job.escrow),
        "job_commit": job.job_commit.hex(),
        "acceptance": None,
    }
    if job.acceptance is not None:
        members["acceptance"] = {
            "miner_id": job.acceptance.miner,
            "price_base": str(job.acceptance.price),
        }
    return Answer(members)


async def get_chain_miner(call: Call) -> Answer:
    miner = get_miner(_get_chain(call).get_view(), call.path["miner_id"])
    if miner is None:
        raise not_found("miner")
    metadata: Any = msgspec.json.decode(miner.metadata)
    members = {
        "miner_id": call.path["miner_id"],
        "is_active": miner.is_active,
        "encryption_key": miner.encryption_key.hex(),
        "metadata": metadata,
    }
    return Answer(members)


def _build_route(path: str, handler: Handler) -> Route:
    return Route("GET", path, handler, "Chain", "Chain", roles=PUBLIC, bucket=Bucket.NONE)


CHAIN_ROUTES = (
    _build_route("/v1/chain/status", get_status),
    _build_route("/v1/accounts/{address}", get_account_route),
    _build_route("/v1/transactions/{transaction_id}", get_transaction),
    _build_route("/explorer/jobs/{job_id}", get_chain_job),
    _build_route("/explorer/miners/{miner_id}", get_chain_miner),
)
