"""What a rule may see and touch while a block is executed, and the two moves of money."""

from collections.abc import Callable
from dataclasses import dataclass

from ledger.entries import account_key
from ledger.parameters import Parameters, ProofParameters
from ledger.rejection import Rejected, Rejection
from ledger.state import Changes, get_account

VerifyProof = Callable[[tuple[int, ...], bytes], bool]
"""Tells whether a proof (192 bytes) holds for the public inputs, in the order of section P3."""


@dataclass(frozen=True, slots=True)
class Rules:
    """What a chain's rules depend on beside the state: fixed from genesis on."""

    chain_id: bytes
    parameters: Parameters
    proof: ProofParameters
    verify_proof: VerifyProof


@dataclass(frozen=True, slots=True)
class Context:
    """The block being executed. Times in milliseconds."""

    changes: Changes
    rules: Rules
    height: int
    time: int
    """Header time."""
    clock: int
    """Header time without the outages: what deadlines are compared with (rule D1)."""


def credit(changes: Changes, address: bytes, amount: int) -> None:
    """Add to an account. The supply is below 2**63, so no balance can overflow."""
    if amount:
        account = get_account(changes, address)
        changes.put(account_key(address), type(account)(account.balance + amount, account.nonce))


def debit(changes: Changes, address: bytes, amount: int) -> None:
    """Take from an account. Raises `Rejected(INSUFFICIENT_BALANCE)`."""
    account = get_account(changes, address)
    if account.balance < amount:
        raise Rejected(
            Rejection.INSUFFICIENT_BALANCE,
            f"the balance is {account.balance} base units, {amount} are needed",
        )
    changes.put(account_key(address), type(account)(account.balance - amount, account.nonce))
