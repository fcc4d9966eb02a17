"""A true node in this process, on a free port: the composition root, a real database, real blocks.

Nothing is replaced. The chain has one authority and short block intervals; tests talk HTTP.
"""

import asyncio
import io
import json
import secrets
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import aiohttp

from aitbc.cli.devnet.ports import find_free_port
from aitbc.wallet import SignedTransaction, Wallet
from genesis.document import (
    Allocation,
    Genesis,
    build_proof_parameters,
    compute_chain_id,
    dump_genesis,
)
from ledger import crypto, settlement, terms
from ledger.blocks import Authority
from ledger.entries import Job, Lease
from ledger.parameters import Parameters
from ledger.terms import PriceTerms, ReceiptTerms, Terms
from ledger.transactions import JobClaim, JobSettle, JobSubmit, MinerRegister, Payload
from node import folder
from node.clock import get_wall_time
from node.run import run_node
from node.settings import load_settings
from zk.devkey import load_dev_proving_key, load_dev_verifying_key
from zk.prover import prove
from zk.statement import PER_UNIT, PublicInputs, Witness

AIT = 10**9
NODE = Wallet(bytes([3]) * 32)
CLIENT = Wallet(bytes([1]) * 32)
MINER = Wallet(bytes([2]) * 32)
FUNDS = 1_000 * AIT
START_SECONDS = 30.0
FINAL_SECONDS = 20.0


class Reply(NamedTuple):
    """An answer over HTTP; `body` is JSON where it was sent as such, text elsewhere."""

    status: int
    headers: Mapping[str, str]
    body: Any


class SettledJob(NamedTuple):
    """A job from escrow to settlement, and the ids of its three transactions."""

    job: bytes
    submitted: str
    claimed: str
    settled: str
    amount: int
    escrow: int


class RunningNode:
    """A node that answers, and a client of it."""

    def __init__(self, url: str, genesis: Genesis, session: aiohttp.ClientSession) -> None:
        self.url = url
        self.genesis = genesis
        self.chain_id = compute_chain_id(genesis)
        self.session = session
        self._nonces: dict[bytes, int] = {}

    async def get(
        self, path: str, *, headers: Mapping[str, str] | None = None, **query: Any
    ) -> Reply:
        async with self.session.get(self.url + path, params=query, headers=headers) as response:
            return await _read(response)

    async def post(self, path: str, body: Any) -> Reply:
        """Send bytes as they are, anything else as JSON."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        async with self.session.post(self.url + path, data=io.BytesIO(data)) as response:
            return await _read(response)

    async def read(self, path: str, **query: Any) -> Any:
        """Return the body of an answer that must be 200."""
        reply = await self.get(path, **query)
        assert reply.status == 200, reply
        return reply.body

    def adopt_nonces(self, other: "RunningNode") -> None:
        """Go on with the nonces that another node's client has counted on the same chain."""
        self._nonces = other._nonces

    def sign(self, wallet: Wallet, payload: Payload, nonce: int | None = None) -> SignedTransaction:
        """Sign with the wallet's next nonce, counted here, or with the given one."""
        if nonce is None:
            nonce = self._nonces.get(wallet.address, 0)
            self._nonces[wallet.address] = nonce + 1
        rate = self.genesis.parameters.minimum_fee_rate
        return wallet.sign(
            payload, chain_id=self.chain_id, nonce=nonce, fee_rate=rate, valid_until=1_000
        )

    async def send(self, wallet: Wallet, payload: Payload) -> dict[str, Any]:
        """Submit a transaction, wait until it is final and applied, and return it."""
        signed = self.sign(wallet, payload)
        reply = await self.post("/v1/transactions", {"raw": signed.raw.hex()})
        assert reply.status == 202, reply
        found = await self.wait_final(reply.body["transaction_id"])
        assert found["outcome"] == "applied", found
        return found

    async def wait_final(self, transaction_id: str) -> dict[str, Any]:
        async with asyncio.timeout(FINAL_SECONDS):
            while True:
                found: dict[str, Any] = await self.read(f"/v1/transactions/{transaction_id}")
                if found["status"] == "final":
                    return found
                await asyncio.sleep(0.01)

    async def wait_job(self, job: bytes, status: str) -> dict[str, Any]:
        async with asyncio.timeout(FINAL_SECONDS):
            while True:
                found: dict[str, Any] = await self.read(f"/explorer/jobs/job_{job.hex()}")
                if found["status"] == status:
                    return found
                await asyncio.sleep(0.02)

    async def register_miner(
        self, wallet: Wallet = MINER, name: str = "miner_one", metadata: bytes = b"{}"
    ) -> dict[str, Any]:
        bond = self.genesis.parameters.minimum_bond
        return await self.send(wallet, MinerRegister(name, wallet.public_key, metadata, bond))

    def build_submit(
        self, tag: bytes, escrow: int = AIT, queue_ms: int = 60_000
    ) -> tuple[bytes, JobSubmit, Terms]:
        """Return a job's id, its payload and the opening of its commitment."""
        job, now = terms.compute_job_id(CLIENT.address, tag), get_wall_time()
        opening = Terms(
            job=job,
            client=CLIENT.address,
            max_units=100,
            max_price=escrow // 100,
            not_before=0,
            deadline=now + 300_000,
            model=terms.compute_model_hash("model@1"),
            input_hash=terms.compute_content_hash({"prompt": "never on the chain"}),
            salt=terms.derive_salt(bytes(32), terms.OFFER_SALT, job),
        )
        payload = JobSubmit(
            idempotency_tag=tag,
            service="llm_inference",
            billing=PER_UNIT,
            coordinator=NODE.address,
            escrow=escrow,
            job_commit=terms.commit_terms(opening),
            queue_deadline=now + queue_ms,
            execution_limit=60_000,
            total_deadline=now + 300_000,
        )
        return job, payload, opening

    async def settle_job(self, tag: bytes, miner: str = "miner_one") -> SettledJob:
        """Take a job from escrow to settlement, with a proof under the DEV key."""
        job, submit, opening = self.build_submit(tag)
        salt = terms.derive_salt(bytes(32), terms.PRICE_SALT, job)
        price = PriceTerms(opening.max_price // 2, salt)
        submitted = await self.send(CLIENT, submit)
        claim = JobClaim(job, miner, terms.commit_price_terms(price))
        claimed = await self.send(MINER, claim)
        lease = await self._read_lease(job, claim)
        receipt = ReceiptTerms(
            units=42,
            started=lease.claimed_at,
            completed=lease.claimed_at + 5,
            result_hash=terms.compute_content_hash({"text": "never on the chain"}),
            salt=terms.derive_salt(bytes(32), terms.RECEIPT_SALT, job),
        )
        settle = JobSettle(
            job=job,
            receipt_commit=terms.commit_receipt_terms(receipt, job, MINER.address),
            amount=receipt.units * price.price,
            epoch_time=receipt.completed,
            proof=bytes(192),
        )
        entry = _build_entry(submit)
        key_id = self.genesis.proof.key_id
        inputs = settlement.compute_public_inputs(self.chain_id, key_id, entry, lease, settle)
        witness = Witness(
            terms.build_offer(opening), terms.build_price(price), terms.build_receipt(receipt)
        )
        proof = await asyncio.to_thread(
            prove, load_dev_proving_key(), PublicInputs(*inputs), witness, secrets.token_bytes(32)
        )
        settle = JobSettle(job, settle.receipt_commit, settle.amount, settle.epoch_time, proof)
        settled = await self.send(MINER, settle)
        first, second, third = (each["transaction_id"] for each in (submitted, claimed, settled))
        return SettledJob(job, first, second, third, settle.amount, submit.escrow)

    async def _read_lease(self, job: bytes, claim: JobClaim) -> Lease:
        found = await self.read(f"/explorer/jobs/job_{job.hex()}")
        step = found["steps"][-1]
        block = await self.read(f"/explorer/blocks/{step['height']}")
        number = found["lease"]["number"]
        claimed_at = block["time_ms"]
        return Lease(claim.miner, number, MINER.address, claim.price_commit, claimed_at, 0)


@asynccontextmanager
async def running_node(data: Path, **choices: Any) -> AsyncIterator[RunningNode]:
    """Make a data folder and run a node on it; `choices` are parameters of the chain."""
    genesis = build_genesis(**choices)
    await asyncio.to_thread(folder.create_folder, data, dump_genesis(genesis), NODE.seed)
    async with reopened_node(data, genesis) as node:
        yield node


@asynccontextmanager
async def reopened_node(
    data: Path, genesis: Genesis, **settings: Any
) -> AsyncIterator[RunningNode]:
    """Run a node on a folder that exists."""
    port = find_free_port()
    url = f"http://127.0.0.1:{port}"
    fixed = {"data": data, "api_port": port, "p2p_transport": "none", "log_level": "error"}
    task = asyncio.create_task(run_node(load_settings(**fixed, **settings)))
    try:
        async with aiohttp.ClientSession() as session:
            await wait_ready(session, url, task)
            yield RunningNode(url, genesis, session)
    finally:
        task.cancel()
        await asyncio.wait([task])
        if not task.cancelled():
            task.result()


def build_genesis(**choices: Any) -> Genesis:
    key = load_dev_verifying_key()
    wallets = (NODE, CLIENT, MINER)
    return Genesis(
        name="test-chain",
        is_dev=True,
        time=get_wall_time() - 1_000,
        parameters=Parameters(**{"block_interval": 20, **choices}),
        proof=build_proof_parameters(key),
        verifying_key=key.to_bytes(),
        authorities=(Authority(NODE.public_key, NODE.address),),
        allocations=tuple(Allocation(wallet.address, FUNDS) for wallet in wallets),
    )


async def wait_ready(session: aiohttp.ClientSession, url: str, task: "asyncio.Task[None]") -> None:
    """Return once a node's API answers; what ended the node is raised."""
    async with asyncio.timeout(START_SECONDS):
        while not task.done():
            try:
                async with session.get(url + "/livez") as response:
                    assert response.status == 200
                    return
            except aiohttp.ClientConnectorError:
                await asyncio.sleep(0.02)
        task.result()


async def _read(response: aiohttp.ClientResponse) -> Reply:
    is_json = response.content_type.endswith("json")
    body = await response.json(content_type=None) if is_json else await response.text()
    return Reply(response.status, response.headers, body)


def _build_entry(submit: JobSubmit) -> Job:
    return Job(
        client=CLIENT.address,
        service=submit.service,
        billing=submit.billing,
        coordinator=submit.coordinator,
        escrow=submit.escrow,
        job_commit=submit.job_commit,
        queue_window=0,
        queue_deadline=0,
        execution_limit=submit.execution_limit,
        total_deadline=0,
        submitted_at=0,
    )


def get_text_address(wallet: Wallet) -> str:
    return crypto.format_address(wallet.address)
