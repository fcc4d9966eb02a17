"""A claim at each of its stages, as the modules under test take it."""

import msgspec

from aitbc.wallet import Wallet
from ledger import terms
from ledger.terms import ReceiptTerms, Terms
from miner.settlement import Identity
from miner.work import LeaseRecord, Outcome, Stage, Work

CLIENT = Wallet(bytes([1]) * 32)
MINER = Wallet(bytes([2]) * 32)
IDENTITY = Identity(MINER, "miner_a", bytes([7]) * 32, bytes([8]) * 32)
JOB = bytes([9]) * 32
NOW = 1_800_000_000_000
MODEL = "smollm2-135m@" + "b1" * 32
CONTENT = {
    "service": "llm_inference",
    "model": MODEL,
    "input": {"prompt": "the secret question"},
    "params": {"max_tokens": 8},
}
TERMS = Terms(
    job=JOB,
    client=CLIENT.address,
    max_units=100,
    max_price=1_000,
    not_before=0,
    deadline=NOW + 60_000,
    model=terms.compute_model_hash(MODEL),
    input_hash=terms.compute_content_hash(CONTENT),
    salt=bytes([5]) * 32,
)
LEASE = LeaseRecord(
    number=3, claimed_at=NOW, ends_at=NOW + 30_000, heartbeat_seconds=1, received_at=NOW
)
RESULT = {"text": "the secret answer"}
CLAIMING = Work(job=JOB, stage=Stage.CLAIMING, service="llm_inference", billing=0, price=900)
LEASED = msgspec.structs.replace(
    CLAIMING,
    stage=Stage.LEASED,
    lease=LEASE,
    content=CONTENT,
    terms=TERMS,
    job_commit=terms.commit_terms(TERMS),
)
FINISHED = msgspec.structs.replace(
    LEASED,
    stage=Stage.FINISHED,
    outcome=Outcome(
        RESULT,
        ReceiptTerms(
            units=42,
            started=NOW + 5,
            completed=NOW + 905,
            result_hash=terms.compute_content_hash(RESULT),
            salt=bytes([6]) * 32,
        ),
        "an engine",
    ),
)
