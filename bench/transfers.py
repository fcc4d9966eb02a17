"""What a signed transfer costs a node: through HTTP, encrypted, durable before each answer.

Batches of 100 to `POST /v1/transactions` of one authority; the node's processor time from the first
byte until all are final, beside PyNaCl's bare signature check in the same run.

Usage: python -m bench.transfers [--transfers 20000]
"""

import argparse
import asyncio
import tempfile
import time
from pathlib import Path

from nacl import bindings

from bench.network import NODE, Bench, make_wallet, run_bench_node
from ledger.transactions import Transfer

BATCH = 100
SENDERS = 20
CONNECTIONS = 4
TARGET_MS = 0.16


def measure_bare_verify(count: int = 5_000) -> float:
    """Return PyNaCl's processor seconds for one signature check of a transfer's size."""
    seed, message = bytes(32), bytes(180)
    public_key, secret_key = bindings.crypto_sign_seed_keypair(seed)
    signed = bindings.crypto_sign(message, secret_key)
    start = time.thread_time()
    for _ in range(count):
        bindings.crypto_sign_open(signed, public_key)
    return (time.thread_time() - start) / count


async def measure(bench: Bench, count: int) -> tuple[float, float]:
    """Return (node's processor seconds, wall seconds) for one transfer."""
    wallets = [make_wallet(f"sender {number}") for number in range(SENDERS)]
    each = count // SENDERS
    lines = [
        [
            wallet.sign(
                Transfer(make_wallet(f"payee {nonce % 1_000}").address, 1),
                chain_id=bench.chain_id,
                nonce=nonce,
                fee_rate=bench.genesis.parameters.minimum_fee_rate,
                valid_until=10_000,
            ).raw
            for nonce in range(each)
        ]
        for wallet in wallets
    ]
    batches = [line[start : start + BATCH] for start in range(0, each, BATCH) for line in lines]
    turns = asyncio.Semaphore(CONNECTIONS)

    async def send(batch: list[bytes]) -> None:
        async with turns:
            await bench.send(batch)

    cpu, wall = bench.read_cpu(), time.perf_counter()
    # In rounds: within one sender's line the batches must arrive in order.
    for start in range(0, len(batches), SENDERS):
        await asyncio.gather(*map(send, batches[start : start + SENDERS]))
    for wallet in wallets:
        await bench.wait_nonce(wallet, each)
    total = each * SENDERS
    return (bench.read_cpu() - cpu) / total, (time.perf_counter() - wall) / total


async def run(count: int) -> None:
    """Print the figures."""
    wallets = [make_wallet(f"sender {number}") for number in range(SENDERS)]
    with tempfile.TemporaryDirectory() as data:
        async with run_bench_node(Path(data) / "node", wallets) as bench:
            await measure_warm_up(bench)
            before = measure_bare_verify()
            cpu, wall = await measure(bench, count)
            bare = (before + measure_bare_verify()) / 2
    print(f"transfers through POST /v1/transactions, batches of {BATCH}, {count} in all")
    print(f"  node's processor time   {cpu * 1e3:8.4f} ms each (target <= {TARGET_MS} ms)")
    print(f"  PyNaCl's bare verify    {bare * 1e3:8.4f} ms each: ratio {cpu / bare:.2f}")
    print(f"  wall                    {1 / wall:8.0f} a second, final and synced, on this machine")


async def measure_warm_up(bench: Bench) -> None:
    """Send one block of transfers, so that imports and caches are not measured."""
    raws = [
        NODE.sign(
            Transfer(NODE.address, 1),
            chain_id=bench.chain_id,
            nonce=nonce,
            fee_rate=bench.genesis.parameters.minimum_fee_rate,
            valid_until=10_000,
        ).raw
        for nonce in range(BATCH)
    ]
    await bench.send(raws)
    await bench.wait_nonce(NODE, BATCH)


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--transfers", type=int, default=20_000)
    asyncio.run(run(parser.parse_args().transfers))


if __name__ == "__main__":
    main()
