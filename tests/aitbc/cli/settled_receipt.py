"""A real settled receipt and its bundle, made in memory: real proof, real blocks, real epochs."""

import json
from typing import Any, NamedTuple

import msgspec

from consensus.light_client import Succession
from consensus.messages import Certificate, FinalityProof
from consensus.receipt_bundle import SettlementPart, StatePart, encode_bundle
from genesis.document import (
    Allocation,
    Genesis,
    build_proof_parameters,
    compute_chain_id,
    dump_genesis,
)
from genesis.state import build_genesis_state
from ledger import codec, crypto, merkle, terms
from ledger.ballots import Ballot, VoteKind, compute_vote_bytes
from ledger.blocks import Authority, Header, compute_authorities_hash, compute_header_hash
from ledger.context import Rules
from ledger.entries import job_key
from ledger.outcomes import Outcome
from ledger.parameters import Parameters
from ledger.quorum import compute_quorum
from ledger.receipts import ReceiptCore, sign_receipt
from ledger.state import MemoryState, get_account, get_authorities, get_job
from ledger.state_tree import prove_leaf
from ledger.terms import PriceTerms, ReceiptTerms, Terms
from ledger.transactions import (
    AuthorityVote,
    JobClaim,
    JobSettle,
    JobSubmit,
    MinerRegister,
    Payload,
    VerifiedTransaction,
    compute_size,
    sign_transaction,
    verify_transaction,
)
from ledger.transition import Execution
from zk.devkey import load_dev_proving_key, load_dev_verifying_key
from zk.field import decode_field
from zk.opening import encode_opening
from zk.prover import RANDOMNESS_BYTES, prove
from zk.statement import PublicInputs, Witness, address_to_field, compute_context
from zk.verifier import verify

AUTHORITY, CLIENT, MINER = (bytes([number]) * 32 for number in (1, 2, 3))
AUTHORITIES = (AUTHORITY, *(bytes([number]) * 32 for number in range(40, 46)))
"""In the order in which they join."""
START = 1_766_828_620_000
PRICE, UNITS, MAX_UNITS = 1_000, 42, 100
AIT = 10**9


class SettledReceipt(NamedTuple):
    """The two files that an offline verification reads, and what an auditor reads besides."""

    genesis: bytes
    bundle: dict[str, Any]
    opening: dict[str, Any]
    chain: "ReceiptChain"


class ReceiptChain:
    """A chain in memory, of one authority at first; another joins with each epoch."""

    def __init__(self) -> None:
        key = load_dev_verifying_key()
        people = (CLIENT, MINER, *AUTHORITIES)
        self.genesis = Genesis(
            name="receipt-test",
            is_dev=True,
            time=START,
            parameters=Parameters(),
            proof=build_proof_parameters(key),
            verifying_key=key.to_bytes(),
            authorities=(Authority(crypto.compute_public_key(AUTHORITY), get_address(AUTHORITY)),),
            allocations=tuple(Allocation(get_address(seed), 1_000 * AIT) for seed in people),
        )
        self.chain_id = compute_chain_id(self.genesis)
        self.rules = Rules(
            self.chain_id,
            self.genesis.parameters,
            self.genesis.proof,
            lambda public, proof: verify(key, public, proof),
        )
        block, changes = build_genesis_state(self.genesis)
        assert isinstance(changes.base, MemoryState)
        self.state = changes.base
        self.state.commit(changes)
        self.head = block.header
        self.successions: list[Succession] = []

    def add(self, seed: bytes, payload: Payload) -> tuple[VerifiedTransaction, Outcome]:
        """Add a block with one transaction, a second after the last."""
        return self.grow((seed, payload))[0]

    def grow(self, *payloads: tuple[bytes, Payload]) -> list[tuple[VerifiedTransaction, Outcome]]:
        """Add a block of these transactions, which must apply."""
        sets, time = get_authorities(self.state), self.head.time + 1_000
        proposer = sets.current.members[0]
        execution = Execution(self.state, self.head, time, proposer.account, self.rules)
        done = []
        for seed, payload in payloads:
            verified = self._sign(seed, payload)
            done.append((verified, execution.apply(verified)))
            assert done[-1][1].code == 0, done
        executed = execution.finish()
        self.head = msgspec.structs.replace(
            self.head,
            epoch=sets.current.epoch,
            height=self.head.height + 1,
            view=self.head.view + 1,
            parent_view=self.head.view,
            time=time,
            parent=compute_header_hash(self.head),
            proposer=proposer.key,
            transactions_root=merkle.compute_root([verified.raw for verified, _ in done]),
            receipts_root=executed.receipts_root,
            state_root=executed.state_root,
            authorities=compute_authorities_hash(sets.current),
            next_authorities=compute_authorities_hash(sets.following),
        )
        self.state.commit(executed.changes)
        if sets.current != sets.following:
            proof = self.prove_final(self.head)
            self.successions.append(Succession(self.head, proof, sets.following))
        return done

    def open_epoch(self) -> None:
        """Let a quorum vote another one in; the next block closes the epoch, one more opens it."""
        size = len(get_authorities(self.state).current.members)
        joining = AUTHORITIES[size]
        key = crypto.compute_public_key(joining)
        vote = AuthorityVote(True, key, get_address(joining))
        self.grow(*((seed, vote) for seed in AUTHORITIES[: compute_quorum(size)]))
        self.grow()
        self.grow()

    def prove_final(self, header: Header, tip: Header | None = None) -> FinalityProof:
        """Return the finality proof of a block, by a quorum of its epoch's set.

        Where `tip`, the block's child, is given, the quorum signed for that.
        """
        signed = tip or header
        ballot = Ballot(VoteKind.FINALIZE, header.epoch, signed.view, compute_header_hash(signed))
        message = compute_vote_bytes(self.chain_id, ballot)
        signers = range(compute_quorum(header.epoch + 1))
        signatures = tuple(crypto.sign(AUTHORITIES[signer], message) for signer in signers)
        certificate = Certificate(ballot, tuple(signers), signatures)
        return FinalityProof((tip,) if tip else (), certificate)

    def _sign(self, seed: bytes, payload: Payload) -> VerifiedTransaction:
        nonce = get_account(self.state, get_address(seed)).nonce
        fee = compute_size(payload) * self.rules.parameters.minimum_fee_rate
        signed = sign_transaction(seed, self.chain_id, nonce, fee, 1_000, payload)
        return verify_transaction(signed, codec.encode(signed), self.chain_id)


def get_address(seed: bytes) -> bytes:
    return crypto.compute_address(crypto.compute_public_key(seed))


def make_settled_receipt(epochs_before: int = 0, epochs_after: int = 0) -> SettledReceipt:
    """Return a job's receipt, settled on a chain of its own; about a second, for the proof.

    So many epochs end before the job begins, and between its settlement and the proof of its state.
    """
    chain = ReceiptChain()
    for _ in range(epochs_before):
        chain.open_epoch()
    job = terms.compute_job_id(get_address(CLIENT), bytes(32))
    price = PriceTerms(PRICE, b"\x11" * 32)
    offer = Terms(
        job=job,
        client=get_address(CLIENT),
        max_units=MAX_UNITS,
        max_price=PRICE,
        not_before=0,
        deadline=START + 3_600_000,
        model=terms.compute_model_hash("test-model@00"),
        input_hash=terms.compute_content_hash({"prompt": "hello"}),
        salt=b"\x12" * 32,
    )
    chain.add(MINER, MinerRegister("miner_test", bytes([9]) * 32, b"{}", 10 * AIT))
    chain.add(CLIENT, _build_submit(offer))
    chain.add(MINER, JobClaim(job, "miner_test", terms.commit_price_terms(price)))
    claimed = get_job(chain.state, job)
    assert claimed is not None and claimed.lease is not None
    started = claimed.lease.claimed_at + 100
    receipt = ReceiptTerms(
        UNITS, started, started + 500, terms.compute_content_hash({"text": "hi"}), b"\x13" * 32
    )
    commit = terms.commit_receipt_terms(receipt, job, get_address(MINER))
    public = PublicInputs(
        job_commit=decode_field(claimed.job_commit),
        price_commit=decode_field(claimed.lease.price_commit),
        receipt_commit=decode_field(commit),
        amount=UNITS * PRICE,
        payee=address_to_field(get_address(MINER)),
        claim_time=claimed.lease.claimed_at,
        billing=0,
        epoch_time=receipt.completed,
        context=compute_context(
            chain.chain_id,
            chain.genesis.proof.key_id,
            7,
            job,
            claimed.lease.number,
            get_address(MINER),
            decode_field(commit),
        ),
    )
    witness = Witness(
        terms.build_offer(offer), terms.build_price(price), terms.build_receipt(receipt)
    )
    proof = prove(load_dev_proving_key(), public, witness, bytes(range(RANDOMNESS_BYTES)))
    verified, outcome = chain.add(
        MINER, JobSettle(job, commit, UNITS * PRICE, receipt.completed, proof)
    )
    document = _sign(chain, job, claimed.lease.number, receipt, commit)
    settled = _prove_settlement(chain, verified, outcome)
    for _ in range(epochs_after):
        chain.open_epoch()
    bundle = encode_bundle(document, receipt, settled, _prove_state(chain, job), chain.successions)
    return SettledReceipt(
        dump_genesis(chain.genesis),
        msgspec.to_builtins(bundle),
        json.loads(encode_opening(witness)),
        chain,
    )


def _build_submit(offer: Terms) -> JobSubmit:
    return JobSubmit(
        idempotency_tag=bytes(32),
        service="llm_inference",
        billing=0,
        coordinator=get_address(AUTHORITY),
        escrow=MAX_UNITS * PRICE,
        job_commit=terms.commit_terms(offer),
        queue_deadline=START + 600_000,
        execution_limit=600_000,
        total_deadline=START + 3_600_000,
    )


def _sign(
    chain: ReceiptChain, job: bytes, claim_number: int, receipt: ReceiptTerms, commit: bytes
) -> dict[str, Any]:
    core = ReceiptCore(
        chain_id=chain.chain_id.hex(),
        receipt_id=f"receipt_{job.hex()}",
        job_id=f"job_{job.hex()}",
        provider=crypto.format_address(get_address(MINER)),
        miner_id="miner_test",
        claim_number=claim_number,
        client=crypto.format_address(get_address(CLIENT)),
        service="llm_inference",
        units=UNITS,
        unit_type="token",
        price=PRICE,
        amount=UNITS * PRICE,
        model="test-model@00",
        engine="test",
        device="CPU of a test",
        verification="logit_gap",
        pins={"build": "test 1", "seed": "7"},
        input_hash=terms.compute_content_hash({"prompt": "hello"}).hex(),
        result_hash=receipt.result_hash.hex(),
        started_at=receipt.started // 1000,
        completed_at=receipt.completed // 1000,
        started_ms=receipt.started,
        completed_ms=receipt.completed,
        receipt_commit=commit.hex(),
    )
    return sign_receipt(MINER, core)


def _prove_settlement(
    chain: ReceiptChain, verified: VerifiedTransaction, outcome: Outcome
) -> SettlementPart:
    return SettlementPart(
        header=chain.head,
        finality=chain.prove_final(chain.head),
        transaction=verified.raw,
        transaction_inclusion=merkle.prove_inclusion([verified.raw], 0),
        outcome=outcome,
        outcome_inclusion=merkle.prove_inclusion([codec.encode(outcome)], 0),
    )


def _prove_state(chain: ReceiptChain, job: bytes) -> StatePart:
    entry, leaf = get_job(chain.state, job), chain.state.get_leaf(job_key(job))
    assert entry is not None and leaf is not None
    proof = prove_leaf(chain.state.get_node, chain.state.get_leaf_count(), leaf)
    return StatePart(chain.head, chain.prove_final(chain.head), entry, proof)
