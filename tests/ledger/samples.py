"""One of each thing that the ledger encodes, every field filled, for vectors and properties."""

from hashlib import sha256

from ledger import ballots, entries, outcomes, transactions
from ledger.ballots import Ballot, ProposedBlock, SignedBallot, VoteKind
from ledger.blocks import Authority, AuthoritySet, Block, Header
from ledger.entries import AttemptOutcome, JobStatus
from ledger.faults import Reason
from ledger.merkle import InclusionProof
from ledger.parameters import Parameters, ProofParameters
from ledger.state_tree import StateProof
from ledger.transactions import Payload, sign_transaction
from ledger.types import Record
from tests.ledger.world import CHAIN, CLIENT, MINER


def fill(name: str, length: int = 32) -> bytes:
    return (sha256(name.encode()).digest() * 6)[:length]


JOB = fill("job")
BALLOTS = ballots.ConflictingBallots(
    SignedBallot(Ballot(VoteKind.NULLIFY, 3, 70_001, bytes(32)), fill("first", 64)),
    SignedBallot(Ballot(VoteKind.FINALIZE, 3, 70_001, fill("block")), fill("second", 64)),
)
PROPOSALS = ballots.ConflictingProposals(
    3,
    70_001,
    ProposedBlock(fill("block"), fill("first", 64)),
    ProposedBlock(fill("other block"), fill("second", 64)),
)
PAYLOADS: tuple[Payload, ...] = (
    transactions.Transfer(fill("recipient", 20), 2**63 - 1),
    transactions.MinerRegister("miner_alpha-1", fill("encryption key"), b'{"a":1}', 10**10),
    transactions.MinerUpdate("miner_alpha-1", fill("encryption key"), b"", 0),
    transactions.MinerExit("m"),
    transactions.JobSubmit(
        fill("tag"), "llm_inference", 1, fill("coordinator", 20), 10**9, b"\x01" + bytes(31),
        1_800_000_020_000, 10_000, 1_800_000_060_000,
    ),
    transactions.JobClaim(JOB, "miner_alpha-1", b"\x02" + bytes(31)),
    transactions.JobSettle(JOB, b"\x03" + bytes(31), 12_345, 1_800_000_003_000, fill("proof", 192)),
    transactions.JobFail(JOB, Reason.ENGINE_FAILED),
    transactions.JobCancel(JOB),
    transactions.AuthorityVote(True, fill("authority"), fill("account", 20)),
    transactions.EquivocationEvidence(fill("authority"), BALLOTS),
    transactions.OfferCreate(
        fill("tag"), "miner_alpha-1", "llm_inference", 0, 250, 10, b'{"a":1}', 1_800_000_090_000
    ),
    transactions.OfferCancel(fill("offer")),
    transactions.OfferAccept(JOB, fill("offer")),
)  # fmt: skip
TRANSACTIONS = tuple(
    sign_transaction(CLIENT.seed, CHAIN, number, 10_000 + number, 100_000, payload)
    for number, payload in enumerate(PAYLOADS)
)
HEADER = Header(
    version=1,
    chain_id=CHAIN,
    epoch=3,
    height=70_000,
    view=70_001,
    parent_view=69_999,
    time=1_800_000_000_000,
    parent=fill("parent"),
    proposer=MINER.public,
    transactions_root=fill("transactions"),
    receipts_root=fill("receipts"),
    state_root=fill("state"),
    authorities=fill("authorities"),
    next_authorities=fill("next authorities"),
)
BLOCK = Block(HEADER, TRANSACTIONS[:2])
AUTHORITY_SET = AuthoritySet(1, (Authority(CLIENT.public, CLIENT.address),))
LEASE = entries.Lease(
    "miner_alpha-1", 37, MINER.address, fill("price"), 1_800_000_001_000, 10**12, 10**8
)
ATTEMPT = entries.Attempt("beta", 1, AttemptOutcome.LAPSED, Reason.LEASE_LAPSED)
SETTLEMENT = entries.Settlement(fill("receipt"), 9_300, 500, 200, 90_000, 70_000)
JOB_ENTRY = entries.Job(
    client=CLIENT.address,
    service="llm_inference",
    billing=0,
    coordinator=fill("coordinator", 20),
    escrow=100_000,
    job_commit=fill("commit"),
    queue_window=20_000,
    queue_deadline=1_800_000_020_000,
    execution_limit=10_000,
    total_deadline=1_800_000_060_000,
    submitted_at=1_800_000_000_000,
    status=JobStatus.SETTLED,
    reason_code=0,
    lease=LEASE,
    attempts=(ATTEMPT,),
    settlement=SETTLEMENT,
    acceptance=entries.Acceptance(fill("offer"), "miner_alpha-1", 250, 1_800_000_070_000),
)
QUEUED_JOB = entries.Job(
    CLIENT.address, "llm_inference", 0, fill("coordinator", 20), 1, fill("commit"), 0, 0, 1, 0, 0
)
MINER_ENTRY = entries.Miner(
    MINER.address, fill("encryption key"), b"{}", 10**10, True, 1_800_000_000_000,
    10, 1, 4, 2, 1, 1, 1, 12_345, 60_000,
)  # fmt: skip
OFFER_ENTRY = entries.Offer(
    "miner_alpha-1", MINER.address, "llm_inference", 0, 250, 10, b'{"a":1}',
    1_800_000_000_000, 1_800_000_090_000, 3, True,
)  # fmt: skip
OPEN_PROPOSAL = entries.OpenProposal(
    False, fill("authority"), fill("account", 20), 1_070_000, (CLIENT.public, MINER.public)
)
EVENTS = (
    outcomes.JobQueued(JOB, CLIENT.address, 10**9),
    outcomes.LeaseGranted(JOB, "m", 1, 1_800_000_001_000, 1_800_000_011_000),
    outcomes.LeaseEnded(JOB, "m", 1, AttemptOutcome.LAPSED, Reason.LEASE_LAPSED, 10**8),
    outcomes.JobSettled(JOB, "m", 1, MINER.address, fill("receipt"), 100, 93, 5, 2, 900),
    outcomes.JobEnded(JOB, JobStatus.FAILED, Reason.NO_MINER_IN_TIME, 10**9),
    outcomes.CancelStarted(JOB, 1_800_000_011_000),
    outcomes.AuthorityVoted(True, fill("authority"), fill("account", 20), 2, 3),
    outcomes.AuthoritiesChanged(4, False, fill("authority"), fill("account", 20)),
    outcomes.AuthorityConvicted(fill("authority"), 3, 70_001),
    outcomes.OfferCreated(fill("offer"), "m", "llm_inference", 250, 10, 1_800_000_090_000),
    outcomes.OfferCancelled(fill("offer"), "m"),
    outcomes.OfferAccepted(JOB, fill("offer"), "m", 250, 1_800_000_070_000, 9),
)
RECORDS: dict[str, Record] = {
    **{f"transaction: {type(item.payload).__name__}": item for item in TRANSACTIONS},
    "header": HEADER,
    "block": BLOCK,
    "authority set": AUTHORITY_SET,
    "account": entries.Account(2**63 - 1, 128),
    "empty account": entries.Account(),
    "miner": MINER_ENTRY,
    "job": JOB_ENTRY,
    "queued job": QUEUED_JOB,
    "offer": OFFER_ENTRY,
    "totals": entries.Totals(10**18, 10**17, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10),
    "authorities": entries.Authorities(AUTHORITY_SET, AUTHORITY_SET),
    "open proposals": entries.OpenProposals((OPEN_PROPOSAL,)),
    "no open proposals": entries.OpenProposals(()),
    "conviction": entries.Conviction(3, 70_001, 70_004),
    "evidence of proposals": transactions.EquivocationEvidence(fill("authority"), PROPOSALS),
    "failed outcome": outcomes.Outcome(fill("subject"), 131, 5_000, ()),
    "outcome": outcomes.Outcome(fill("subject"), 0, 5_000, EVENTS),
    "parameters": Parameters(),
    "proof parameters": ProofParameters(fill("key"), fill("circuit"), "bls12-381"),
    "inclusion proof": InclusionProof(1, 3, (fill("left"), fill("right"))),
    "state proof": StateProof(1, 17, (bytes(64), bytes(32))),
}
