"""Thousands of operations, honest and hostile, on the real rules: `economy` says what is held."""

from collections import Counter
from itertools import product
from random import Random

import msgspec
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule, run_state_machine_as_test

from ledger import codec
from ledger.entries import LIVE, AttemptOutcome, JobStatus
from ledger.faults import FAULT_TABLE, Reason
from ledger.life_cycle import LIFE_CYCLE, Step
from ledger.rejection import FIRST_EXECUTION_CODE, Rejected, Rejection
from ledger.transactions import (
    JobCancel,
    JobClaim,
    JobFail,
    JobSubmit,
    MinerExit,
    MinerRegister,
    MinerUpdate,
    OfferAccept,
    OfferCancel,
    OfferCreate,
    Transfer,
    sign_transaction,
    verify_transaction,
)
from tests.ledger.world import COMMIT, OTHER_CHAIN, Key, make_key
from tests.properties.economy import NAMES, PEOPLE, PRICES, PUBLIC_COMMITS, Economy

AMOUNTS = [0, 1, 99, 100, 1_000, 2_500, 2**63 - 1]
REASONS = [*Reason, 0, 20_000]
GAPS = [1, 1, 1_000, 1_000, 2_000, 3_000, 9_000, 20_000, 20_001, 10**8]
QUEUES = [-1, 0, 2_000, 9_000, 30_000]
LIMITS = [0, 1, 2_500, 9_000, 60_000]
RESTS = [0, 5_000, 20_000, 30_001]
ACTIONS = (
    "transfer", "miner", "submit", "claim", "settle", "report", "cancel", "attack", "close",
    "offer", "withdraw", "accept", "claim_kept",
)  # fmt: skip
WEIGHTS = (8, 8, 10, 20, 7, 7, 7, 6, 10, 5, 1, 6, 4)

people = st.sampled_from(PEOPLE)
names = st.sampled_from(NAMES)
places = st.integers(0, 11)
amounts = st.sampled_from(AMOUNTS)
reasons = st.sampled_from(REASONS)
gaps = st.sampled_from(GAPS)
AUTHORITY_REJECTIONS = frozenset(range(160, 170))
HOSTILE = ("again", "gap", "cheap", "late", "long", "elsewhere", "early", "false", "stale")


class EconomyMachine(RuleBasedStateMachine):
    """One person acts in each step; blocks close now and then."""

    operations = 0
    seen: Counter[object] = Counter()

    def __init__(self) -> None:
        super().__init__()
        self.economy = Economy()

    def pick_job(self, place: int) -> bytes:
        jobs = self.economy.get_jobs(is_live=place < 9)
        return jobs[-1 - place % len(jobs)] if jobs else bytes(32)

    def get_holder(self, job: bytes, other: Key, is_honest: bool) -> Key:
        """Return the leaseholder of a job, or somebody else."""
        entry = self.economy.changes.get(b"j" + job)
        lease = getattr(entry, "lease", None)
        holders = [key for key in PEOPLE if lease and key.address == lease.payee]
        return holders[0] if holders and is_honest else other

    def count(self) -> None:
        type(self).operations += 1

    @rule(sender=people, recipient=people, amount=amounts, new=places)
    def transfer(self, sender: Key, recipient: Key, amount: int, new: int) -> None:
        target = recipient if new else make_key(2_000 + amount % 7)
        self.economy.apply(sender, Transfer(target.address, amount))
        self.count()

    @rule(owner=people, name=names, bond=amounts, step=st.integers(0, 5))
    def change_miner(self, owner: Key, name: str, bond: int, step: int) -> None:
        payload = (
            MinerRegister(name, bytes(32), b"", bond),
            MinerRegister(name, bytes(32), b"", 1_000),
            MinerRegister(name, bytes(32), b"", 1_000),
            MinerUpdate(name, bytes(32), b"x", bond),
            MinerUpdate(name, bytes(32), b"x", 100),
            MinerExit(name),
        )[step]
        self.economy.apply(owner, payload)
        self.count()

    @rule(
        client=people,
        tag=st.integers(0, 40),
        escrow=amounts,
        coordinator=people,
        queue=st.sampled_from(QUEUES),
        limit=st.sampled_from(LIMITS),
        rest=st.sampled_from(RESTS),
    )
    def submit(
        self,
        client: Key,
        tag: int,
        escrow: int,
        coordinator: Key,
        queue: int,
        limit: int,
        rest: int,
    ) -> None:
        time = self.economy.execution.context.time
        payload = JobSubmit(
            tag.to_bytes(32, "big"), "llm", tag % 2, coordinator.address, escrow, COMMIT,
            time + queue, limit, time + queue + rest,
        )  # fmt: skip
        self.economy.apply(client, payload)
        self.count()

    @rule(place=places, name=names, other=people, is_owner=st.integers(0, 4))
    def claim(self, place: int, name: str, other: Key, is_owner: int) -> None:
        miner = self.economy.changes.get(b"m" + name.encode())
        owners = [key for key in PEOPLE if miner and key.address == getattr(miner, "owner", b"")]
        sender = owners[0] if owners and is_owner else other
        self.economy.apply(sender, JobClaim(self.pick_job(place), name, COMMIT))
        self.count()

    @rule(owner=people, name=names, tag=places, price=st.integers(0, 3), jobs=st.integers(1, 3))
    def make_offer(self, owner: Key, name: str, tag: int, price: int, jobs: int) -> None:
        time = self.economy.execution.context.time
        payload = OfferCreate(
            tag.to_bytes(32, "big"), name, ("llm", "llm", "other")[tag % 3], tag % 2,
            PRICES[price], jobs, b"", time + (-1, 3_000, 60_000, 10**9)[tag % 4],
        )  # fmt: skip
        self.economy.apply(owner, payload)
        self.count()

    def pick_offer(self, place: int) -> bytes:
        offers = self.economy.offers
        return offers[-1 - place % len(offers)] if offers and place else bytes(32)

    @rule(place=places, sender=people)
    def withdraw_offer(self, place: int, sender: Key) -> None:
        self.economy.apply(sender, OfferCancel(self.pick_offer(place)))
        self.count()

    @rule(place=places, offer=places, other=people, is_client=st.integers(0, 4))
    def accept_offer(self, place: int, offer: int, other: Key, is_client: int) -> None:
        job = self.pick_job(place)
        entry = self.economy.changes.get(b"j" + job)
        clients = [key for key in PEOPLE if key.address == getattr(entry, "client", b"")]
        sender = clients[0] if clients and is_client else other
        chosen = self.pick_offer(offer)
        if is_client > 1:
            suited = [each for each in self.economy.offers if self.economy.suits(job, each)]
            chosen = suited[-1 - offer % len(suited)] if suited else chosen
        self.economy.apply(sender, OfferAccept(job, chosen))
        self.count()

    @rule(place=places, name=names, price=st.integers(0, 3), is_honest=st.integers(0, 4))
    def claim_at_public_price(self, place: int, name: str, price: int, is_honest: int) -> None:
        """Claim as the offer's miner where the job has one, mostly at its price."""
        job = self.pick_job(place)
        held = getattr(self.economy.changes.get(b"j" + job), "acceptance", None)
        if held is not None and is_honest:
            name = held.miner
            price = PRICES.index(held.price) if is_honest > 1 else price
        miner = self.economy.changes.get(b"m" + name.encode())
        owners = [key for key in PEOPLE if miner and key.address == getattr(miner, "owner", b"")]
        commit = PUBLIC_COMMITS[PRICES[price]]
        self.economy.apply(owners[0] if owners else PEOPLE[0], JobClaim(job, name, commit))
        self.count()

    @rule(place=places, other=people, amount=amounts, is_honest=st.integers(0, 4))
    def settle(self, place: int, other: Key, amount: int, is_honest: int) -> None:
        job = self.pick_job(place)
        sender = self.get_holder(job, other, bool(is_honest))
        self.economy.apply(sender, self.economy.make_settlement(job, amount))
        self.count()

    @rule(place=places, other=people, reason=reasons, is_honest=st.integers(0, 4))
    def report(self, place: int, other: Key, reason: int, is_honest: int) -> None:
        job = self.pick_job(place)
        sender = self.get_holder(job, other, bool(is_honest))
        self.economy.apply(sender, JobFail(job, int(reason)))
        self.count()

    @rule(place=places, sender=people, is_client=st.integers(0, 3))
    def cancel(self, place: int, sender: Key, is_client: int) -> None:
        job = self.pick_job(place)
        entry = self.economy.changes.get(b"j" + job)
        clients = [key for key in PEOPLE if key.address == getattr(entry, "client", b"")]
        self.economy.apply(clients[0] if clients and is_client else sender, JobCancel(job))
        self.count()

    @rule(sender=people, place=places, what=st.sampled_from(HOSTILE))
    def attack(self, sender: Key, place: int, what: str) -> None:
        economy, payload = self.economy, Transfer(bytes(20), 1)
        world, right = economy.world, economy.sign(sender, payload).transaction
        self.count()
        match what:
            case "again":
                if economy.applied:
                    economy.refuse(economy.applied[-1 - place % len(economy.applied)])
            case "gap":
                economy.refuse(world.sign(sender, payload, nonce=right.nonce + 1 + place))
            case "cheap":
                fee = len(codec.encode(right)) - 2
                economy.refuse(world.sign(sender, payload, nonce=right.nonce, fee=fee - place))
            case "late":
                height = world.head.height
                economy.refuse(world.sign(sender, payload, nonce=right.nonce, valid_until=height))
            case "long":
                height = world.head.height + 100_002
                economy.refuse(world.sign(sender, payload, nonce=right.nonce, valid_until=height))
            case "elsewhere":
                other = sign_transaction(sender.seed, OTHER_CHAIN, right.nonce, 500, 99, payload)
                self.expect_bad_signature(other, codec.encode(other))
            case _:
                self.attack_settlement(sender, place, what)

    def expect_bad_signature(self, transaction: object, raw: bytes) -> None:
        try:
            verify_transaction(transaction, raw, self.economy.world.rules.chain_id)  # type: ignore[arg-type]
        except Rejected as rejected:
            assert rejected.reason is Rejection.BAD_SIGNATURE
        else:
            raise AssertionError("a signature for another chain was accepted")

    def attack_settlement(self, sender: Key, place: int, what: str) -> None:
        """A false proof may cost nothing and change nothing; a stale one likewise, or it fails."""
        economy = self.economy
        job = self.pick_job(place)
        holder = self.get_holder(job, sender, True)
        settlement = economy.make_settlement(job, 10)
        if what == "early":
            time = economy.execution.context.time
            early = msgspec.structs.replace(settlement, epoch_time=time + 1)
            economy.refuse(economy.sign(holder, early))
        elif what == "false":
            for fields in ({"amount": 11}, {"proof": bytes(192)}):
                changed = msgspec.structs.replace(settlement, **fields)
                economy.offer(holder, changed)
        elif economy.settlements:
            old = economy.settlements[place % len(economy.settlements)]
            economy.offer(holder, msgspec.structs.replace(old, job=job))
            economy.offer(sender, old)

    @rule(gap=gaps)
    def close_block(self, gap: int) -> None:
        self.economy.close(gap)

    def teardown(self) -> None:
        self.economy.close(1)
        self.economy.check_replay()
        type(self).seen.update(self.economy.seen)


def run_at_random(machine: EconomyMachine, random: Random, steps: int) -> None:
    """Act as the rules above do, each kind as often as it takes to reach the deep stages."""

    def pick(strategy: list[int]) -> int:
        return random.choice(strategy)

    for _ in range(steps):
        one, other = random.choice(PEOPLE), random.choice(PEOPLE)
        place, honest, amount = random.randrange(12), random.randrange(5), pick(AMOUNTS)
        name = random.choice(NAMES)
        match random.choices(ACTIONS, WEIGHTS)[0]:
            case "transfer":
                machine.transfer(one, other, amount, place)
            case "miner":
                machine.change_miner(one, name, amount, random.randrange(6))
            case "submit":
                queue, limit, rest = pick(QUEUES), pick(LIMITS), pick(RESTS)
                escrow = pick([100, 1_000, amount])
                machine.submit(one, random.randrange(400), escrow, other, queue, limit, rest)
            case "claim":
                machine.claim(place, name, other, honest)
            case "settle":
                machine.settle(place, other, amount, honest)
            case "report":
                machine.report(place, other, random.choice(REASONS), honest)
            case "cancel":
                machine.cancel(place, other, honest)
            case "offer":
                machine.make_offer(one, name, random.randrange(12), place % 4, 1 + honest % 3)
            case "withdraw":
                machine.withdraw_offer(place, one)
            case "accept":
                machine.accept_offer(place, random.randrange(12), other, honest)
            case "claim_kept":
                machine.claim_at_public_price(place, name, amount % 4, honest)
            case "attack":
                machine.attack(one, place, random.choice(HOSTILE))
            case _:
                machine.close_block(pick(GAPS))
    machine.teardown()


def test_no_sequence_of_operations_breaks_a_rule() -> None:
    machine_settings = settings(max_examples=60, stateful_step_count=140)
    EconomyMachine.operations = 0
    run_state_machine_as_test(EconomyMachine, settings=machine_settings)
    assert EconomyMachine.operations >= 5_000


def test_ten_thousand_operations_reach_every_step_outcome_and_refusal() -> None:
    """The seeds are the same each time, so what the runs reach can be asked for."""
    seen: Counter[object] = Counter()
    EconomyMachine.seen, EconomyMachine.operations = seen, 0
    for seed in range(9):
        run_at_random(EconomyMachine(), Random(seed), 1_300)
    assert EconomyMachine.operations >= 10_000
    steps = [step for step in Step if step is not Step.EXPIRE]
    answers = {
        (status, step): {end for end in [*JobStatus, "refused"] if seen[status, step, end]}
        for status, step in product(JobStatus, steps)
    }
    for pair, reached in answers.items():
        assert reached - {"refused"} == LIFE_CYCLE.get(pair, frozenset()), pair
        assert "refused" in reached or pair[1] is Step.CANCEL or pair[0] in LIVE, pair
    for status in LIVE:
        reached = {end for end in JobStatus if seen[status, Step.EXPIRE, end]}
        assert reached == LIFE_CYCLE[status, Step.EXPIRE]
    assert all(seen[outcome] for outcome in AttemptOutcome)
    assert {code for code in FAULT_TABLE if seen["reason", code]} == set(FAULT_TABLE)
    codes = {key[1] for key in seen if isinstance(key, tuple) and len(key) == 2}
    missing = {code for code in Rejection if code >= FIRST_EXECUTION_CODE} - codes
    # Commitments outside the field, and the authority set, have tests of their own.
    assert missing == {Rejection.BAD_FIELD_ELEMENT, *AUTHORITY_REJECTIONS}
