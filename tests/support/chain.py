"""A whole chain in this process: one authority, real rules, real proofs, blocks on demand.

The other real implementation of `coordinator.ports.Chain`. It keeps no database and agrees with
nobody; everything that a transaction does is done by `ledger.transition`.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from itertools import islice

from coordinator.ports import ChainStatus, FinalBlock, Located, MempoolStatus
from genesis.document import Allocation, Genesis, build_proof_parameters, check_genesis
from genesis.document import compute_chain_id as compute_genesis_id
from genesis.state import build_genesis_state
from ledger import blocks, codec, crypto, merkle, settlement, state_tree
from ledger.blocks import Authority, Block, Header
from ledger.context import Context, Rules
from ledger.entries import Miner, miner_key, offer_key
from ledger.parameters import Parameters, ProofParameters
from ledger.rejection import Rejected, Rejection
from ledger.state import Changes, MemoryState, StateView, get_account, get_authorities, get_totals
from ledger.state_tree import StateProof
from ledger.transactions import (
    JobSettle,
    VerifiedTransaction,
    decode_transaction,
    verify_transaction,
)
from ledger.transition import Execution
from zk.devkey import load_dev_verifying_key
from zk.verifier import verify

START_MS = 1_790_000_000_000
AUTHORITY_SEED = b"authority".ljust(32, b"\0")
STEP_MS = 50
"""How far the test's clock moves with each block."""


class Clock:
    """A clock that moves only when told."""

    def __init__(self) -> None:
        self.now_ms = START_MS

    def read(self) -> int:
        return self.now_ms

    def advance(self, seconds: float) -> None:
        self.now_ms += int(seconds * 1000)


def make_genesis(balances: dict[bytes, int], is_dev: bool = True) -> Genesis:
    """Return the genesis of a chain on which the addresses own the base units."""
    key = load_dev_verifying_key()
    public_key = crypto.compute_public_key(AUTHORITY_SEED)
    authority = Authority(public_key, crypto.compute_address(public_key))
    return check_genesis(
        Genesis(
            name="in-process",
            is_dev=is_dev,
            time=START_MS - 1,
            parameters=Parameters(),
            proof=build_proof_parameters(key),
            verifying_key=key.to_bytes(),
            authorities=(authority,),
            allocations=tuple(Allocation(a, amount) for a, amount in balances.items()),
        )
    )


class InProcessChain:
    """`is_automatic` makes a block soon after each submission; `produce` makes one now.

    With `is_dev` False it passes for a chain that is not marked DEV, though its proving key is.
    """

    def __init__(
        self, genesis: Genesis, clock: Clock, is_automatic: bool = True, is_dev: bool = True
    ) -> None:
        built = build_genesis_state(genesis)
        self.state = MemoryState()
        first = Changes(self.state)
        for key, entry in built.changes.entries.items():
            first.put(key, entry)
        assert first.compute_root() == built.block.header.state_root
        self.state.commit(first)
        self.clock = clock
        self.is_automatic = is_automatic
        self._is_dev = is_dev
        self.is_answering = True
        """False: `submit` never returns, as when the process dies before the mempool has it."""
        self.behind_by = 0
        proof_key = load_dev_verifying_key()
        self.rules = Rules(
            compute_genesis_id(genesis),
            genesis.parameters,
            genesis.proof,
            lambda public, proof: verify(proof_key, public, proof),
        )
        self._genesis = genesis
        self.blocks = [FinalBlock(built.block.header, bytes(32), (), (), (), b"")]
        self._waiting: list[VerifiedTransaction] = []
        self._places: dict[bytes, Located] = {}
        self._followers: set[asyncio.Queue[FinalBlock]] = set()
        self._task: asyncio.Task[None] | None = None

    @property
    def chain_id(self) -> bytes:
        return self.rules.chain_id

    @property
    def parameters(self) -> Parameters:
        return self.rules.parameters

    @property
    def proof(self) -> ProofParameters:
        return self.rules.proof

    @property
    def is_dev(self) -> bool:
        return self._is_dev

    def get_head(self) -> Header:
        return self.blocks[-1].header

    def get_view(self) -> StateView:
        return self.state

    async def list_miners(self, limit: int) -> list[tuple[str, Miner]]:
        prefix = miner_key("")
        found = [
            (key.removeprefix(prefix).decode(), entry)
            for key, entry in self.state.entries.items()
            if isinstance(entry, Miner)
        ]
        return found[::-1][:limit]

    async def list_offer_ids(self, before: int | None, limit: int) -> list[tuple[int, bytes]]:
        prefix = offer_key(b"")
        newest = (
            (leaf, key.removeprefix(prefix))
            for key, leaf in reversed(self.state.leaves.items())
            if key.startswith(prefix) and (before is None or leaf < before)
        )
        return list(islice(newest, limit))

    def get_next_nonce(self, address: bytes) -> int:
        own = [t for t in self._waiting if crypto.compute_address(t.transaction.sender) == address]
        return get_account(self.state, address).nonce + len(own)

    async def submit(self, raw: Sequence[bytes]) -> list[bytes | Rejected]:
        if not self.is_answering:
            await asyncio.Event().wait()
        verdicts: list[bytes | Rejected] = []
        for data in raw:
            try:
                verdicts.append(self._admit(data))
            except Rejected as rejected:
                verdicts.append(rejected)
        if self.is_automatic and self._waiting and self._task is None:
            self._task = asyncio.create_task(self._produce_soon())
        return verdicts

    def _admit(self, raw: bytes) -> bytes:
        verified = verify_transaction(decode_transaction(raw), raw, self.chain_id)
        if verified.id in self._places or any(t.id == verified.id for t in self._waiting):
            return verified.id
        transaction = verified.transaction
        address = crypto.compute_address(transaction.sender)
        expected = self.get_next_nonce(address)
        if transaction.fee < len(raw) * self.parameters.minimum_fee_rate:
            raise Rejected(Rejection.FEE_TOO_LOW)
        if transaction.valid_until <= self.get_head().height:
            raise Rejected(Rejection.VALIDITY_OVER)
        if transaction.nonce != expected:
            is_used = transaction.nonce < expected
            raise Rejected(Rejection.NONCE_USED if is_used else Rejection.NONCE_GAP)
        if get_account(self.state, address).balance < transaction.fee:
            raise Rejected(Rejection.CANNOT_PAY_FEE)
        if isinstance(transaction.payload, JobSettle):
            self._check_settlement(address, transaction.payload)
        self._waiting.append(verified)
        return verified.id

    def _check_settlement(self, sender: bytes, payload: JobSettle) -> None:
        head = self.get_head()
        clock = head.time - get_totals(self.state).outage
        context = Context(Changes(self.state), self.rules, head.height, head.time, clock)
        job, lease = settlement.check_settle(context, sender, payload)
        inputs = settlement.compute_public_inputs(
            self.chain_id, self.proof.key_id, job, lease, payload
        )
        if not self.rules.verify_proof(inputs, payload.proof):
            raise Rejected(Rejection.BAD_PROOF)

    async def _produce_soon(self) -> None:
        await asyncio.sleep(0.01)
        self._task = None
        self.produce()

    def produce(self) -> FinalBlock:
        """Make the next block of what waits and is due, final at once."""
        parent = self.get_head()
        self.clock.now_ms = max(self.clock.now_ms + STEP_MS, parent.time + 1)
        member = get_authorities(self.state).current.members[0]
        execution = Execution(self.state, parent, self.clock.now_ms, member.account, self.rules)
        included, kept = [], []
        for verified in self._waiting:
            try:
                execution.apply(verified)
                included.append(verified)
            except Rejected as rejected:
                if rejected.reason in (Rejection.NOT_YET_DUE, Rejection.NONCE_GAP):
                    kept.append(verified)
        self._waiting = kept
        executed = execution.finish()
        header = Header(
            version=parent.version,
            chain_id=self.chain_id,
            epoch=0,
            height=parent.height + 1,
            view=parent.view + 1,
            parent_view=parent.view,
            time=self.clock.now_ms,
            parent=blocks.compute_header_hash(parent),
            proposer=member.key,
            transactions_root=merkle.compute_root([t.raw for t in included]),
            receipts_root=executed.receipts_root,
            state_root=executed.state_root,
            authorities=parent.authorities,
            next_authorities=parent.next_authorities,
        )
        codec.encode(Block(header, tuple(t.transaction for t in included)))
        self.state.commit(executed.changes)
        block = FinalBlock(
            header,
            blocks.compute_header_hash(header),
            tuple(t.transaction for t in included),
            tuple(t.id for t in included),
            executed.outcomes,
            b"",
        )
        due = len(block.outcomes) - len(included)
        for index, verified in enumerate(included):
            self._places[verified.id] = Located(
                header.height, index, verified.transaction, block.outcomes[due + index]
            )
        self.blocks.append(block)
        for queue in self._followers:
            queue.put_nowait(block)
        if self._waiting and self.is_automatic and self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._produce_soon())
        return block

    def forget_waiting(self) -> None:
        """Lose what waits, as a mempool under pressure may."""
        self._waiting = []

    def subscribe(self) -> AsyncIterator[FinalBlock]:
        queue: asyncio.Queue[FinalBlock] = asyncio.Queue()
        self._followers.add(queue)
        return self._iterate(queue)

    async def _iterate(self, queue: asyncio.Queue[FinalBlock]) -> AsyncIterator[FinalBlock]:
        try:
            while True:
                yield await queue.get()
        finally:
            self._followers.discard(queue)

    async def read_blocks(self, first: int, limit: int) -> list[FinalBlock]:
        return self.blocks[first : first + limit]

    async def find_transaction(self, transaction_id: bytes) -> Located | None:
        return self._places.get(transaction_id)

    async def prove_entry(self, key: bytes) -> tuple[bytes, StateProof, Header]:
        entry, leaf = self.state.get(key), self.state.get_leaf(key)
        assert entry is not None and leaf is not None
        count = self.state.get_leaf_count()
        proof = state_tree.prove_leaf(self.state.get_node, count, leaf)
        return codec.encode(entry), proof, self.get_head()

    def get_status(self) -> ChainStatus:
        head = self.get_head()
        waiting = sum(len(t.raw) for t in self._waiting)
        return ChainStatus(
            height=head.height,
            view=head.view,
            hash=self.blocks[-1].hash,
            time_ms=head.time,
            finality="immediate",
            validators=1,
            peers=0,
            behind_by=self.behind_by,
            mempool=MempoolStatus(len(self._waiting), waiting),
        )

    async def close(self) -> None:
        """End the block that is being made."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
