"""What a settlement proof costs: to make, to check alone, and to check among others.

Beside it, in the same run on the same machine, snarkjs and py_ecc on the same statement under the
same key; what counts are the ratios. Medians of processor time, all threads and child processes
together, so that a busy machine changes little; the whole takes about half a minute.

Usage: python -m bench.proof [--repeat 7]
"""

import argparse
import json
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from ledger import codec
from ledger.transactions import JobSettle, sign_transaction
from zk.backend_py_ecc import PY_ECC
from zk.ceremony.snarkjs import Snarkjs, install_snarkjs
from zk.circuit import evaluate
from zk.devkey import (
    DEV_PROVING_KEY_FILE,
    DEV_VERIFYING_KEY_FILE,
    load_dev_proving_key,
    load_dev_verifying_key,
    read_dev_zkey,
)
from zk.prover import ProvingKey, prove
from zk.r1cs import encode_witness
from zk.statement import (
    PER_SECOND,
    Offer,
    Price,
    PublicInputs,
    Receipt,
    Witness,
    commit_offer,
    commit_price,
    commit_receipt,
)
from zk.verifier import Item, verify, verify_batch

ROOT = Path(__file__).parents[1]
KEYS = ROOT / "zk" / "keys"
BATCHES = (10, 100)
TARGETS = {"chain": 420, "prove": 0.8, "alone": 3.5, 10: 1.3, 100: 1.0}
MILLISECONDS = 1000


def make_statement(units: int) -> tuple[PublicInputs, Witness]:
    start = 1_800_000_000_000
    hashes = [pow(7, 100 + units + index, 1 << 254) for index in range(9)]
    offer = Offer(
        job=hashes[0],
        client=hashes[1],
        max_units=1_000,
        max_price=3_000_000_000,
        not_before=start,
        deadline=start + 3_600_000,
        model=hashes[2],
        input_hash=hashes[3],
        salt=hashes[4],
    )
    price = Price(price=2_000_000_000, salt=hashes[5])
    receipt = Receipt(units, start + 2_000, start + 1_802_000, hashes[6], hashes[7])
    payee = hashes[8] >> 94
    public = PublicInputs(
        job_commit=commit_offer(offer),
        price_commit=commit_price(price),
        receipt_commit=commit_receipt(receipt, offer.job, payee),
        amount=units * price.price,
        payee=payee,
        claim_time=start + 1_000,
        billing=PER_SECOND,
        epoch_time=start + 2_000_000,
        context=hashes[0] ^ 1,
    )
    return public, Witness(offer, price, receipt)


def measure(repeat: int, call: Callable[[], object]) -> float:
    """Median processor seconds, after one call that warms up."""
    call()
    times = []
    for _ in range(repeat):
        begin = get_processor_time()
        call()
        times.append(get_processor_time() - begin)
    return statistics.median(times)


def count_chain_bytes(proof: bytes) -> int:
    """Return the size of a whole signed settlement with numbers as large as they get in use."""
    payload = JobSettle(bytes(32), bytes(32), 10**15, 1 << 42, proof)
    return len(codec.encode(sign_transaction(bytes(32), bytes(32), 10**9, 10**9, 10**9, payload)))


def get_processor_time() -> float:
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


def measure_snarkjs(snarkjs: Snarkjs, repeat: int) -> tuple[float, float]:
    """Seconds to prove and to verify, as a program of its own each time."""
    with tempfile.TemporaryDirectory() as folder:
        witness_file, proof, public = (Path(folder) / name for name in ("w.wtns", "p", "s"))
        witness_file.write_bytes(encode_witness(evaluate(*make_statement(900)).witness))
        zkey, key = KEYS / DEV_PROVING_KEY_FILE, KEYS / DEV_VERIFYING_KEY_FILE
        to_prove = measure(
            repeat, lambda: snarkjs.run("groth16", "prove", zkey, witness_file, proof, public)
        )
        assert len(json.loads(public.read_bytes())) == len(PublicInputs.__struct_fields__)
        to_verify = measure(repeat, lambda: snarkjs.run("groth16", "verify", key, public, proof))
    return to_prove, to_verify


def show(label: str, value: float, unit: str, note: str = "") -> None:
    sys.stdout.write(f"{label:<34}{value:>9.2f} {unit:<4}{note}\n")


def note_target(value: float, target: float) -> str:
    return f"target {target}: {'met' if value <= target else 'MISSED'}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeat", type=int, default=7)
    repeat = parser.parse_args().repeat
    proving_key, key = load_dev_proving_key(), load_dev_verifying_key()
    public, witness = make_statement(900)

    load = measure(repeat, lambda: ProvingKey.load(read_dev_zkey()))
    to_prove = measure(repeat, lambda: prove(proving_key, public, witness, bytes(32)))
    items: list[Item] = []
    for units in range(901, 901 + max(BATCHES)):
        each, opening = make_statement(units)
        items.append((each.as_tuple(), prove(proving_key, each, opening, bytes(32))))
    alone = MILLISECONDS * measure(repeat * 5, lambda: verify(key, *items[0]))
    show("load the proving key", load, "s")
    show("prove, one core", to_prove, "s", note_target(to_prove, TARGETS["prove"]))
    show("proof", len(items[0][1]), "B")
    chain_bytes = count_chain_bytes(items[0][1])
    show(
        "its settlement on the chain", chain_bytes, "B", note_target(chain_bytes, TARGETS["chain"])
    )
    show("verify alone", alone, "ms", note_target(alone, TARGETS["alone"]))
    for size in BATCHES:
        batch = items[:size]
        assert all(verify_batch(key, batch))
        each_ms = MILLISECONDS * measure(repeat, partial(verify_batch, key, batch)) / size
        show(f"verify one of {size}", each_ms, "ms", note_target(each_ms, TARGETS[size]))

    snarkjs_prove, snarkjs_verify = measure_snarkjs(install_snarkjs(ROOT / ".cache"), repeat)
    py_ecc_verify = MILLISECONDS * measure(
        max(1, repeat // 3), lambda: verify(key, *items[0], PY_ECC)
    )
    show("snarkjs: prove", snarkjs_prove, "s", f"{snarkjs_prove / to_prove:.1f} times ours")
    ratio = MILLISECONDS * snarkjs_verify / alone
    show("snarkjs: verify", MILLISECONDS * snarkjs_verify, "ms", f"{ratio:.0f} times ours")
    show("py_ecc: verify", py_ecc_verify, "ms", f"{py_ecc_verify / alone:.0f} times ours")
    return 0


if __name__ == "__main__":
    sys.exit(main())
