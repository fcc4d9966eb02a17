"""What a final block costs the store as the chain grows: CPU per 1,000 transaction rows.

Blocks of 1,000 transfers between random accounts, committed with outcomes, state, tree nodes and
indexes, at 0.1 M and at 1 M rows in one encrypted database. Prints both figures and their ratio.

Usage: python -m bench.store [--accounts 100000] [--small 100000] [--large 1000000]
"""

import argparse
import asyncio
import random
import sys
import tempfile
import time
from pathlib import Path

import msgspec

from ledger.blocks import BLOCK_VERSION, Block, Header
from ledger.entries import TOTALS_KEY, Account, Totals, account_key
from ledger.outcomes import Outcome
from ledger.state import Changes, MemoryState
from ledger.transactions import TRANSACTION_VERSION, Transaction, Transfer
from node.chain_store import ChainStore
from node.database import Database
from node.key_file import create_key
from node.tables import CHAIN_TABLES

CHAIN_ID = bytes(32)
ROWS_PER_BLOCK = 1_000
FILL_ROWS_PER_BLOCK = 4_000
MEASURED_BLOCKS = 66
"""About three turns of each batch of rows, so that their writing is counted in full."""


class Load:
    """Makes blocks of random transfers; the same ones for the same seed."""

    def __init__(self, store: ChainStore, accounts: int) -> None:
        self.store = store
        self.random = random.Random(7)
        self.addresses = [make_address(number) for number in range(accounts)]
        self.keys = [self.random.randbytes(32) for _ in range(2_000)]

    def make_block(self, rows: int) -> tuple[Block, tuple[Outcome, ...], Changes]:
        """Return a block of transfers; only the measured ones move the money of every account."""
        changes = Changes(self.store.state)
        pick, draw = self.random.choice, self.random.randbytes
        transactions = []
        for number in range(rows):
            recipient = pick(self.addresses)
            transactions.append(
                Transaction(
                    TRANSACTION_VERSION,
                    pick(self.keys),
                    number,
                    1_500,
                    10**6,
                    Transfer(recipient, 10**6 + number),
                    draw(64),
                )  # fmt: skip
            )
            if rows == ROWS_PER_BLOCK or number == 0:
                for address in (recipient, pick(self.addresses)):
                    changes.put(account_key(address), Account(10**12 + number, number))
        outcomes = tuple(Outcome(draw(32), 0, 1_500, ()) for _ in range(rows))
        head = self.store.get_head()
        header = msgspec.structs.replace(
            head,
            height=head.height + 1,
            time=head.time + 500,
            parent=self.store.get_head_hash(),
            state_root=changes.compute_root(),
        )
        return Block(header, tuple(transactions)), outcomes, changes

    async def fill(self, rows: int) -> None:
        """Bring the chain to about `rows` transactions."""
        for _ in range(rows // FILL_ROWS_PER_BLOCK):
            block, outcomes, changes = self.make_block(FILL_ROWS_PER_BLOCK)
            await self.store.commit(block, b"certificate", outcomes, changes)

    async def measure(self) -> tuple[float, float]:
        """Return the CPU and wall seconds per block of 1,000 rows, all threads together."""
        cpu = wall = 0.0
        for _ in range(MEASURED_BLOCKS):
            block, outcomes, changes = self.make_block(ROWS_PER_BLOCK)
            start_cpu, start = time.process_time(), time.perf_counter()
            await self.store.commit(block, b"certificate", outcomes, changes)
            cpu += time.process_time() - start_cpu
            wall += time.perf_counter() - start
        return cpu / MEASURED_BLOCKS, wall / MEASURED_BLOCKS


def make_address(number: int) -> bytes:
    """Return an account's address, spread over the key space as real ones are."""
    return random.Random(number).randbytes(20)


def make_genesis(accounts: int) -> tuple[Block, Changes]:
    """Return a block 0 with funded accounts."""
    changes = Changes(MemoryState())
    supply = accounts * 10**12
    changes.put(TOTALS_KEY, Totals(supply, supply, 0, 0, accounts=accounts))
    for number in range(accounts):
        changes.put(account_key(make_address(number)), Account(10**12))
    empty = bytes(32)
    header = Header(
        BLOCK_VERSION, CHAIN_ID, 0, 0, 0, 0, 1_800_000_000_000, empty, empty, empty, empty,
        changes.compute_root(), empty, empty,
    )  # fmt: skip
    return Block(header, ()), changes


async def run(folder: Path, accounts: int, small: int, large: int) -> None:
    """Fill and measure at both sizes."""
    key = create_key()
    database = Database.create(folder / "node.db", key, tables=[CHAIN_TABLES])
    ChainStore.initialise(database, *make_genesis(accounts))
    store = ChainStore(database, CHAIN_ID)
    load = Load(store, accounts)
    await load.fill(small)
    small_cpu, small_wall = await load.measure()
    print(f"{small:>9,} rows: {small_cpu * 1e3:6.1f} ms CPU, {small_wall * 1e3:6.1f} ms wall")
    await load.fill(large - small - MEASURED_BLOCKS * ROWS_PER_BLOCK)
    large_cpu, large_wall = await load.measure()
    print(f"{large:>9,} rows: {large_cpu * 1e3:6.1f} ms CPU, {large_wall * 1e3:6.1f} ms wall")
    print(f"per 1,000 transaction rows, {accounts:,} accounts; ratio {large_cpu / small_cpu:.2f}")
    await report_look_ups(load)
    store.close()
    await database.close()


async def report_look_ups(load: Load) -> None:
    """Time what people and the event loop ask for, on the large database."""
    block = await load.store.read_block(10)
    assert block is not None
    start = time.perf_counter()
    for transaction_id in block.transaction_ids[:100]:
        assert await load.store.history.find_transaction(transaction_id) is not None
    print(f"find a transaction: {(time.perf_counter() - start) * 1e4:.0f} us")
    keys = [account_key(load.random.choice(load.addresses)) for _ in range(2_000)]
    for name in ("first", "again"):
        start = time.perf_counter()
        for key in keys:
            load.store.state.get(key)
        print(f"read an entry, {name}: {(time.perf_counter() - start) / len(keys) * 1e6:.1f} us")


def main() -> int:
    """Run the measurement in a folder that is removed afterwards."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--accounts", type=int, default=100_000)
    parser.add_argument("--small", type=int, default=100_000)
    parser.add_argument("--large", type=int, default=1_000_000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(run(Path(folder), options.accounts, options.small, options.large))
        size = sum(file.stat().st_size for file in Path(folder).iterdir())
        print(f"{size / 1e6:,.0f} MB on disk")
    return 0


if __name__ == "__main__":
    sys.exit(main())
