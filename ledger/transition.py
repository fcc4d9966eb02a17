"""The state transition: what a block does to the state (docs/protocol/ledger.md).

`Execution` serves the proposer, who adds transactions while they fit, and `apply_block` runs the
same object over a received block. Both read through a view and return changes.
"""

from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from ledger import authorities, blocks, codec, crypto, jobs, merkle, miners, offers, settlement
from ledger.blocks import Block, Header
from ledger.context import Context, Rules, credit, debit
from ledger.entries import TOTALS_KEY, Account, account_key
from ledger.outcomes import Event, JobSettled, Outcome
from ledger.rejection import FIRST_EXECUTION_CODE, Rejected, Rejection
from ledger.state import Changes, StateView, get_account, get_authorities, get_totals
from ledger.supply import compute_totals
from ledger.transactions import (
    AuthorityVote,
    EquivocationEvidence,
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
    Transaction,
    Transfer,
    VerifiedTransaction,
)


class Executed(NamedTuple):
    """What a block's execution came to."""

    changes: Changes
    outcomes: tuple[Outcome, ...]
    receipts_root: bytes
    state_root: bytes


class Execution:
    """One block being executed on top of `view`, the state after `parent`."""

    def __init__(
        self, view: StateView, parent: Header, time: int, proposer_account: bytes, rules: Rules
    ) -> None:
        assert time > parent.time
        self.changes = Changes(view)
        self._proposer_account = proposer_account
        self._income = 0
        self._outcomes: list[Outcome] = []
        authorities.open_epoch(self.changes)
        outage = self._apply_outage(parent, time, rules)
        self.context = Context(self.changes, rules, parent.height + 1, time, time - outage)
        self._apply_deadlines()

    def apply(self, verified: VerifiedTransaction) -> Outcome:
        """Apply one transaction and return its outcome.

        Raises `Rejected`, with nothing changed, when the transaction may not enter this block.
        """
        transaction = verified.transaction
        sender = crypto.compute_address(transaction.sender)
        start = self.changes.mark()
        check_fitness(self.context, sender, verified)
        account = get_account(self.changes, sender)
        self.changes.put(
            account_key(sender), Account(account.balance - transaction.fee, account.nonce + 1)
        )
        paid = self.changes.mark()
        code = 0
        events: tuple[Event, ...] = ()
        try:
            events = _apply_payload(self.context, sender, transaction)
        except Rejected as rejected:
            if rejected.reason < FIRST_EXECUTION_CODE:
                self.changes.revert(start)
                raise
            self.changes.revert(paid)
            code = int(rejected.reason)
        self._income += transaction.fee
        return self._record(Outcome(verified.id, code, transaction.fee, events))

    def finish(self) -> Executed:
        """Pay the proposer, check the supply and return the roots with everything changed."""
        credit(self.changes, self._proposer_account, self._income)
        self.changes.put(TOTALS_KEY, compute_totals(self.changes, self._outcomes))
        outcomes = tuple(self._outcomes)
        receipts_root = merkle.compute_root([codec.encode(outcome) for outcome in outcomes])
        return Executed(self.changes, outcomes, receipts_root, self.changes.compute_root())

    def _apply_outage(self, parent: Header, time: int, rules: Rules) -> int:
        """Return the outage so far; a gap over the limit stops the working clock (rule D4)."""
        totals = get_totals(self.changes)
        gap = time - parent.time
        if gap > rules.parameters.outage_gap:
            totals = msgspec.structs.replace(totals, outage=totals.outage + gap)
            self.changes.put(TOTALS_KEY, totals)
        return totals.outage

    def _apply_deadlines(self) -> None:
        """Process the due deadlines, oldest first, bounded per block (rule D2)."""
        limit = self.context.rules.parameters.maximum_deadlines
        for _, job in self.changes.get_due_jobs(self.context.clock, limit):
            self._record(Outcome(job, 0, 0, jobs.expire_job(self.context, job)))

    def _record(self, outcome: Outcome) -> Outcome:
        for event in outcome.events:
            if isinstance(event, JobSettled):
                self._income += event.network_share
        self._outcomes.append(outcome)
        return outcome


def apply_block(
    view: StateView,
    parent: Header,
    block: Block,
    transactions: Sequence[VerifiedTransaction],
    rules: Rules,
) -> Executed:
    """Return what a block does, after checking everything that its header claims (rules B1 to B5).

    `transactions` are the block's own, verified. Raises `Rejected` when the block is invalid.
    """
    header = block.header
    proposer_account = check_header(view, parent, header, rules)
    size = sum(len(verified.raw) for verified in transactions)
    if size > blocks.MAX_BODY_BYTES or len(transactions) > blocks.MAX_BLOCK_TRANSACTIONS:
        raise Rejected(Rejection.BAD_BLOCK_SIZE)
    root = merkle.compute_root([verified.raw for verified in transactions])
    if root != header.transactions_root:
        raise Rejected(Rejection.BAD_ROOT, "the transactions root")
    execution = Execution(view, parent, header.time, proposer_account, rules)
    for verified in transactions:
        execution.apply(verified)
    executed = execution.finish()
    if executed.receipts_root != header.receipts_root:
        raise Rejected(Rejection.BAD_ROOT, "the receipts root")
    if executed.state_root != header.state_root:
        raise Rejected(Rejection.BAD_ROOT, "the state root")
    return executed


def check_header(view: StateView, parent: Header, header: Header, rules: Rules) -> bytes:
    """Return the proposer's account if the header may follow its parent. Raises `Rejected`."""
    sets = get_authorities(view)
    expected = msgspec.structs.replace(
        header,
        version=blocks.BLOCK_VERSION,
        chain_id=rules.chain_id,
        epoch=sets.current.epoch,
        height=parent.height + 1,
        parent_view=parent.view,
        parent=blocks.compute_header_hash(parent),
        authorities=blocks.compute_authorities_hash(sets.current),
        next_authorities=blocks.compute_authorities_hash(sets.following),
    )
    if header != expected or header.view <= parent.view:
        raise Rejected(Rejection.BAD_HEADER)
    if header.time <= parent.time:
        raise Rejected(Rejection.BAD_BLOCK_TIME)
    proposer = blocks.find_authority(sets.current, header.proposer)
    if proposer is None:
        raise Rejected(Rejection.BAD_PROPOSER)
    return proposer.account


def check_fitness(context: Context, sender: bytes, verified: VerifiedTransaction) -> None:
    """Check that a transaction may enter this block at all (rule L5). Raises `Rejected`."""
    transaction = verified.transaction
    account = get_account(context.changes, sender)
    limits = context.rules.parameters
    if transaction.fee < len(verified.raw) * limits.minimum_fee_rate:
        raise Rejected(
            Rejection.FEE_TOO_LOW,
            f"{len(verified.raw)} bytes cost at least "
            f"{len(verified.raw) * limits.minimum_fee_rate} base units",
        )
    if transaction.valid_until < context.height:
        raise Rejected(Rejection.VALIDITY_OVER)
    if transaction.valid_until > context.height + limits.maximum_validity:
        raise Rejected(Rejection.VALIDITY_TOO_LONG)
    if transaction.nonce < account.nonce:
        raise Rejected(Rejection.NONCE_USED, f"the account's next nonce is {account.nonce}")
    if transaction.nonce > account.nonce:
        raise Rejected(Rejection.NONCE_GAP, f"the account's next nonce is {account.nonce}")
    if account.balance < transaction.fee:
        raise Rejected(Rejection.CANNOT_PAY_FEE, f"the balance is {account.balance} base units")
    payload = transaction.payload
    if isinstance(payload, JobSettle) and payload.epoch_time > context.time:
        raise Rejected(Rejection.NOT_YET_DUE)


def _apply_transfer(context: Context, sender: bytes, payload: Transfer) -> tuple[Event, ...]:
    if payload.amount == 0:
        raise Rejected(Rejection.AMOUNT_IS_ZERO)
    debit(context.changes, sender, payload.amount)
    credit(context.changes, payload.recipient, payload.amount)
    return ()


def _apply_payload(context: Context, sender: bytes, transaction: Transaction) -> tuple[Event, ...]:
    payload = transaction.payload
    match payload:
        case Transfer():
            return _apply_transfer(context, sender, payload)
        case JobSettle():
            return settlement.apply_settle(context, sender, payload)
        case JobClaim():
            return jobs.apply_claim(context, sender, payload)
        case JobSubmit():
            return jobs.apply_submit(context, sender, payload)
        case JobFail():
            return jobs.apply_fail(context, sender, payload)
        case JobCancel():
            return jobs.apply_cancel(context, sender, payload)
        case MinerRegister():
            return miners.apply_register(context, sender, payload)
        case MinerUpdate():
            return miners.apply_update(context, sender, payload)
        case MinerExit():
            return miners.apply_exit(context, sender, payload)
        case OfferAccept():
            return offers.apply_accept(context, sender, payload)
        case OfferCreate():
            return offers.apply_create(context, sender, payload)
        case OfferCancel():
            return offers.apply_cancel(context, sender, payload)
        case AuthorityVote():
            return authorities.apply_vote(context, transaction.sender, payload)
        case EquivocationEvidence():
            return authorities.apply_evidence(context, payload)
