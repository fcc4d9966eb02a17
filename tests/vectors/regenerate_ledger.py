"""Writes the ledger's frozen vectors: `python -m tests.vectors.regenerate_ledger`.

A changed vector is a changed protocol: whoever regenerates approves the change, and says why in the
commit. The values are made by the code under test; that they are right is held elsewhere, by
references written apart from it (tests/ledger, tests/properties).
"""

import json
from pathlib import Path
from typing import Any

from ledger import codec, crypto, merkle, receipts, terms
from ledger.blocks import compute_authorities_hash, compute_header_hash, compute_transactions_root
from ledger.faults import Reason
from ledger.state_tree import NodeKey, hash_leaf, prove_leaf, update_tree
from ledger.transactions import (
    JobCancel,
    JobClaim,
    JobFail,
    MinerExit,
    MinerUpdate,
    OfferAccept,
    OfferCancel,
    Transfer,
    compute_signing_bytes,
    compute_transaction_id,
)
from tests.ledger import samples, test_receipts, test_terms
from tests.ledger.authorities import add, prove_proposals, prove_votes
from tests.ledger.world import (
    AIT,
    CHAIN,
    CLIENT,
    COMMIT,
    MINER,
    PROPOSER,
    RIVAL,
    STRANGER,
    World,
    make_key,
    make_world,
    start_job,
    start_lease,
    start_miner,
    start_offer,
)

FOLDER = Path(__file__).parent

Vectors = dict[str, Any]


def build_encodings() -> Vectors:
    return {
        "records": {name: codec.encode(record).hex() for name, record in samples.RECORDS.items()},
        "chain_id": CHAIN.hex(),
        "transactions": [
            {
                "kind": type(item.payload).__name__,
                "encoded": codec.encode(item).hex(),
                "signing_bytes": compute_signing_bytes(item, CHAIN).hex(),
                "id": compute_transaction_id(item, CHAIN).hex(),
            }
            for item in samples.TRANSACTIONS
        ],
        "header_hash": compute_header_hash(samples.HEADER).hex(),
        "authorities_hash": compute_authorities_hash(samples.AUTHORITY_SET).hex(),
        "transactions_root": compute_transactions_root(samples.TRANSACTIONS).hex(),
    }


def build_keys() -> Vectors:
    keys = [make_key(number) for number in range(5)]
    return {
        "keys": [
            {
                "seed": key.seed.hex(),
                "public_key": key.public.hex(),
                "address": key.address.hex(),
                "text": crypto.format_address(key.address),
                "signature_of_abc": crypto.sign(key.seed, b"abc").hex(),
            }
            for key in keys
        ],
        "job_id": terms.compute_job_id(CLIENT.address, samples.fill("tag")).hex(),
        "offer_id": terms.compute_offer_id(CLIENT.address, samples.fill("tag")).hex(),
        "salt": terms.derive_salt(bytes(32), b"offer", samples.JOB).hex(),
        "content_hash": terms.compute_content_hash({"b": [1, "é"], "a": None}).hex(),
        "job_commit": terms.commit_terms(test_terms.TERMS).hex(),
        "price_commit": terms.commit_price_terms(test_terms.PRICE).hex(),
        "public_price_commit": terms.commit_public_price(250).hex(),
        "receipt_commit": terms.commit_receipt_terms(
            test_terms.RECEIPT, samples.JOB, MINER.address
        ).hex(),
        "receipt": receipts.sign_receipt(MINER.seed, test_receipts.CORE),
    }


def build_roots() -> Vectors:
    leaves = [b"leaf %d" % number for number in range(20)]
    state_roots, state_proofs = [], []
    for count in (0, 1, 2, 16, 17, 256, 257, 300):
        pairs = [(n, hash_leaf(b"key %d" % n, b"value %d" % n)) for n in range(count)]
        root, nodes = update_tree(lambda *_: None, 0, count, pairs)
        state_roots.append({"count": count, "root": root.hex()})
        if count:
            proof = prove_leaf(_read_from(nodes), count, count - 1)
            state_proofs.append({"count": count, "proof": codec.encode(proof).hex()})
    return {
        "list_roots": [merkle.compute_root(leaves[:count]).hex() for count in range(21)],
        "list_proofs": [codec.encode(merkle.prove_inclusion(leaves, at)).hex() for at in range(20)],
        "state_roots": state_roots,
        "state_proofs": state_proofs,
    }


def _read_from(nodes: dict[NodeKey, bytes]) -> Any:
    return lambda level, index: nodes.get((level, index))


def run_chain() -> World:
    """Return a short chain in which every kind of transaction applies and several fail."""
    world = make_world()
    settled = start_lease(world, 1)
    start_miner(world, "beta", RIVAL)
    world.produce(
        world.sign(RIVAL, world.settle_payload(settled, 12_345)),
        world.sign(MINER, world.settle_payload(settled, 12_345)),
        world.sign(MINER, world.settle_payload(settled, 12_345)),
        world.sign(CLIENT, Transfer(STRANGER.address, 5 * AIT)),
        world.sign(CLIENT, Transfer(STRANGER.address, 2**62)),
        world.sign(MINER, MinerUpdate("alpha", bytes(32), b"{}", AIT)),
    )
    tried, lapsing = start_job(world, 2), start_job(world, 3, STRANGER)
    world.produce(
        world.sign(MINER, JobClaim(tried, "alpha", COMMIT)),
        world.sign(RIVAL, JobClaim(tried, "beta", COMMIT)),
        world.sign(RIVAL, JobClaim(lapsing, "beta", COMMIT)),
    )
    world.run(MINER, JobFail(tried, Reason.ENGINE_FAILED))
    world.produce(gap=100_000)
    world.produce(gap=11_000)
    world.run(CLIENT, JobCancel(tried))
    world.run(MINER, JobClaim(lapsing, "alpha", COMMIT))
    world.run(STRANGER, JobCancel(lapsing))
    world.produce(gap=11_000)
    world.run(RIVAL, MinerExit("beta"))
    run_offers(world)
    run_epochs(world)
    return world


def run_offers(world: World) -> None:
    """Let an offer be made, accepted, used up and withdrawn, and its job claimed and settled."""
    offer = start_offer(world, max_jobs=1)
    job, other = start_job(world, 4), start_job(world, 5)
    world.produce(
        world.sign(CLIENT, OfferAccept(job, offer)),
        world.sign(CLIENT, OfferAccept(job, offer)),
        world.sign(CLIENT, OfferAccept(other, offer)),
        world.sign(MINER, JobClaim(job, "alpha", COMMIT)),
        world.sign(MINER, JobClaim(job, "alpha", terms.commit_public_price(250))),
        world.sign(MINER, OfferCancel(offer)),
    )
    world.run(MINER, world.settle_payload(job, 25_000))


def run_epochs(world: World) -> None:
    """Let an authority join, vote and be convicted, each in an epoch of its own."""
    world.run(PROPOSER, add(MINER))
    world.produce()
    world.produce(world.sign(MINER, add(RIVAL)), world.sign(MINER, add(RIVAL)))
    world.run(STRANGER, prove_votes(MINER, epoch=1))
    world.produce(world.sign(PROPOSER, add(MINER)), world.sign(CLIENT, prove_proposals(RIVAL)))
    world.produce()


def build_chain() -> Vectors:
    world = run_chain()
    return {
        "balances": [
            {"address": key.address.hex(), "balance": str(balance)}
            for key, balance in world.balances.items()
        ],
        "genesis": codec.encode(world.genesis).hex(),
        "blocks": [
            {
                "encoded": raw.hex(),
                "outcomes": [codec.encode(outcome).hex() for outcome in executed.outcomes],
            }
            for raw, executed in zip(world.raw_blocks, world.executed, strict=True)
        ],
        "head_hash": compute_header_hash(world.head).hex(),
        "entries": {
            key.hex(): codec.encode(entry).hex() for key, entry in world.state.entries.items()
        },
    }


BUILDERS = {
    "ledger_encodings.json": build_encodings,
    "ledger_keys.json": build_keys,
    "ledger_roots.json": build_roots,
    "ledger_chain.json": build_chain,
}


def main() -> None:
    for name, build in BUILDERS.items():
        text = json.dumps(build(), indent=1, ensure_ascii=False)
        (FOLDER / name).write_text(text + "\n")
        print(f"{name}: {len(text)} characters")


if __name__ == "__main__":
    main()
