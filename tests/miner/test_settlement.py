"""What settles a finished job: the statement holds, the receipt verifies, the bytes are stable."""

import msgspec
import pytest

from ledger import terms
from ledger.entries import Job, Lease
from ledger.receipts import parse_receipt
from ledger.settlement import compute_public_inputs
from ledger.transactions import JobSettle
from miner import settlement
from tests.miner.samples import CLIENT, FINISHED, IDENTITY, JOB, LEASE, MINER
from zk.field import decode_field
from zk.statement import check_statement

PROVED = msgspec.structs.replace(FINISHED, proof=bytes(192))
SIGNED = MINER.sign(
    settlement.build_settle(IDENTITY, PROVED),
    chain_id=bytes(32),
    nonce=0,
    fee_rate=1,
    valid_until=9,
)


def test_what_the_engine_said_is_in_the_receipt() -> None:
    assert FINISHED.outcome is not None
    outcome = msgspec.structs.replace(
        FINISHED.outcome, device="CPU", pins={"seed": "7"}, energy_joules=41
    )
    core = settlement.build_core(IDENTITY, msgspec.structs.replace(FINISHED, outcome=outcome))
    assert (core.device, core.pins, core.energy_joules) == ("CPU", {"seed": "7"}, 41)
    assert settlement.build_core(IDENTITY, FINISHED).energy_joules is msgspec.UNSET


def test_the_statement_holds() -> None:
    assert check_statement(*settlement.build_statement(IDENTITY, FINISHED)) == []


def test_the_statement_is_the_one_that_the_ledger_checks() -> None:
    price = settlement.build_price_terms(MINER, JOB, FINISHED.price)
    lease = Lease(
        miner="miner_a",
        number=LEASE.number,
        payee=MINER.address,
        price_commit=terms.commit_price_terms(price),
        claimed_at=LEASE.claimed_at,
        ends_at=LEASE.ends_at,
    )
    job = Job(
        client=CLIENT.address,
        service="llm_inference",
        billing=0,
        coordinator=bytes(20),
        escrow=100_000,
        job_commit=FINISHED.job_commit,
        queue_window=0,
        queue_deadline=0,
        execution_limit=0,
        total_deadline=0,
        submitted_at=0,
    )
    payload = settlement.build_settle(IDENTITY, PROVED)
    expected = compute_public_inputs(IDENTITY.chain_id, IDENTITY.key_id, job, lease, payload)
    public, _ = settlement.build_statement(IDENTITY, FINISHED)
    assert public.as_tuple() == expected


def test_at_a_public_price_the_statement_opens_for_everybody() -> None:
    work = msgspec.structs.replace(FINISHED, is_price_public=True)
    public, witness = settlement.build_statement(IDENTITY, work)
    assert check_statement(public, witness) == []
    assert public.price_commit == decode_field(terms.commit_public_price(work.price))
    private, _ = settlement.build_statement(IDENTITY, FINISHED)
    assert public.price_commit != private.price_commit


def test_the_payload_pays_units_times_price_at_the_time_of_completion() -> None:
    payload = settlement.build_settle(IDENTITY, PROVED)
    assert isinstance(payload, JobSettle)
    assert FINISHED.outcome is not None
    assert payload.amount == 42 * 900
    assert payload.epoch_time == FINISHED.outcome.receipt.completed


def test_the_report_carries_a_receipt_that_verifies_and_openings_that_open() -> None:
    report = settlement.build_report(IDENTITY, PROVED, SIGNED)
    core, public_key = parse_receipt(report["receipt"])
    assert public_key == MINER.public_key
    assert (core.units, core.unit_type, core.claim_number) == (42, "token", 3)
    opening = report["receipt_opening"]
    commitment = terms.commit_receipt_terms(
        terms.ReceiptTerms(
            units=opening["units"],
            started=opening["started"],
            completed=opening["completed"],
            result_hash=bytes.fromhex(opening["result_hash"]),
            salt=bytes.fromhex(opening["salt"]),
        ),
        JOB,
        MINER.address,
    )
    assert core.receipt_commit == commitment.hex()
    assert report["price_opening"]["price"] == 900


def test_the_same_work_makes_the_same_report_after_a_restart() -> None:
    stored = msgspec.msgpack.decode(msgspec.msgpack.encode(PROVED), type=type(PROVED))
    assert settlement.build_report(IDENTITY, stored, SIGNED) == settlement.build_report(
        IDENTITY, PROVED, SIGNED
    )


@pytest.mark.parametrize("purpose", ["price", "receipt"])
def test_salts_differ_by_job(purpose: str) -> None:
    jobs = (bytes(32), bytes([1]) * 32)
    if purpose == "price":
        salts = {settlement.build_price_terms(MINER, job, 1).salt for job in jobs}
    else:
        salts = {settlement.derive_receipt_salt(MINER, job) for job in jobs}
    assert len(salts) == 2
