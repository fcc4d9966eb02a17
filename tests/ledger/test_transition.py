import msgspec
import pytest

from ledger import codec, crypto, merkle
from ledger.blocks import MAX_BLOCK_TRANSACTIONS, MAX_BODY_BYTES
from ledger.context import Rules
from ledger.entries import AUTHORITIES_KEY, Totals, account_key
from ledger.rejection import Rejected, Rejection
from ledger.state import get_account, get_authorities, get_totals
from ledger.transactions import JobSettle, Transfer, VerifiedTransaction, decode_transaction
from ledger.transition import apply_block, check_header
from tests.ledger.world import (
    AIT,
    CLIENT,
    MINER,
    OTHER_CHAIN,
    PROPOSER,
    STRANGER,
    World,
    copy_state,
    make_key,
    make_world,
    start_job,
    start_lease,
)

NEW = make_key(100)


def expect(reason: Rejection, world: World, verified: VerifiedTransaction) -> None:
    """The transaction may not enter a block, and trying it changes nothing."""
    execution = world.open()
    before = dict(execution.changes.entries)
    with pytest.raises(Rejected) as refused:
        execution.apply(verified)
    assert refused.value.reason is reason
    assert execution.changes.entries == before


def test_a_transfer_moves_money_and_its_fee_goes_to_the_proposer() -> None:
    world = make_world()
    before = {key: world.get_balance(key) for key in (CLIENT, STRANGER, PROPOSER)}
    outcome = world.run(CLIENT, Transfer(STRANGER.address, 5 * AIT))
    assert outcome.code == 0
    assert world.get_balance(CLIENT) == before[CLIENT] - 5 * AIT - outcome.fee
    assert world.get_balance(STRANGER) == before[STRANGER] + 5 * AIT
    assert world.get_balance(PROPOSER) == before[PROPOSER] + outcome.fee
    assert get_account(world.state, CLIENT.address).nonce == 1


def test_a_transfer_to_oneself_costs_the_fee_alone() -> None:
    world = make_world()
    before = world.get_balance(CLIENT)
    outcome = world.run(CLIENT, Transfer(CLIENT.address, before // 2))
    assert world.get_balance(CLIENT) == before - outcome.fee


def test_the_proposers_own_fee_returns_to_it() -> None:
    world = make_world()
    before = world.get_balance(PROPOSER)
    world.run(PROPOSER, Transfer(NEW.address, 7))
    assert world.get_balance(PROPOSER) == before - 7


@pytest.mark.parametrize(
    ("amount", "reason"),
    [(0, Rejection.AMOUNT_IS_ZERO), (2**63 - 1, Rejection.INSUFFICIENT_BALANCE)],
)
def test_a_failed_transaction_pays_its_fee_and_changes_nothing_else(
    amount: int, reason: Rejection
) -> None:
    world = make_world()
    before = dict(world.state.entries)
    outcome = world.run(CLIENT, Transfer(NEW.address, amount))
    assert (outcome.code, outcome.events) == (int(reason), ())
    changed = {key for key, entry in world.state.entries.items() if before.get(key) != entry}
    assert changed == {account_key(CLIENT.address), account_key(PROPOSER.address)}
    assert world.get_balance(CLIENT) == 1_000 * AIT - outcome.fee
    assert get_account(world.state, CLIENT.address).nonce == 1


def test_the_fee_comes_before_the_amount() -> None:
    world = make_world()
    outcome = world.run(CLIENT, Transfer(NEW.address, world.get_balance(CLIENT)))
    assert outcome.code == Rejection.INSUFFICIENT_BALANCE


def test_money_received_in_a_block_can_be_spent_in_it() -> None:
    world = make_world()
    first = world.sign(CLIENT, Transfer(NEW.address, AIT))
    second = world.sign(NEW, Transfer(STRANGER.address, AIT // 2))
    assert [outcome.code for outcome in world.produce(first, second)] == [0, 0]


def test_many_transactions_of_one_account_enter_one_block() -> None:
    world = make_world()
    transactions = [world.sign(CLIENT, Transfer(NEW.address, 1)) for _ in range(50)]
    outcomes = world.produce(*transactions)
    assert [outcome.code for outcome in outcomes] == [0] * 50
    assert get_account(world.state, CLIENT.address).nonce == 50
    assert world.get_balance(NEW) == 50


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"nonce": 1}, Rejection.NONCE_GAP),
        ({"nonce": 2**63 - 1}, Rejection.NONCE_GAP),
        ({"fee": 0}, Rejection.FEE_TOO_LOW),
        ({"fee": 2**63 - 1}, Rejection.CANNOT_PAY_FEE),
        ({"valid_until": 0}, Rejection.VALIDITY_OVER),
        ({"valid_until": 2**63 - 1}, Rejection.VALIDITY_TOO_LONG),
    ],
)
def test_what_may_not_enter_a_block(fields: dict[str, int], reason: Rejection) -> None:
    world = make_world()
    expect(reason, world, world.sign(CLIENT, Transfer(NEW.address, 1), **fields))


def test_the_bounds_of_fee_and_validity_are_inclusive() -> None:
    world = make_world()
    limits = world.rules.parameters
    height = world.head.height + 1
    size = len(world.sign(CLIENT, Transfer(NEW.address, 1), nonce=0, fee=5_000).raw)
    for fields in (
        {"fee": size * limits.minimum_fee_rate},
        {"valid_until": height},
        {"valid_until": height + limits.maximum_validity},
    ):
        verified = world.sign(CLIENT, Transfer(NEW.address, 1), nonce=0, **fields)
        assert world.open().apply(verified).code == 0
    low = world.sign(
        CLIENT, Transfer(NEW.address, 1), nonce=0, fee=size * limits.minimum_fee_rate - 1
    )
    expect(Rejection.FEE_TOO_LOW, world, low)


def test_a_fee_may_take_the_last_unit_and_no_more() -> None:
    fee = 5_000
    for balance, code in ((fee, Rejection.INSUFFICIENT_BALANCE), (fee - 1, None)):
        world = World({CLIENT: balance})
        verified = world.sign(CLIENT, Transfer(NEW.address, 1), fee=fee)
        if code is None:
            expect(Rejection.CANNOT_PAY_FEE, world, verified)
        else:
            assert world.produce(verified)[0].code == code
            assert world.get_balance(CLIENT) == 0


def test_the_same_transaction_applies_once() -> None:
    world = make_world()
    verified = world.sign(CLIENT, Transfer(NEW.address, 1))
    execution = world.open()
    assert execution.apply(verified).code == 0
    with pytest.raises(Rejected) as refused:
        execution.apply(verified)
    assert refused.value.reason is Rejection.NONCE_USED
    world.produce(verified)
    expect(Rejection.NONCE_USED, world, verified)
    block = world.seal(world.open().finish(), [verified], world.head.time + 1_000)
    with pytest.raises(Rejected) as refused:
        world.apply(block)
    assert refused.value.reason is Rejection.NONCE_USED


def test_a_reencoded_transaction_is_no_transaction() -> None:
    world = make_world()
    raw = world.sign(CLIENT, Transfer(NEW.address, 1)).raw
    assert raw[:2] == b"\x97\x01"
    for other in (b"\x97\xcc\x01" + raw[2:], b"\xdc\x00\x07" + raw[1:]):
        with pytest.raises(Rejected) as refused:
            decode_transaction(other)
        assert refused.value.reason is Rejection.NOT_CANONICAL


def test_a_transaction_for_another_chain_is_refused() -> None:
    world = make_world()
    verified = world.sign(CLIENT, Transfer(NEW.address, 1))
    other = type(world.rules)(
        OTHER_CHAIN, world.rules.parameters, world.rules.proof, world.rules.verify_proof
    )
    elsewhere = World(world.balances, other)
    with pytest.raises(Rejected) as refused:
        elsewhere.verify(verified.transaction)
    assert refused.value.reason is Rejection.BAD_SIGNATURE


def test_a_proof_ahead_of_the_block_waits() -> None:
    world = make_world()
    job = start_lease(world)
    ahead = world.head.time + 1_001
    settle = world.sign(MINER, world.settle_payload(job, 100, epoch=ahead))
    expect(Rejection.NOT_YET_DUE, world, settle)
    assert world.produce(settle, gap=1_001)[0].code == 0


def test_a_block_with_a_false_proof_is_invalid_and_changes_nothing() -> None:
    world = make_world()
    job = start_lease(world)
    good = world.settle_payload(job, 100)
    bad = world.sign(MINER, msgspec.structs.replace(good, amount=101))
    expect(Rejection.BAD_PROOF, world, bad)
    before = copy_state(world.state)
    block = world.seal(world.open().finish(), [bad], world.head.time + 1_000)
    with pytest.raises(Rejected) as refused:
        world.apply(block)
    assert refused.value.reason is Rejection.BAD_PROOF
    assert world.state.entries == before.entries
    assert world.state.nodes == before.nodes


def test_a_block_proved_under_another_verifying_key_is_invalid() -> None:
    """Its author keeps another key: all that it says agrees with itself and with nobody else."""
    world = make_world()
    job = start_lease(world)
    ours = world.rules
    proof = msgspec.structs.replace(ours.proof, key_id=bytes(32))
    world.rules = Rules(ours.chain_id, ours.parameters, proof, ours.verify_proof)
    settled = world.sign(MINER, world.settle_payload(job, 100))
    execution = world.open()
    assert execution.apply(settled).code == 0
    block = world.seal(execution.finish(), [settled], execution.context.time)
    world.apply(block)
    world.rules = ours
    before = copy_state(world.state)
    with pytest.raises(Rejected) as refused:
        world.apply(block)
    assert refused.value.reason is Rejection.BAD_PROOF
    assert world.state.entries == before.entries


@pytest.mark.parametrize(
    ("field", "value", "reason"),
    [
        ("version", 2, Rejection.BAD_HEADER),
        ("chain_id", OTHER_CHAIN, Rejection.BAD_HEADER),
        ("epoch", 1, Rejection.BAD_HEADER),
        ("height", 3, Rejection.BAD_HEADER),
        ("view", 1, Rejection.BAD_HEADER),
        ("parent_view", 0, Rejection.BAD_HEADER),
        ("time", 0, Rejection.BAD_BLOCK_TIME),
        ("parent", bytes(32), Rejection.BAD_HEADER),
        ("proposer", STRANGER.public, Rejection.BAD_PROPOSER),
        ("transactions_root", bytes(32), Rejection.BAD_ROOT),
        ("receipts_root", bytes(32), Rejection.BAD_ROOT),
        ("state_root", bytes(32), Rejection.BAD_ROOT),
        ("authorities", bytes(32), Rejection.BAD_HEADER),
        ("next_authorities", bytes(32), Rejection.BAD_HEADER),
    ],
)
def test_each_field_of_a_header_is_checked(field: str, value: object, reason: Rejection) -> None:
    world = make_world()
    world.run(CLIENT, Transfer(NEW.address, 1))
    verified = world.sign(CLIENT, Transfer(NEW.address, 1))
    execution = world.open()
    execution.apply(verified)
    block = world.seal(execution.finish(), [verified], execution.context.time)
    tampered = msgspec.structs.replace(
        block, header=msgspec.structs.replace(block.header, **{field: value})
    )
    with pytest.raises(Rejected) as refused:
        apply_block(world.state, world.head, tampered, [verified], world.rules)
    assert refused.value.reason is reason
    assert apply_block(world.state, world.head, block, [verified], world.rules)


def test_a_time_that_is_merely_another_is_caught_by_the_roots() -> None:
    world = make_world()
    start_job(world, queue_deadline=world.head.time + 1_500)
    block = world.seal(world.open(500).finish(), [], world.head.time + 500)
    moved = msgspec.structs.replace(block.header, time=block.header.time + 1)
    with pytest.raises(Rejected) as refused:
        world.apply(msgspec.structs.replace(block, header=moved))
    assert refused.value.reason is Rejection.BAD_ROOT


def test_a_body_that_is_not_the_headers_is_refused() -> None:
    world = make_world()
    one, two = (world.sign(CLIENT, Transfer(NEW.address, 1)) for _ in range(2))
    execution = world.open()
    execution.apply(one)
    execution.apply(two)
    block = world.seal(execution.finish(), [one, two], execution.context.time)
    for body in ([one], [two, one], [one, two, two], []):
        with pytest.raises(Rejected) as refused:
            apply_block(world.state, world.head, block, body, world.rules)
        assert refused.value.reason is Rejection.BAD_ROOT


def test_a_block_over_the_limits_is_refused_before_any_work() -> None:
    world = make_world()
    small = world.sign(CLIENT, Transfer(NEW.address, 1))
    big = VerifiedTransaction(small.id, small.transaction, bytes(8_000))
    block = world.seal(world.open().finish(), [], world.head.time + 1_000)
    for body in ([small] * (MAX_BLOCK_TRANSACTIONS + 1), [big] * (MAX_BODY_BYTES // 8_000 + 1)):
        with pytest.raises(Rejected) as refused:
            apply_block(world.state, world.head, block, body, world.rules)
        assert refused.value.reason is Rejection.BAD_BLOCK_SIZE


def test_the_proposers_account_is_that_of_the_authority_set() -> None:
    world = make_world()
    block = world.seal(world.open().finish(), [], world.head.time + 1)
    account = check_header(world.state, world.head, block.header, world.rules)
    assert account == PROPOSER.address
    assert get_authorities(world.state) == world.state.get(AUTHORITIES_KEY)


def test_an_empty_block_changes_nothing_but_the_head() -> None:
    world = make_world()
    before = dict(world.state.entries)
    world.produce(gap=1)
    assert world.state.entries == before
    assert world.head.receipts_root == merkle.compute_root([])
    assert world.head.state_root == world.genesis.state_root


def test_the_receipts_root_commits_to_every_outcome_in_order() -> None:
    world = make_world()
    world.run(CLIENT, Transfer(NEW.address, 1))
    outcomes = [codec.encode(outcome) for outcome in world.executed[-1].outcomes]
    proof = merkle.prove_inclusion(outcomes, 0)
    assert merkle.is_included(outcomes[0], proof, world.head.receipts_root)


def test_a_long_gap_is_an_outage_and_a_short_one_is_not() -> None:
    world = make_world()
    gap = world.rules.parameters.outage_gap
    world.produce(gap=gap)
    assert get_totals(world.state).outage == 0
    assert world.clock == world.head.time
    clock = world.clock
    world.produce(gap=gap + 1)
    assert get_totals(world.state).outage == gap + 1
    assert world.clock == clock
    totals = world.state.get(b"t")
    assert isinstance(totals, Totals) and totals.supply == 6_000 * AIT


def test_a_transaction_by_a_key_of_small_order_is_refused() -> None:
    world = make_world()
    verified = world.sign(CLIENT, Transfer(NEW.address, 1))
    forged = msgspec.structs.replace(
        verified.transaction, sender=b"\x01" + bytes(31), signature=b"\x01" + bytes(63)
    )
    with pytest.raises(Rejected) as refused:
        world.verify(forged)
    assert refused.value.reason is Rejection.BAD_SIGNATURE
    assert not crypto.is_valid_public_key(forged.sender)


def test_a_settlement_of_an_unknown_job_costs_a_fee_and_no_proof() -> None:
    world = make_world()
    outcome = world.run(MINER, JobSettle(bytes(32), bytes(32), 1, 0, bytes(192)))
    assert outcome.code == Rejection.JOB_UNKNOWN
