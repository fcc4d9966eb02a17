"""What the ledger costs: a block of transfers, the state root, the encoding, a signed replay.

Beside it, in the same run on the same machine, PyNaCl's bare signature check and SHA-256; what
counts are the ratios. Medians of processor time of one thread, so that a busy machine changes
little; half a minute and about a gigabyte of memory in all.

Usage: python -m bench.ledger [--repeat 5]
"""

import argparse
import statistics
import time
from collections.abc import Callable
from hashlib import sha256
from typing import TypeVar

import msgspec
from nacl import bindings

from ledger import blocks, codec, crypto, merkle
from ledger.blocks import Authority, AuthoritySet, Block, Header
from ledger.context import Rules
from ledger.entries import AUTHORITIES_KEY, TOTALS_KEY, Account, Authorities, Totals, account_key
from ledger.parameters import Parameters, ProofParameters
from ledger.state import Changes, MemoryState
from ledger.transactions import (
    JobSubmit,
    Payload,
    Transfer,
    VerifiedTransaction,
    compute_signing_bytes,
    compute_size,
    decode_transaction,
    sign_transaction,
    verify_transaction,
)
from ledger.transition import Execution, apply_block

TRANSFERS = 1_000
SENDERS = 100
CHANGED = 1_000
"""Accounts that change in one state-root update."""
DEADLINES = 1_024
SIZES = (10_000, 100_000, 1_000_000)
START = 1_800_000_000_000
CHAIN = sha256(b"bench").digest()
REPLAY_TARGET = 8_000
"""Signed transfers per second of processor time, from bytes to state root."""

_T = TypeVar("_T")


def verify_none(_inputs: tuple[int, ...], _proof: bytes) -> bool:
    """No job settles here; `bench.proof` measures proofs."""
    return False


RULES = Rules(CHAIN, Parameters(), ProofParameters(bytes(32), bytes(32), "bls12-381"), verify_none)


def measure(work: Callable[[], _T], repeat: int) -> tuple[float, _T]:
    """Return the median seconds of processor time of `work`, and what it returned last."""
    seconds = []
    for _ in range(repeat):
        start = time.process_time()
        result = work()
        seconds.append(time.process_time() - start)
    return statistics.median(seconds), result


def make_seed(number: int) -> bytes:
    return sha256(b"bench %d" % number).digest()


class Chain:
    """A state of many accounts under a first header, and the blocks on top of it."""

    def __init__(self, accounts: int) -> None:
        self.state = MemoryState()
        keys = [crypto.compute_public_key(make_seed(number)) for number in range(SENDERS)]
        addresses = [crypto.compute_address(key) for key in keys]
        addresses += [sha256(b"%d" % number).digest()[:20] for number in range(SENDERS, accounts)]
        self.addresses = addresses
        balance = 10**12
        supply = balance * accounts
        changes = Changes(self.state)
        changes.put(TOTALS_KEY, Totals(supply, supply, 0, 0, accounts=accounts))
        members = AuthoritySet(0, (Authority(keys[0], addresses[0]),))
        changes.put(AUTHORITIES_KEY, Authorities(members, members))
        for address in addresses:
            changes.put(account_key(address), Account(balance))
        root = changes.compute_root()
        self.state.commit(changes)
        empty = merkle.compute_root([])
        authorities = blocks.compute_authorities_hash(members)
        self.head = Header(
            1, CHAIN, 0, 0, 0, 0, START, bytes(32), bytes(32), empty, empty, root,
            authorities, authorities,
        )  # fmt: skip
        self.proposer = keys[0], addresses[0]

    def sign(self, payloads: list[Payload]) -> list[VerifiedTransaction]:
        """Return one transaction for each payload, senders in turn."""
        verified = []
        for number, payload in enumerate(payloads):
            fee = compute_size(payload) * RULES.parameters.minimum_fee_rate
            nonce, seed = number // SENDERS, make_seed(number % SENDERS)
            transaction = sign_transaction(seed, CHAIN, nonce, fee, 1_000, payload)
            raw = codec.encode(transaction)
            verified.append(verify_transaction(transaction, raw, CHAIN))
        return verified

    def build(self, transactions: list[VerifiedTransaction], gap: int = 1_000) -> Block:
        """Return a true block of the transactions."""
        time_ms = self.head.time + gap
        execution = Execution(self.state, self.head, time_ms, self.proposer[1], RULES)
        for verified in transactions:
            execution.apply(verified)
        executed = execution.finish()
        header = msgspec.structs.replace(
            self.head,
            height=self.head.height + 1,
            view=self.head.view + 1,
            parent_view=self.head.view,
            time=time_ms,
            parent=blocks.compute_header_hash(self.head),
            proposer=self.proposer[0],
            transactions_root=merkle.compute_root([verified.raw for verified in transactions]),
            receipts_root=executed.receipts_root,
            state_root=executed.state_root,
        )
        return Block(header, tuple(verified.transaction for verified in transactions))


def make_transfers(chain: Chain) -> list[VerifiedTransaction]:
    return chain.sign(
        [Transfer(chain.addresses[-1 - number], 1_000) for number in range(TRANSFERS)]
    )


def bench_block(chain: Chain, repeat: int) -> None:
    transfers = make_transfers(chain)
    block = chain.build(transfers)
    seconds, _ = measure(
        lambda: apply_block(chain.state, chain.head, block, transfers, RULES), repeat
    )
    print(
        f"apply_block, {TRANSFERS:,} transfers, checked before: {seconds * 1e3:.1f} ms, "
        f"{seconds / TRANSFERS * 1e6:.1f} µs each"
    )


def bench_replay(chain: Chain, repeat: int) -> None:
    transfers = make_transfers(chain)
    block = chain.build(transfers)
    data = codec.encode(block)

    def replay() -> None:
        decoded = blocks.decode_block(data)
        verified = [
            verify_transaction(transaction, codec.encode(transaction), CHAIN)
            for transaction in decoded.transactions
        ]
        apply_block(chain.state, chain.head, decoded, verified, RULES)

    signed = [
        (
            item.transaction.signature + compute_signing_bytes(item.transaction, CHAIN),
            item.transaction.sender,
        )
        for item in transfers
    ]

    def verify_bare() -> None:
        for message, sender in signed:
            bindings.crypto_sign_open(message, sender)

    # Taken in turn, so that a change in the machine's speed meets both.
    pairs = [(measure(replay, 1)[0], measure(verify_bare, 1)[0]) for _ in range(repeat)]
    whole = statistics.median(first for first, _ in pairs)
    bare = statistics.median(second for _, second in pairs)
    ratio = statistics.median(second / first for first, second in pairs)
    rate = TRANSFERS / whole
    print(
        f"replay from bytes with signatures: {rate:,.0f} transfers per CPU-second "
        f"(target {REPLAY_TARGET:,}: {'met' if rate >= REPLAY_TARGET else 'MISSED'})"
    )
    print(
        f"  PyNaCl's bare check alone: {TRANSFERS / bare:,.0f} a second; "
        f"it is {ratio:.0%} of the replay"
    )


def update_root(chain: Chain, addresses: list[bytes]) -> bytes:
    changes = Changes(chain.state)
    for address in addresses:
        changes.put(account_key(address), Account(1, 1))
    return changes.compute_root()


def bench_root(chains: dict[int, Chain], repeat: int) -> None:
    """One account at a time shows the growth; a block's worth shares the upper nodes."""
    seconds = {}
    for accounts, chain in chains.items():
        spread = chain.addresses[:: accounts // CHANGED][:CHANGED]

        def update_each(chain: Chain = chain, spread: list[bytes] = spread) -> None:
            for address in spread:
                update_root(chain, [address])

        single, _ = measure(update_each, repeat)
        block, _ = measure(lambda c=chain, s=spread: update_root(c, s), repeat)  # type: ignore[misc]
        seconds[accounts] = single
        print(
            f"state root of {accounts:>9,} accounts: one changed {single / CHANGED * 1e6:.1f} µs; "
            f"{CHANGED:,} changed, far apart, {block * 1e3:.1f} ms"
        )
    small, large = min(seconds), max(seconds)
    print(
        f"  {large // small} times the accounts cost {seconds[large] / seconds[small]:.2f} times "
        "as much for one (the logarithm grows 1.5 times, a root from scratch "
        f"{large // small} times)"
    )


def bench_codec(chain: Chain, repeat: int) -> None:
    transaction = make_transfers(chain)[0].transaction
    raw = codec.encode(transaction)
    count = 20_000

    def loop(work: Callable[[], object]) -> float:
        def run() -> None:
            for _ in range(count):
                work()

        return measure(run, repeat)[0] / count * 1e6

    hashed = loop(lambda: sha256(raw).digest())
    encode, decode = loop(lambda: codec.encode(transaction)), loop(lambda: decode_transaction(raw))
    print(
        f"a transfer of {len(raw)} bytes: encode {encode:.2f} µs, strict decode {decode:.2f} µs; "
        f"SHA-256 of it {hashed:.2f} µs"
    )


def bench_deadlines(repeat: int) -> None:
    chain = Chain(SENDERS)
    deadline = START + 2_000
    jobs = chain.sign([
        JobSubmit(
            sha256(b"%d" % number).digest(), "llm", 0, chain.addresses[0], 1_000, bytes(32),
            deadline, 1_000, deadline,
        )
        for number in range(DEADLINES)
    ])  # fmt: skip
    block = chain.build(jobs)
    executed = apply_block(chain.state, chain.head, block, jobs, RULES)
    chain.state.commit(executed.changes)
    seconds, _ = measure(
        lambda: Execution(
            chain.state, block.header, START + 5_000, chain.proposer[1], RULES
        ).finish(),
        repeat,
    )
    print(
        f"{DEADLINES} due deadlines at the head of a block: {seconds * 1e3:.1f} ms, "
        f"{seconds / DEADLINES * 1e6:.1f} µs each"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeat", type=int, default=5)
    repeat = parser.parse_args().repeat
    chains = {accounts: Chain(accounts) for accounts in SIZES}
    bench_block(chains[SIZES[0]], repeat)
    bench_replay(chains[SIZES[0]], repeat)
    bench_root(chains, repeat)
    bench_codec(chains[SIZES[0]], repeat)
    bench_deadlines(repeat)


if __name__ == "__main__":
    main()
