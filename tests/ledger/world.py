"""A chain in memory, of one authority if not told otherwise, with a proof that any test can make.

Every block is built by an `Execution` and then applied from its bytes by `apply_block`, as another
node would; the two must agree.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from typing import NamedTuple

import msgspec

from ledger import blocks, codec, crypto, merkle, settlement, terms
from ledger.blocks import Authority, AuthoritySet, Block, Header
from ledger.context import Rules
from ledger.entries import (
    AUTHORITIES_KEY,
    TOTALS_KEY,
    Account,
    Authorities,
    Job,
    Lease,
    Miner,
    Totals,
    account_key,
)
from ledger.outcomes import Outcome
from ledger.parameters import Parameters, ProofParameters
from ledger.rejection import Rejected, Rejection
from ledger.state import (
    Changes,
    MemoryState,
    get_account,
    get_authorities,
    get_job,
    get_miner,
    get_totals,
)
from ledger.transactions import (
    JobCancel,
    JobClaim,
    JobFail,
    JobSettle,
    JobSubmit,
    MinerRegister,
    OfferCreate,
    Payload,
    Transaction,
    VerifiedTransaction,
    compute_size,
    decode_transaction,
    sign_transaction,
    verify_transaction,
)
from ledger.transition import Executed, Execution, apply_block

START = 1_800_000_000_000
CHAIN = sha256(b"a chain for tests").digest()
OTHER_CHAIN = sha256(b"another chain for tests").digest()
PROOF = ProofParameters(sha256(b"key").digest(), sha256(b"circuit").digest(), "bls12-381")
COMMIT = (7).to_bytes(32, "big")
RECEIPT_COMMIT = (8).to_bytes(32, "big")
AIT = 10**9


class Key(NamedTuple):
    """An Ed25519 key pair and its address."""

    seed: bytes
    public: bytes
    address: bytes


def make_key(number: int) -> Key:
    seed = sha256(b"test key" + number.to_bytes(4, "big")).digest()
    public = crypto.compute_public_key(seed)
    return Key(seed, public, crypto.compute_address(public))


CLIENT, MINER, COORDINATOR, PROPOSER, STRANGER, RIVAL = (make_key(number) for number in range(6))


def make_proof(inputs: tuple[int, ...]) -> bytes:
    """Return 192 bytes that hold for these public inputs and no others."""
    return sha256(repr(inputs).encode()).digest() * 6


def verify_stand_in(inputs: tuple[int, ...], proof: bytes) -> bool:
    return proof == make_proof(inputs)


def make_rules(parameters: Parameters | None = None, chain: bytes = CHAIN) -> Rules:
    return Rules(chain, parameters or Parameters(), PROOF, verify_stand_in)


def copy_state(state: MemoryState) -> MemoryState:
    """Return an independent state with the same content, as a node that starts would read it."""
    copied = MemoryState()
    changes = Changes(copied)
    for key in sorted(state.leaves, key=state.leaves.__getitem__):
        changes.put(key, state.entries[key])
    changes.compute_root()
    copied.commit(changes)
    return copied


def make_set(epoch: int, members: Iterable[Key]) -> AuthoritySet:
    return AuthoritySet(epoch, tuple(Authority(key.public, key.address) for key in members))


@dataclass
class World:
    """The head of a chain, its state, and the calls that a test makes on it."""

    balances: Mapping[Key, int]
    rules: Rules = field(default_factory=make_rules)
    proposer: Key = PROPOSER
    """The one authority at the start, where `members` names none."""
    members: tuple[Key, ...] = ()
    state: MemoryState = field(default_factory=MemoryState)
    raw_blocks: list[bytes] = field(default_factory=list)
    executed: list[Executed] = field(default_factory=list)

    def __post_init__(self) -> None:
        changes = Changes(self.state)
        supply = sum(self.balances.values())
        changes.put(TOTALS_KEY, Totals(supply, supply, 0, 0, accounts=len(self.balances)))
        members = make_set(0, self.members or (self.proposer,))
        changes.put(AUTHORITIES_KEY, Authorities(members, members))
        for key, balance in self.balances.items():
            changes.put(account_key(key.address), Account(balance))
        root = changes.compute_root()
        self.state.commit(changes)
        authorities = blocks.compute_authorities_hash(members)
        empty = merkle.compute_root([])
        self.head = self.genesis = Header(
            1, self.rules.chain_id, 0, 0, 0, 0, START, bytes(32), bytes(32), empty, empty, root,
            authorities, authorities,
        )  # fmt: skip
        self._signed: dict[bytes, int] = {}

    # Reading

    def get_balance(self, key: Key) -> int:
        return get_account(self.state, key.address).balance

    def get_job(self, job: bytes) -> Job:
        entry = get_job(self.state, job)
        assert entry is not None
        return entry

    def get_miner(self, name: str = "alpha") -> Miner:
        entry = get_miner(self.state, name)
        assert entry is not None
        return entry

    @property
    def sets(self) -> Authorities:
        """The authority sets of the next block and of the one after it."""
        return get_authorities(self.state)

    def get_leader(self) -> Authority:
        """Return the proposer of the next block: members take turns by height."""
        members = self.sets.current.members
        return members[(self.head.height + 1) % len(members)]

    @property
    def clock(self) -> int:
        return self.head.time - get_totals(self.state).outage

    # Making transactions and blocks

    def sign(
        self,
        key: Key,
        payload: Payload,
        *,
        nonce: int | None = None,
        fee: int | None = None,
        valid_until: int | None = None,
    ) -> VerifiedTransaction:
        """Return a verified transaction with the sender's next nonce and the smallest fee."""
        if nonce is None:
            waiting = self._signed.get(key.address, 0)
            nonce = get_account(self.state, key.address).nonce + waiting
            self._signed[key.address] = waiting + 1
        if fee is None:
            fee = compute_size(payload) * self.rules.parameters.minimum_fee_rate
        if valid_until is None:
            valid_until = self.head.height + 100
        chain = self.rules.chain_id
        transaction = sign_transaction(key.seed, chain, nonce, fee, valid_until, payload)
        raw = codec.encode(transaction)
        return verify_transaction(decode_transaction(raw), raw, chain)

    def open(self, gap: int = 1_000) -> Execution:
        """Return the execution of a next block, `gap` milliseconds after the head."""
        account = self.get_leader().account
        return Execution(self.state, self.head, self.head.time + gap, account, self.rules)

    def seal(self, executed: Executed, transactions: list[VerifiedTransaction], time: int) -> Block:
        """Return the block with a header that tells the truth about what was executed."""
        sets = self.sets
        header = msgspec.structs.replace(
            self.head,
            epoch=sets.current.epoch,
            height=self.head.height + 1,
            view=self.head.view + 1,
            parent_view=self.head.view,
            time=time,
            parent=blocks.compute_header_hash(self.head),
            proposer=self.get_leader().key,
            transactions_root=merkle.compute_root([verified.raw for verified in transactions]),
            receipts_root=executed.receipts_root,
            state_root=executed.state_root,
            authorities=blocks.compute_authorities_hash(sets.current),
            next_authorities=blocks.compute_authorities_hash(sets.following),
        )
        return Block(header, tuple(verified.transaction for verified in transactions))

    def apply(self, block: Block) -> Executed:
        """Apply a block from its bytes, as a node that received it would; nothing is kept."""
        block = blocks.decode_block(codec.encode(block))
        verified = [self.verify(transaction) for transaction in block.transactions]
        return apply_block(self.state, self.head, block, verified, self.rules)

    def verify(self, transaction: Transaction) -> VerifiedTransaction:
        return verify_transaction(transaction, codec.encode(transaction), self.rules.chain_id)

    def produce(self, *transactions: VerifiedTransaction, gap: int = 1_000) -> list[Outcome]:
        """Extend the chain by a block and return the outcomes of its transactions."""
        execution = self.open(gap)
        outcomes = [execution.apply(verified) for verified in transactions]
        self.close(execution, list(transactions))
        return outcomes

    def close(self, execution: Execution, transactions: list[VerifiedTransaction]) -> Executed:
        """Finish an execution, check that `apply_block` agrees, and commit."""
        executed = execution.finish()
        block = self.seal(executed, transactions, execution.context.time)
        applied = self.apply(block)
        assert applied.outcomes == executed.outcomes
        assert applied.changes.entries == executed.changes.entries
        self.state.commit(applied.changes)
        self.head = block.header
        self.raw_blocks.append(codec.encode(block))
        self.executed.append(executed)
        self._signed.clear()
        return executed

    def run(self, key: Key, payload: Payload, gap: int = 1_000) -> Outcome:
        """Extend the chain by a block with one transaction and return its outcome."""
        return self.produce(self.sign(key, payload), gap=gap)[0]

    def refuse(self, key: Key, payload: Payload) -> Rejection:
        """Return why a transaction may not enter the next block; that must change nothing."""
        execution = self.open()
        before = dict(execution.changes.entries)
        nonce = get_account(self.state, key.address).nonce
        try:
            execution.apply(self.sign(key, payload, nonce=nonce))
        except Rejected as rejected:
            assert execution.changes.entries == before
            return rejected.reason
        raise AssertionError("the transaction was not refused")

    def compute_inputs(self, job: Job, lease: Lease, payload: JobSettle) -> tuple[int, ...]:
        key_id = self.rules.proof.key_id
        return settlement.compute_public_inputs(self.rules.chain_id, key_id, job, lease, payload)

    def settle_payload(
        self, job_id: bytes, amount: int, receipt: bytes = RECEIPT_COMMIT, epoch: int | None = None
    ) -> JobSettle:
        """Return a settlement with a proof that holds for the job's present lease."""
        job = self.get_job(job_id)
        epoch = self.head.time if epoch is None else epoch
        payload = JobSettle(job_id, receipt, amount, epoch, bytes(192))
        if job.lease is None:
            return payload
        inputs = self.compute_inputs(job, job.lease, payload)
        return msgspec.structs.replace(payload, proof=make_proof(inputs))


# Payloads of the usual shape


def make_submit(world: World, tag: int = 1, **fields: object) -> JobSubmit:
    usual: dict[str, object] = {
        "idempotency_tag": tag.to_bytes(32, "big"),
        "service": "llm_inference",
        "billing": 0,
        "coordinator": COORDINATOR.address,
        "escrow": AIT,
        "job_commit": COMMIT,
        "queue_deadline": world.head.time + 20_000,
        "execution_limit": 10_000,
        "total_deadline": world.head.time + 60_000,
    }
    return JobSubmit(**{**usual, **fields})  # type: ignore[arg-type]


def make_register(name: str = "alpha", bond: int = 20 * AIT) -> MinerRegister:
    return MinerRegister(name, bytes(range(32)), b"{}", bond)


def make_offer(world: World, tag: int = 1, **fields: object) -> OfferCreate:
    usual: dict[str, object] = {
        "idempotency_tag": tag.to_bytes(32, "big"),
        "miner": "alpha",
        "service": "llm_inference",
        "billing": 0,
        "price": 250,
        "max_jobs": 2,
        "metadata": b"{}",
        "expires_at": world.head.time + 50_000,
    }
    return OfferCreate(**{**usual, **fields})  # type: ignore[arg-type]


def get_job_id(key: Key, payload: JobSubmit) -> bytes:
    return terms.compute_job_id(key.address, payload.idempotency_tag)


def make_world(parameters: Parameters | None = None, balance: int = 1_000 * AIT) -> World:
    people = (CLIENT, MINER, COORDINATOR, PROPOSER, STRANGER, RIVAL)
    return World(dict.fromkeys(people, balance), make_rules(parameters))


def start_job(world: World, tag: int = 1, key: Key = CLIENT, **fields: object) -> bytes:
    """Submit a job of `key`; return its id."""
    payload = make_submit(world, tag, **fields)
    assert world.run(key, payload).code == 0
    return get_job_id(key, payload)


def start_miner(world: World, name: str = "alpha", key: Key = MINER) -> None:
    assert world.run(key, make_register(name)).code == 0


def start_offer(world: World, tag: int = 1, key: Key = MINER, **fields: object) -> bytes:
    """Let the owner of a registered miner make an offer; return its id."""
    payload = make_offer(world, tag, **fields)
    assert world.run(key, payload).code == 0
    return terms.compute_offer_id(key.address, payload.idempotency_tag)


def start_lease(world: World, tag: int = 1, name: str = "alpha", key: Key = MINER) -> bytes:
    """Submit a job and let a new miner claim it; return the job's id."""
    start_miner(world, name, key)
    job = start_job(world, tag)
    assert world.run(key, JobClaim(job, name, COMMIT)).code == 0
    return job


def start_cancelling(world: World) -> bytes:
    """Submit, claim and cancel a job; return its id."""
    job = start_lease(world)
    assert world.run(CLIENT, JobCancel(job)).code == 0
    return job


def report(job: bytes, code: int) -> JobFail:
    return JobFail(job, code)
