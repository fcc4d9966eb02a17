"""A client and a miner that keep their keys: they build, sign and prove by themselves."""

import base64
import json
from typing import Any

from nacl.public import PrivateKey, SealedBox

from ledger import codec, receipts, terms, transactions
from ledger.crypto import compute_address, compute_public_key, format_address
from ledger.receipts import ReceiptCore
from ledger.settlement import compute_public_inputs
from ledger.state import get_job
from ledger.terms import PriceTerms, ReceiptTerms, Terms
from ledger.transactions import JobClaim, JobSettle, JobSubmit, MinerRegister, Payload
from tests.support.world import World
from zk.statement import PublicInputs, Witness

SALT = b"salt".ljust(32, b"\0")
ABOUT_THE_RUN: dict[str, Any] = {
    "engine": "test engine",
    "device": "CPU of a test",
    "verification": "logit_gap",
    "pins": {"build": "test 1", "seed": "7"},
}
BOX_KEY = PrivateKey(b"box".ljust(32, b"\0"))


def sign(world: World, who: str, payload: Payload, nonce: int | None = None) -> str:
    """Return the hex of a transaction signed by a person of the test."""
    person = world.people[who]
    if nonce is None:
        nonce = world.chain.get_next_nonce(person.address)
    fee = transactions.compute_size(payload) * world.chain.parameters.minimum_fee_rate
    valid_until = world.chain.get_head().height + 1_000
    signed = transactions.sign_transaction(
        person.seed, world.chain.chain_id, nonce, fee, valid_until, payload
    )
    return codec.encode(signed).hex()


async def sign_job(world: World, body: dict[str, Any], who: str = "holder") -> dict[str, Any]:
    """Return a body with transaction and terms, as the coordinator's first answer asks for."""
    asked = await world.call("POST", "/v1/jobs", who, body)
    assert (asked.status, asked.json["error_code"]) == (422, "SIGNATURE_NEEDED"), asked
    payload = codec.decode(bytes.fromhex(asked.json["payload"]), JobSubmit, 8_192)
    opening = terms.read_opening({**asked.json["terms"], "salt": SALT.hex()}, Terms)
    assert terms.compute_content_hash(asked.json["content"]) == opening.input_hash
    signed = JobSubmit(
        **{
            **{name: getattr(payload, name) for name in JobSubmit.__struct_fields__},
            "job_commit": terms.commit_terms(opening),
        }
    )
    members = {**asked.json["terms"], "salt": SALT.hex()}
    return {**body, "transaction": sign(world, who, signed), "terms": members}


async def register(
    world: World,
    name: str = "miner_digger",
    price: int = 1_000,
    encryption_key: bytes = bytes(BOX_KEY.public_key),
) -> str:
    """Register the miner that keeps its key and wait until it is active."""
    announced = {
        "capabilities": ["llm_inference"], "gpu_info": {}, "models": [],
        "prices": {"llm_inference": price},
    }  # fmt: skip
    payload = MinerRegister(
        name,
        encryption_key,
        json.dumps(announced).encode(),
        world.chain.parameters.minimum_bond,
    )
    body = {"miner_id": name, **announced, "transaction": sign(world, "digger", payload)}
    reply = await world.call("POST", "/v1/miners/register", "digger", body)
    assert reply.status == 201, reply
    await world.until(f"/v1/miners/{name}", "digger", lambda miner: miner["status"] == "active")
    return name


def build_claim(world: World, job_id: str, name: str = "miner_digger") -> JobClaim:
    price = PriceTerms(1_000, SALT)
    return JobClaim(bytes.fromhex(job_id[4:]), name, terms.commit_price_terms(price))


def open_lease(claimed: dict[str, Any]) -> Terms:
    """Return the terms that came sealed with a lease."""
    sealed = base64.b64decode(claimed["terms_sealed"])
    return terms.read_opening(json.loads(SealedBox(BOX_KEY).decrypt(sealed)), Terms)


async def build_completion(
    world: World, claimed: dict[str, Any], result: Any, units: int
) -> dict[str, Any]:
    """Return the whole body of `complete`, proof included."""
    opened = open_lease(claimed)
    person, job_id, lease = world.people["digger"], opened.job, claimed["lease"]
    entry = get_job(world.chain.get_view(), job_id)
    assert entry is not None
    assert entry.lease is not None
    price = PriceTerms(1_000, SALT)
    opening = ReceiptTerms(
        units=units,
        started=lease["claimed_at_ms"],
        completed=lease["claimed_at_ms"] + 10,
        result_hash=terms.compute_content_hash(result),
        salt=SALT,
    )
    commitment = terms.commit_receipt_terms(opening, job_id, person.address)
    settle = JobSettle(job_id, commitment, units * 1_000, opening.completed, bytes(192))
    public = PublicInputs(
        *compute_public_inputs(
            world.chain.chain_id, world.chain.proof.key_id, entry, entry.lease, settle
        )
    )
    witness = Witness(
        terms.build_offer(opened), terms.build_price(price), terms.build_receipt(opening)
    )
    proof = await world.coordinator.prover.prove(public, witness)
    settle = JobSettle(job_id, commitment, settle.amount, settle.epoch_time, proof)
    core = ReceiptCore(
        chain_id=world.chain.chain_id.hex(),
        receipt_id="receipt_" + job_id.hex(),
        job_id="job_" + job_id.hex(),
        provider=format_address(compute_address(compute_public_key(person.seed))),
        miner_id=lease["miner_id"],
        claim_number=lease["number"],
        client=format_address(opened.client),
        service=claimed["content"]["service"],
        units=units,
        unit_type="token",
        price=1_000,
        amount=settle.amount,
        model=claimed["content"]["model"],
        **ABOUT_THE_RUN,
        input_hash=opened.input_hash.hex(),
        result_hash=opening.result_hash.hex(),
        started_at=opening.started // 1000,
        completed_at=opening.completed // 1000,
        started_ms=opening.started,
        completed_ms=opening.completed,
        receipt_commit=commitment.hex(),
    )
    return {
        "miner_id": lease["miner_id"],
        "result": result,
        "units": units,
        "started_ms": opening.started,
        "completed_ms": opening.completed,
        "receipt": receipts.sign_receipt(person.seed, core),
        "receipt_opening": {
            "units": units,
            "started": opening.started,
            "completed": opening.completed,
            "result_hash": opening.result_hash.hex(),
            "salt": SALT.hex(),
        },
        "price_opening": {"price": 1_000, "salt": SALT.hex()},
        "transaction": sign(world, "digger", settle),
    }
