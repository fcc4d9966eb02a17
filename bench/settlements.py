"""How many settlements a node takes: proofs made beforehand, checked, agreed on and stored.

Each is a signed `job_settle` with its own proof through `POST /v1/transactions`, all of them open
at once; beside it, in the same run, the bare verification of the same proofs, batched and alone.

Usage: python -m bench.settlements [--jobs 240]
"""

import argparse
import asyncio
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

import msgspec

from aitbc.wallet import Wallet
from bench.network import AIT, NODE, Bench, make_wallet, run_bench_node
from ledger import settlement, terms
from ledger.entries import Job, Lease
from ledger.terms import PriceTerms, ReceiptTerms, Terms
from ledger.transactions import JobClaim, JobSettle, JobSubmit, MinerRegister, Payload
from zk.devkey import load_dev_proving_key, load_dev_verifying_key
from zk.prover import prove
from zk.statement import PER_UNIT, PublicInputs, Witness
from zk.verifier import verify, verify_batch

TARGET = 200
PROVERS = 2
MINERS = 4
"""A miner holds at most 64 leases at a time."""
ESCROW = AIT
UNITS, PRICE = 42, 1_000_000


class Prepared(NamedTuple):
    """A job under a lease, and all that its settlement needs."""

    job: bytes
    submit: JobSubmit
    opening: Terms
    price: PriceTerms
    miner: Wallet


class Proven(NamedTuple):
    """A settlement's payload with its proof, and the public inputs."""

    payload: JobSettle
    inputs: tuple[int, ...]


CLIENT = make_wallet("client")
WALLETS = tuple(make_wallet(f"miner {number}") for number in range(MINERS))


class Sender:
    """Signs for some accounts in order."""

    def __init__(self, bench: Bench) -> None:
        self._bench = bench
        self._nonces: dict[bytes, int] = {}

    def sign(self, wallet: Wallet, payload: Payload) -> bytes:
        """Return the canonical bytes of the account's next transaction."""
        nonce = self._nonces.get(wallet.address, 0)
        self._nonces[wallet.address] = nonce + 1
        return wallet.sign(
            payload,
            chain_id=self._bench.chain_id,
            nonce=nonce,
            fee_rate=self._bench.genesis.parameters.minimum_fee_rate,
            valid_until=10_000,
        ).raw

    async def send(self, wallet: Wallet, payloads: list[Payload]) -> None:
        """Sign, submit and wait until all are final."""
        await self._bench.send([self.sign(wallet, payload) for payload in payloads])
        await self._bench.wait_nonce(wallet, self._nonces[wallet.address])


def prepare_job(number: int, now: int) -> Prepared:
    """Return a job's terms, before anything of it is on chain."""
    tag = number.to_bytes(32, "big")
    job = terms.compute_job_id(CLIENT.address, tag)
    opening = Terms(
        job=job,
        client=CLIENT.address,
        max_units=100,
        max_price=ESCROW // 100,
        not_before=0,
        deadline=now + 3_600_000,
        model=bytes(32),
        input_hash=bytes(32),
        salt=terms.derive_salt(bytes(32), terms.OFFER_SALT, job),
    )
    submit = JobSubmit(
        idempotency_tag=tag,
        service="llm_inference",
        billing=PER_UNIT,
        coordinator=NODE.address,
        escrow=ESCROW,
        job_commit=terms.commit_terms(opening),
        queue_deadline=now + 3_600_000,
        execution_limit=3_600_000,
        total_deadline=now + 3_600_000,
    )
    price = PriceTerms(PRICE, terms.derive_salt(bytes(32), terms.PRICE_SALT, job))
    return Prepared(job, submit, opening, price, WALLETS[number % MINERS])


def prove_job(
    prepared: Prepared, claimed_at: int, number: int, chain_id: bytes, key_id: bytes
) -> Proven:
    """Return the settlement of a job whose lease began at `claimed_at`."""
    job, opening, submit = prepared.job, prepared.opening, prepared.submit
    receipt = ReceiptTerms(UNITS, claimed_at, claimed_at + 5, bytes(32), bytes(32))
    payee = prepared.miner.address
    price_commit = terms.commit_price_terms(prepared.price)
    lease = Lease("", number, payee, price_commit, claimed_at, 0)
    entry = Job(
        client=CLIENT.address,
        service=submit.service,
        billing=submit.billing,
        coordinator=submit.coordinator,
        escrow=submit.escrow,
        job_commit=submit.job_commit,
        queue_window=0,
        queue_deadline=0,
        execution_limit=0,
        total_deadline=0,
        submitted_at=0,
    )
    commit = terms.commit_receipt_terms(receipt, job, payee)
    payload = JobSettle(job, commit, UNITS * PRICE, receipt.completed, bytes(192))
    inputs = settlement.compute_public_inputs(chain_id, key_id, entry, lease, payload)
    witness = Witness(
        terms.build_offer(opening), terms.build_price(prepared.price), terms.build_receipt(receipt)
    )
    proof = prove(load_dev_proving_key(), PublicInputs(*inputs), witness, job)
    return Proven(msgspec.structs.replace(payload, proof=proof), inputs)


async def put_under_lease(bench: Bench, sender: Sender, jobs: list[Prepared]) -> None:
    """Register the miners, lock every escrow and grant every lease."""
    for number, wallet in enumerate(WALLETS):
        register = MinerRegister(f"miner_{number}", wallet.public_key, b"{}", 10 * AIT)
        await sender.send(wallet, [register])
    await sender.send(CLIENT, [each.submit for each in jobs])
    for number, wallet in enumerate(WALLETS):
        claims: list[Payload] = [
            JobClaim(each.job, f"miner_{number}", terms.commit_price_terms(each.price))
            for each in jobs
            if each.miner is wallet
        ]
        await sender.send(wallet, claims)


async def prove_all(bench: Bench, jobs: list[Prepared]) -> list[Proven]:
    """Return every job's settlement, proved on as many cores as there are provers."""
    loop = asyncio.get_running_loop()
    key_id = bench.genesis.proof.key_id
    with ProcessPoolExecutor(PROVERS) as pool:
        tasks = []
        for each in jobs:
            lease = (await bench.get(f"/explorer/jobs/job_{each.job.hex()}"))["lease"]
            arguments = (_parse_time(lease["claimed_at"]), lease["number"], bench.chain_id, key_id)
            tasks.append(loop.run_in_executor(pool, prove_job, each, *arguments))
        return list(await asyncio.gather(*tasks))


def _parse_time(text: str) -> int:
    """Return milliseconds since the Unix epoch."""
    return round(datetime.fromisoformat(text).timestamp() * 1000)


async def measure(bench: Bench, count: int) -> tuple[float, float, list[Proven]]:
    """Return (node's processor seconds, wall seconds) for all settlements together."""
    sender, now = Sender(bench), time.time_ns() // 1_000_000
    jobs = [prepare_job(number, now) for number in range(count)]
    await put_under_lease(bench, sender, jobs)
    start = time.perf_counter()
    proven = await prove_all(bench, jobs)
    print(f"  ({count} proofs made beforehand in {time.perf_counter() - start:.0f} s)")
    raws = {wallet.address: list[bytes]() for wallet in WALLETS}
    for job, each in zip(jobs, proven, strict=True):
        raws[job.miner.address].append(sender.sign(job.miner, each.payload))
    cpu, wall = bench.read_cpu(), time.perf_counter()
    await asyncio.gather(*(bench.send(line) for line in raws.values()))
    while True:
        stats = await bench.get("/explorer/stats")
        if stats["total_receipts"] == count:
            break
        await asyncio.sleep(0.02)
    return bench.read_cpu() - cpu, time.perf_counter() - wall, proven


async def run(count: int) -> None:
    """Print the figures."""
    with tempfile.TemporaryDirectory() as data:
        async with run_bench_node(Path(data) / "node", [CLIENT, *WALLETS]) as bench:
            cpu, wall, proven = await measure(bench, count)
    key = load_dev_verifying_key()
    items = [(each.inputs, each.payload.proof) for each in proven]
    start = time.thread_time()
    assert all(verify_batch(key, items))
    batched = (time.thread_time() - start) / count
    start = time.thread_time()
    assert all(verify(key, *item) for item in items[:20])
    alone = (time.thread_time() - start) / min(20, count)
    print(f"{count} settlements, submitted together, until all are final")
    print(f"  {count / wall:7.0f} a second of wall time (target >= {TARGET}, aim 400)")
    print(f"  {cpu / count * 1e3:7.2f} ms of the node's processor time each")
    print(f"  {batched * 1e3:7.2f} ms bare, one batch: ratio {cpu / count / batched:.2f}")
    print(f"  {alone * 1e3:7.2f} ms bare, alone:     ratio {cpu / count / alone:.2f}")


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=240)
    asyncio.run(run(parser.parse_args().jobs))


if __name__ == "__main__":
    main()
