"""A node's folder with a long history: transfers, jobs, claims, settlements, miners and offers.

Real blocks of one authority, executed by the ledger and committed by the node's own store, each
with its certificate. Every transaction is truly signed, by worker processes; what is skipped is
to check these signatures again, and to make a proof for each settlement: the rule that checks
proofs is asked nothing while the blocks are made, and a node that opens final blocks asks it no
more. So the folder is what a node's would be, but `verify-chain` would refuse the settlements.
"""

import asyncio
import random
from collections.abc import Iterator
from concurrent.futures import Executor, ProcessPoolExecutor
from dataclasses import replace
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Final, NamedTuple

from aitbc.wallet import Wallet
from bench.network import AIT, NODE, make_wallet
from bench.snapshot import Maker
from genesis.document import Genesis, compute_chain_id
from ledger import codec, terms
from ledger.transactions import (
    JobClaim,
    JobSettle,
    JobSubmit,
    MinerRegister,
    OfferAccept,
    OfferCreate,
    Payload,
    Transfer,
    VerifiedTransaction,
    compute_size,
    compute_transaction_id,
    decode_transaction,
    sign_transaction,
)
from node import folder
from node.chain_store import ChainStore
from node.settings import load_settings
from zk.statement import PER_UNIT

PER_BLOCK: Final = 1_000
JOBS_PER_BLOCK: Final = 10
SENDERS: Final = 50
PAYEES: Final = 20_000
MINERS: Final = 200
AHEAD: Final = 6
"""Blocks that workers sign while others are committed."""
VALIDITY: Final = 10
HOUR_MS: Final = 3_600_000

CLIENT = make_wallet("client")
COORDINATOR = make_wallet("coordinator")
"""Another than the node that is measured, whose own rows are not what is measured here."""
_SENDERS = tuple(make_wallet(f"sender {number}") for number in range(SENDERS))
_MINERS = tuple(make_wallet(f"miner {number}") for number in range(MINERS))
FUNDED = (CLIENT, *_SENDERS, *_MINERS)


class Draft(NamedTuple):
    """A transaction that is still to be signed."""

    seed: bytes
    nonce: int
    payload: Payload


class Plan:
    """Decides what each block holds; the same in every run.

    Every job is submitted in one block, claimed in the next and settled in the one after. Half of
    them, and all that are made under the public offer, go to the first miner.
    """

    def __init__(self) -> None:
        self._random = random.Random(11)
        self._nonces: dict[bytes, int] = {}
        self._offer = terms.compute_offer_id(_MINERS[0].address, _tag("offer", 2))

    def list_drafts(self, height: int, time: int) -> list[Draft]:
        """Return the transactions of the block at a height; `time` is its own."""
        drafts = list(self._list_events(height, time))
        for number in range(PER_BLOCK - len(drafts)):
            payee = make_payee(self._random.randrange(PAYEES))
            drafts.append(self._draft(_SENDERS[number % SENDERS], Transfer(payee, 1 + number)))
        return drafts

    def _list_events(self, height: int, time: int) -> Iterator[Draft]:
        if height == 1:
            for number, wallet in enumerate(_MINERS):
                register = MinerRegister(name_miner(number), wallet.public_key, b"{}", 10 * AIT)
                yield self._draft(wallet, register)
            return
        miner = 0 if height == 2 else self._random.randrange(MINERS)
        yield self._draft(_MINERS[miner], _make_offer(height, miner, time))
        for number in range(JOBS_PER_BLOCK):
            if height > 4:
                yield self._draft(_get_miner(height - 2, number), _settle(height - 2, number, time))
            if height > 3:
                yield self._draft(_get_miner(height - 1, number), _claim(height - 1, number))
            if height > 2:
                yield self._draft(CLIENT, _submit(height, number, time))
        if height > 2:
            yield self._draft(CLIENT, OfferAccept(compute_job(height, 0), self._offer))

    def _draft(self, wallet: Wallet, payload: Payload) -> Draft:
        nonce = self._nonces.get(wallet.address, 0)
        self._nonces[wallet.address] = nonce + 1
        return Draft(wallet.seed, nonce, payload)


def name_miner(number: int) -> str:
    """Return a miner's name on chain."""
    return f"miner_{number}"


def compute_job(height: int, number: int) -> bytes:
    """Return the id of a block's job."""
    return terms.compute_job_id(CLIENT.address, _tag("job", height, number))


def _tag(*parts: object) -> bytes:
    return sha256(repr(parts).encode()).digest()


def make_payee(number: int) -> bytes:
    """Return an address that is paid."""
    return _tag("payee", number)[:20]


def _make_commitment(*parts: object) -> bytes:
    """Return what is below the field's order, as every commitment is."""
    return b"\0" + _tag(*parts)[1:]


def _get_miner(height: int, number: int) -> Wallet:
    return _MINERS[_number_miner(height, number)]


def _number_miner(height: int, number: int) -> int:
    return 0 if number % 2 == 0 else 1 + (height * JOBS_PER_BLOCK + number) % (MINERS - 1)


def _make_offer(height: int, miner: int, time: int) -> OfferCreate:
    return OfferCreate(
        idempotency_tag=_tag("offer", height),
        miner=name_miner(miner),
        service="llm_inference",
        billing=PER_UNIT,
        price=_price(height),
        max_jobs=1_000_000,
        metadata=b'{"requirements":{}}',
        expires_at=time + 8_760 * HOUR_MS,
    )


def _price(height: int) -> int:
    return 1_000 + height


def _submit(height: int, number: int, time: int) -> JobSubmit:
    return JobSubmit(
        idempotency_tag=_tag("job", height, number),
        service="llm_inference",
        billing=PER_UNIT,
        coordinator=COORDINATOR.address,
        escrow=10**6,
        job_commit=_make_commitment("terms", height, number),
        queue_deadline=time + HOUR_MS,
        execution_limit=HOUR_MS,
        total_deadline=time + 2 * HOUR_MS,
    )


def _claim(height: int, number: int) -> JobClaim:
    job = compute_job(height, number)
    commit = _make_commitment("price", height, number)
    if number == 0:
        commit = terms.commit_public_price(_price(2))
    return JobClaim(job, name_miner(_number_miner(height, number)), commit)


def _settle(height: int, number: int, time: int) -> JobSettle:
    commit = _make_commitment("receipt", height, number)
    return JobSettle(compute_job(height, number), commit, 10**5 + number, time, bytes(192))


def sign_all(chain_id: bytes, fee_rate: int, height: int, drafts: list[Draft]) -> list[bytes]:
    """Return the canonical bytes of each, behind its id; in a worker process."""
    signed = []
    for seed, nonce, payload in drafts:
        fee = compute_size(payload) * fee_rate
        made = sign_transaction(seed, chain_id, nonce, fee, height + VALIDITY, payload)
        signed.append(compute_transaction_id(made, chain_id) + codec.encode(made))
    return signed


def _read_signed(data: bytes) -> VerifiedTransaction:
    raw = data[32:]
    return VerifiedTransaction(data[:32], decode_transaction(raw), raw)


class HistoryMaker(Maker):
    """Extends a store by the planned blocks."""

    def __init__(self, store: ChainStore, genesis: Genesis, executor: Executor) -> None:
        super().__init__(store, genesis, NODE.seed)
        self.rules = replace(self.rules, verify_proof=_trust)
        self._executor = executor
        self._plan = Plan()

    async def extend(self, blocks: int) -> None:
        """Add so many blocks."""
        first = self.store.get_head()
        waiting: list[asyncio.Future[list[bytes]]] = []
        for number in range(1, blocks + 1):
            height, time = first.height + number, first.time + number * self.interval
            waiting.append(self._sign(height, self._plan.list_drafts(height, time)))
            if len(waiting) > AHEAD:
                await self._commit(await waiting.pop(0))
        for each in waiting:
            await self._commit(await each)

    def _sign(self, height: int, drafts: list[Draft]) -> asyncio.Future[list[bytes]]:
        rate = self.rules.parameters.minimum_fee_rate
        work = partial(sign_all, self.rules.chain_id, rate, height, drafts)
        return asyncio.get_running_loop().run_in_executor(self._executor, work)

    async def _commit(self, signed: list[bytes]) -> None:
        outcomes = await self.commit_block([_read_signed(each) for each in signed])
        failed = [each.code for each in outcomes if each.code]
        assert not failed, f"a planned transaction failed with code {failed[0]}"


def _trust(_inputs: tuple[int, ...], _proof: bytes) -> bool:
    return True


def fill(data: Path, transactions: int) -> None:
    """Give the node in a fresh folder its history. Not within an event loop."""
    asyncio.run(_fill(data, transactions // PER_BLOCK))


async def _fill(data: Path, blocks: int) -> None:
    genesis = folder.open_genesis(data)
    database = folder.open_database(load_settings(data=data), genesis)
    store = ChainStore(database, compute_chain_id(genesis))
    with ProcessPoolExecutor(2) as executor:
        await HistoryMaker(store, genesis, executor).extend(blocks)
    store.close()
    await database.close()
