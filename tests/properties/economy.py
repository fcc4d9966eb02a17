"""A small economy for property tests: the rules live, a plain oracle beside them, both in step.

The oracle says from the state and the clock whether a transaction should succeed, in other words
than the rules do; `Economy.apply` compares, and checks that a failure changed nothing but the fee.
"""

from collections import Counter
from collections.abc import Iterator

import msgspec

from ledger import blocks, codec, crypto
from ledger.blocks import decode_block
from ledger.entries import (
    LEASE_STATES,
    LIVE,
    Entry,
    Job,
    JobStatus,
    Miner,
    Offer,
    account_key,
    compute_due_time,
)
from ledger.faults import FAULT_TABLE
from ledger.life_cycle import Step
from ledger.outcomes import JobEnded, LeaseEnded, Outcome, iterate_job_events
from ledger.parameters import Parameters
from ledger.rejection import Rejected
from ledger.state import Changes, MemoryState, get_account, get_job, get_miner, get_offer
from ledger.terms import commit_public_price
from ledger.transactions import (
    JobCancel,
    JobClaim,
    JobFail,
    JobSettle,
    JobSubmit,
    MinerExit,
    MinerRegister,
    MinerUpdate,
    OfferAccept,
    OfferCancel,
    OfferCreate,
    Payload,
    Transfer,
    VerifiedTransaction,
)
from ledger.transition import Execution, apply_block
from tests.ledger.world import Key, World, copy_state, make_key, make_proof, make_rules
from tests.properties.checks import History, find_state_violations

PARAMETERS = Parameters(
    minimum_fee_rate=1,
    minimum_bond=100,
    lapse_penalty=60,
    maximum_leases=2,
    maximum_attempts=2,
    cancel_grace=2_000,  # the shortest lease that costs bond
    maximum_job_duration=60_000,
    outage_gap=20_000,
    maximum_deadlines=2,
)
PEOPLE = [make_key(1_000 + number) for number in range(4)]
PROPOSER = make_key(1_100)
NAMES = ("alpha", "beta", "gamma", "delta")
BALANCE = 60_000
PRICES = (0, 1, 99, 1_001)
PUBLIC_COMMITS = {price: commit_public_price(price) for price in PRICES}


class Economy:
    """A chain with an open block."""

    def __init__(self) -> None:
        balances = dict.fromkeys([*PEOPLE, PROPOSER], BALANCE)
        self.world = World(balances, make_rules(PARAMETERS), PROPOSER)
        self.first_state = copy_state(self.world.state)
        self.supply = BALANCE * len(balances)
        self.history = History()
        self.seen: Counter[object] = Counter()
        self.jobs: list[bytes] = []
        self.offers: list[bytes] = []
        self.cancelled: set[bytes] = set()
        self.accepted: Counter[bytes] = Counter()
        self.kept: dict[bytes, tuple[bytes, int]] = {}
        """By job, the offer accepted for it and the working-clock time up to which it holds."""
        self.settlements: list[JobSettle] = []
        self.applied: list[VerifiedTransaction] = []
        self.open(1_000)
        for key, name in zip(PEOPLE, NAMES[:-1], strict=False):
            self.apply(key, MinerRegister(name, bytes(32), b"", 1_000))
        self.close(1_000)

    @property
    def changes(self) -> Changes:
        return self.execution.changes

    def open(self, gap: int) -> None:
        statuses = self._get_statuses()
        self.execution: Execution = self.world.open(gap)
        self.transactions: list[VerifiedTransaction] = []
        for job, before in statuses.items():
            entry = get_job(self.changes, job)
            assert entry is not None
            if entry.status is not before:
                self.seen[before, Step.EXPIRE, entry.status] += 1

    def close(self, gap: int) -> None:
        """Finish the block, check everything about it and open the next one."""
        self._check_every_step_reverts()
        executed = self.world.close(self.execution, self.transactions)
        entries = self.world.state.entries
        assert find_state_violations(entries, self.supply) == []
        assert self.history.find_violations(executed.outcomes, entries) == []
        for outcome in executed.outcomes:
            self.seen.update(type(event).__name__ for event in outcome.events)
            for event in outcome.events:
                if isinstance(event, LeaseEnded):
                    self.seen[event.outcome] += 1
                if isinstance(event, LeaseEnded | JobEnded) and event.reason_code:
                    self.seen["reason", event.reason_code] += 1
        self.open(gap)

    def get_jobs(self, is_live: bool) -> list[bytes]:
        """Return the jobs that have not ended, oldest first, or those that have."""
        statuses = {job: get_job(self.changes, job) for job in self.jobs}
        return [
            job for job, entry in statuses.items() if entry and (entry.status in LIVE) == is_live
        ]

    def sign(self, key: Key, payload: Payload) -> VerifiedTransaction:
        nonce = get_account(self.changes, key.address).nonce
        return self.world.sign(key, payload, nonce=nonce)

    def apply(self, key: Key, payload: Payload) -> None:
        """Sign and apply one transaction, and hold the outcome against the oracle."""
        verified = self.sign(key, payload)
        expected = self._should_succeed(key.address, payload, verified.transaction.fee)
        outcome = self._apply(verified)
        if outcome is None:
            return
        assert (outcome.code == 0) == expected, (payload, outcome)
        if outcome.code == 0 and isinstance(payload, JobSubmit):
            self.jobs += [event.job for event in iterate_job_events(outcome)]
        if outcome.code == 0:
            self._note_offer(key, payload)

    def _note_offer(self, key: Key, payload: Payload) -> None:
        """Keep what the oracle knows of offers, apart from the state."""
        match payload:
            case OfferCreate():
                tag = payload.idempotency_tag
                self.offers.append(crypto.hash_tagged(crypto.TAG_OFFER, key.address, tag))
            case OfferCancel():
                self.cancelled.add(payload.offer)
            case OfferAccept():
                self.accepted[payload.offer] += 1
                until = self.execution.context.clock + 60_000
                self.kept[payload.job] = payload.offer, until
            case JobClaim():
                self.kept.pop(payload.job, None)
            case _:
                pass

    def refuse(self, verified: VerifiedTransaction) -> None:
        """Try a transaction that no block may carry."""
        assert self._apply(verified) is None, verified

    def offer(self, key: Key, payload: JobSettle) -> None:
        """Try a settlement whose proof was not made for it: it must end nothing."""
        inputs = self._compute_inputs(payload)
        if inputs is not None and make_proof(inputs) == payload.proof:
            self.apply(key, payload)
            return
        outcome = self._apply(self.sign(key, payload))
        assert outcome is None or outcome.code != 0

    def _apply(self, verified: VerifiedTransaction) -> Outcome | None:
        payload = verified.transaction.payload
        before = dict(self.changes.entries)
        job_id: bytes = getattr(payload, "job", b"")
        job = get_job(self.changes, job_id)
        try:
            outcome = self.execution.apply(verified)
        except Rejected as rejected:
            assert self.changes.entries == before
            self.seen[type(payload).__name__, rejected.reason] += 1
            return None
        self.transactions.append(verified)
        self.applied.append(verified)
        if isinstance(payload, OfferAccept):
            pass
        elif job is not None and outcome.code == 0:
            after = get_job(self.changes, job_id)
            assert after is not None
            self.seen[job.status, STEPS[type(payload)], after.status] += 1
        elif job is not None:
            self.seen[job.status, STEPS[type(payload)], "refused"] += 1
        self.seen[type(payload).__name__, outcome.code] += 1
        if outcome.code:
            self._check_only_the_fee(before, verified)
        return outcome

    def _check_only_the_fee(
        self, before: dict[bytes, Entry], verified: VerifiedTransaction
    ) -> None:
        sender = account_key(crypto.compute_address(verified.transaction.sender))
        after = self.changes.entries
        assert {key for key in after if before.get(key) is not after[key]} == {sender}
        old = before.get(sender) or self.world.state.entries[sender]
        new = after[sender]
        fee = verified.transaction.fee
        assert new == type(new)(old.balance - fee, old.nonce + 1)  # type: ignore[union-attr, call-arg, arg-type]

    def _check_every_step_reverts(self) -> None:
        """Run the block again, take each transaction back and write it again: nothing differs."""
        gap = self.execution.context.time - self.world.head.time
        again = self.world.open(gap)
        changes = again.changes
        for verified in self.transactions:
            before, keys, mark = dict(changes.entries), list(changes.new_keys), changes.mark()
            again.apply(verified)
            after = dict(changes.entries)
            changes.revert(mark)
            assert (changes.entries, changes.new_keys) == (before, keys)
            for key, entry in after.items():
                if before.get(key) is not entry:
                    changes.put(key, entry)
            assert changes.entries == after
        assert changes.entries == self.changes.entries
        assert changes.new_keys == self.changes.new_keys

    def check_replay(self) -> None:
        """Replay the stored bytes from the first state: every entry, leaf and node is the same."""
        state: MemoryState = self.first_state
        head = self.world.genesis
        for raw in self.world.raw_blocks:
            block = decode_block(raw)
            verified = [self.world.verify(transaction) for transaction in block.transactions]
            executed = apply_block(state, head, block, verified, self.world.rules)
            state.commit(executed.changes)
            head = block.header
        assert blocks.compute_header_hash(head) == blocks.compute_header_hash(self.world.head)
        live = self.world.state
        assert (state.entries, state.leaves, state.nodes) == (
            live.entries,
            live.leaves,
            live.nodes,
        )
        copied = copy_state(live)
        assert copied.nodes == live.nodes
        for key, entry in live.entries.items():
            assert codec.decode(codec.encode(entry), type(entry), 100_000) == entry, key

    def make_settlement(self, job_id: bytes, amount: int) -> JobSettle:
        """Return a settlement with a proof that holds for the present lease, if there is one."""
        payload = JobSettle(job_id, bytes(31) + b"\x05", amount, self.world.head.time, bytes(192))
        inputs = self._compute_inputs(payload)
        if inputs is not None:
            payload = msgspec.structs.replace(payload, proof=make_proof(inputs))
            self.settlements.append(payload)
        return payload

    def _compute_inputs(self, payload: JobSettle) -> tuple[int, ...] | None:
        job = get_job(self.changes, payload.job)
        if job is None or job.lease is None:
            return None
        return self.world.compute_inputs(job, job.lease, payload)

    def _get_statuses(self) -> dict[bytes, JobStatus]:
        entries = self.world.state.entries
        return {key[1:]: job.status for key, job in entries.items() if isinstance(job, Job)}

    # The oracle

    def _should_succeed(self, sender: bytes, payload: Payload, fee: int) -> bool:
        money = get_account(self.changes, sender).balance - fee
        match payload:
            case Transfer():
                return 0 < payload.amount <= money
            case MinerRegister() | MinerUpdate() | MinerExit():
                return self._is_miner_step_right(sender, payload, money)
            case JobSubmit():
                return self._is_submission_right(sender, payload, money)
            case JobClaim() | JobSettle() | JobFail() | JobCancel():
                return all(self._iterate_job_conditions(sender, payload))
            case OfferCreate():
                miner = get_miner(self.changes, payload.miner)
                is_own = _is_active(miner) and miner is not None and miner.owner == sender
                offer = crypto.hash_tagged(crypto.TAG_OFFER, sender, payload.idempotency_tag)
                in_time = payload.expires_at >= self.execution.context.time
                return is_own and offer not in self.offers and payload.price > 0 and in_time
            case OfferCancel():
                offered = get_offer(self.changes, payload.offer)
                is_own = offered is not None and offered.owner == sender
                return is_own and payload.offer not in self.cancelled
            case OfferAccept():
                return all(self._iterate_accept_conditions(sender, payload))
            case _:
                raise AssertionError("the authority set has an oracle of its own")

    def _is_miner_step_right(
        self, sender: bytes, payload: MinerRegister | MinerUpdate | MinerExit, money: int
    ) -> bool:
        miner = get_miner(self.changes, payload.miner)
        is_own = miner is not None and miner.owner == sender
        match payload:
            case MinerRegister():
                is_free = miner is None or (is_own and not miner.is_active)
                return is_free and PARAMETERS.minimum_bond <= payload.bond <= money
            case MinerUpdate():
                return is_own and _is_active(miner) and payload.added_bond <= money
            case MinerExit():
                return is_own and _is_active(miner) and not (miner and miner.live_leases)

    def _is_submission_right(self, sender: bytes, payload: JobSubmit, money: int) -> bool:
        time = self.execution.context.time
        in_order = time <= payload.queue_deadline <= payload.total_deadline <= time + 60_000
        is_new = (
            crypto.hash_tagged(crypto.TAG_JOB, sender, payload.idempotency_tag) not in self.jobs
        )
        return in_order and is_new and 0 < payload.escrow <= money and payload.execution_limit > 0

    def _iterate_job_conditions(
        self, sender: bytes, payload: JobClaim | JobSettle | JobFail | JobCancel
    ) -> Iterator[bool]:
        job = get_job(self.changes, payload.job)
        yield job is not None
        assert job is not None
        due = compute_due_time(job)
        yield due is not None and self.execution.context.clock <= due
        holds = job.status in LEASE_STATES and job.lease is not None and job.lease.payee == sender
        match payload:
            case JobClaim():
                miner = get_miner(self.changes, payload.miner)
                yield miner is not None and _is_active(miner) and miner.owner == sender
                assert miner is not None
                yield job.status is JobStatus.QUEUED
                yield miner.bond >= PARAMETERS.minimum_bond and miner.live_leases < 2
                yield payload.miner not in [attempt.miner for attempt in job.attempts]
                offer = self._get_kept_offer(payload.job)
                yield offer is None or offer.miner == payload.miner
                yield offer is None or payload.price_commit == PUBLIC_COMMITS[offer.price]
            case JobSettle():
                yield holds and payload.amount <= job.escrow
            case JobFail():
                fault = FAULT_TABLE.get(payload.reason_code)
                yield holds and fault is not None and fault.is_reportable
            case JobCancel():
                yield job.client == sender
                yield job.status in (JobStatus.QUEUED, JobStatus.LEASED)

    def suits(self, job_id: bytes, offer_id: bytes) -> bool:
        """Tell whether an offer is for work of a job's kind, whatever else stands against it."""
        job, offer = get_job(self.changes, job_id), get_offer(self.changes, offer_id)
        return (
            job is not None
            and offer is not None
            and (job.service, job.billing) == (offer.service, offer.billing)
        )

    def _get_kept_offer(self, job: bytes) -> Offer | None:
        offer, until = self.kept.get(job, (b"", -1))
        return get_offer(self.changes, offer) if self.execution.context.clock <= until else None

    def _iterate_accept_conditions(self, sender: bytes, payload: OfferAccept) -> Iterator[bool]:
        job, offer = get_job(self.changes, payload.job), get_offer(self.changes, payload.offer)
        yield job is not None and offer is not None
        assert job is not None and offer is not None
        clock = self.execution.context.clock
        yield job.client == sender and job.status is JobStatus.QUEUED
        yield clock <= job.queue_deadline and clock <= offer.ends_at
        yield self._get_kept_offer(payload.job) is None
        yield payload.offer not in self.cancelled
        yield self.accepted[payload.offer] < offer.max_jobs
        yield offer.service == job.service and offer.billing == job.billing
        yield offer.price <= job.escrow
        miner = get_miner(self.changes, offer.miner)
        yield miner is not None and miner.is_active and miner.bond >= PARAMETERS.minimum_bond
        yield offer.miner not in [attempt.miner for attempt in job.attempts]


def _is_active(miner: Miner | None) -> bool:
    return miner is not None and miner.is_active


STEPS: dict[type, Step] = {
    JobClaim: Step.CLAIM,
    JobSettle: Step.SETTLE,
    JobFail: Step.REPORT,
    JobCancel: Step.CANCEL,
}
