"""How long a node's store takes to be snapshot, restored, checked and taken back, as users run it.

A chain of one authority with real signatures, whose blocks of 1,000 transfers each make as many
accounts. Each command is a process of its own: timed as a whole, and as it times its own work.

Usage: python -m bench.snapshot [--accounts 100000]
"""

import argparse
import asyncio
import json
import random
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from consensus.messages import Certificate, FinalityProof
from genesis.document import (
    Allocation,
    Genesis,
    build_proof_parameters,
    compute_chain_id,
    dump_genesis,
)
from ledger import codec, crypto, merkle
from ledger.ballots import Ballot, VoteKind, compute_vote_bytes
from ledger.blocks import Authority, Block, Header, compute_header_hash
from ledger.context import Rules
from ledger.outcomes import Outcome
from ledger.parameters import Parameters
from ledger.transactions import (
    Transfer,
    VerifiedTransaction,
    compute_size,
    sign_transaction,
    verify_transaction,
)
from ledger.transition import Execution
from node import folder
from node.chain_store import ChainStore
from node.settings import load_settings
from zk.devkey import load_dev_verifying_key
from zk.verifier import verify

SEED = bytes([9]) * 32
START_MS = 1_790_000_000_000
SENDERS = 100
TRANSFERS_PER_BLOCK = 1_000


def make_genesis() -> Genesis:
    """Return a DEV chain of one authority where the senders have all the money."""
    key = load_dev_verifying_key()
    public = crypto.compute_public_key(SEED)
    senders = [crypto.compute_address(crypto.compute_public_key(seed)) for seed in list_seeds()]
    return Genesis(
        name="bench-snapshot",
        is_dev=True,
        time=START_MS,
        parameters=Parameters(),
        proof=build_proof_parameters(key),
        verifying_key=key.to_bytes(),
        authorities=(Authority(public, crypto.compute_address(public)),),
        allocations=tuple(Allocation(address, 10**15) for address in senders),
    )


def list_seeds() -> list[bytes]:
    """Return the senders' keys."""
    return [number.to_bytes(32, "big") for number in range(1, SENDERS + 1)]


class Maker:
    """Extends a store by blocks of transfers that the one authority makes final."""

    interval = 500
    """Milliseconds between two blocks."""

    def __init__(self, store: ChainStore, genesis: Genesis, seed: bytes = SEED) -> None:
        self.store = store
        self.seed = seed
        key = load_dev_verifying_key()
        self.rules = Rules(
            compute_chain_id(genesis),
            genesis.parameters,
            genesis.proof,
            lambda public, proof: verify(key, public, proof),
        )
        self.authority = genesis.authorities[0]
        self.random = random.Random(3)
        self.nonce = 0

    async def add_block(self) -> None:
        """Make, certify and commit the next block of transfers."""
        await self.commit_block(self._sign_transfers(self.store.get_head().height))

    async def commit_block(self, transactions: list[VerifiedTransaction]) -> tuple[Outcome, ...]:
        """Make, certify and commit the next block of these; return what became of each."""
        parent = self.store.get_head()
        account, time_ms = self.authority.account, parent.time + self.interval
        execution = Execution(self.store.state, parent, time_ms, account, self.rules)
        for verified in transactions:
            execution.apply(verified)
        executed = execution.finish()
        header = Header(
            parent.version, parent.chain_id, 0, parent.height + 1, parent.view + 1, parent.view,
            time_ms, compute_header_hash(parent), self.authority.key,
            merkle.compute_root([each.raw for each in transactions]), executed.receipts_root,
            executed.state_root, parent.authorities, parent.next_authorities,
        )  # fmt: skip
        block = Block(header, tuple(each.transaction for each in transactions))
        proof = codec.encode(self._certify(header))
        await self.store.commit(block, proof, executed.outcomes, executed.changes)
        return executed.outcomes

    def _sign_transfers(self, height: int) -> list[VerifiedTransaction]:
        signed = []
        for _ in range(TRANSFERS_PER_BLOCK // SENDERS):
            for seed in list_seeds():
                payload = Transfer(self.random.randbytes(20), 1)
                fee = compute_size(payload) * self.rules.parameters.minimum_fee_rate
                chain_id = self.rules.chain_id
                made = sign_transaction(seed, chain_id, self.nonce, fee, height + 10, payload)
                signed.append(verify_transaction(made, codec.encode(made), chain_id))
            self.nonce += 1
        return signed

    def _certify(self, header: Header) -> FinalityProof:
        ballot = Ballot(VoteKind.FINALIZE, 0, header.view, compute_header_hash(header))
        signature = crypto.sign(self.seed, compute_vote_bytes(header.chain_id, ballot))
        return FinalityProof((), Certificate(ballot, (0,), (signature,)))


async def make_chain(data: Path, genesis: Genesis, blocks: int) -> None:
    """Make a node's folder with so many blocks."""
    folder.create_folder(data, dump_genesis(genesis), SEED)
    database = folder.open_database(load_settings(data=data), genesis)
    store = ChainStore(database, compute_chain_id(genesis))
    maker = Maker(store, genesis)
    for _ in range(blocks):
        await maker.add_block()
    store.close()
    await database.close()


def run_command(title: str, *arguments: object) -> None:
    """Run `aitbc node …`, print how long the process took and the most memory that it held."""
    command = [sys.executable, "-m", "aitbc.cli.main", "node", *map(str, arguments), "--json"]
    start = time.perf_counter()
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    seconds = time.perf_counter() - start
    # Of all children so far: it only grows, so each line is at most its own command's.
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    record = json.loads(done.stdout)
    size = f", {record['bytes'] / 1e6:.1f} MB" if "bytes" in record else ""
    own = record.get("seconds") or sum(each["seconds"] for each in record["checks"])
    print(
        f"{title:<24}{seconds:7.2f} s, work {own:7.2f} s, up to {peak:,.0f} MiB{size}", flush=True
    )


def main() -> int:
    """Run the measurement in a folder that is removed afterwards."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--accounts", type=int, default=100_000)
    options = parser.parse_args()
    genesis, blocks = make_genesis(), options.accounts // TRANSFERS_PER_BLOCK
    with tempfile.TemporaryDirectory() as name:
        old, new, file = Path(name) / "old", Path(name) / "new", Path(name) / "snapshot"
        asyncio.run(make_chain(old, genesis, blocks))
        folder.create_folder(new, dump_genesis(genesis), SEED)
        size = (old / "node.db").stat().st_size
        print(
            f"{options.accounts:,} accounts, {blocks:,} blocks, "
            f"database of {size / 1e6:.1f} MB; each command with its start"
        )
        run_command("snapshot create", "snapshot", "create", "--data", old, "-o", file)
        run_command("snapshot restore", "snapshot", "restore", "--data", new, file)
        run_command("db check", "db", "check", "--data", old)
        run_command("verify-chain", "verify-chain", "--data", old)
        height = blocks // 2
        run_command(f"rollback to block {height}", "rollback", "--data", old, height)
    return 0


if __name__ == "__main__":
    sys.exit(main())
