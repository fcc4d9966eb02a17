"""How the calls about the chain itself and its accounts are written; they need no key."""

from collections.abc import Sequence
from typing import Any

from aitbc.calls.common import as_is, get, get_value, quote, read_array
from aitbc.models import Account, ChainStatus, Model, Submission, TransactionStatus
from aitbc.steps import Call


def get_chain_status() -> Call[ChainStatus]:
    """Return the node's height, finality and peers."""
    return get("/v1/chain/status", ChainStatus)


def list_validators() -> Call[Any]:
    """Return the authorities in force."""
    return get_value("/v1/chain/validators")


def list_peers() -> Call[Any]:
    """Return the nodes that this one is connected to."""
    return get_value("/v1/chain/peers")


def list_successions(epoch: int = 0) -> Call[Any]:
    """Return how the authority sets followed each other from an epoch on, the oldest first."""
    return get_value("/v1/chain/successions", {"epoch": epoch})


def get_genesis() -> Call[bytes]:
    """Return the document that names the chain, as it is hashed; compare its hash before trusting.

    `genesis.document.load_genesis` reads it.
    """
    return Call("GET", "/v1/chain/genesis", as_is, is_repeatable=True, is_binary=True)


def send_transactions(transactions: Sequence[str]) -> Call[list[Submission]]:
    """Send signed transactions (hex) to the mempool; one verdict each, in order.

    A transaction's id is its content, so sending it again is harmless.
    """
    return Call(
        "POST",
        "/v1/transactions",
        read_array(Submission),
        body=list(transactions),
        is_repeatable=True,
    )


def get_transaction(transaction_id: str) -> Call[TransactionStatus]:
    """Return where a transaction stands: waiting, or in which block with what outcome."""
    return get(f"/v1/transactions/{quote(transaction_id)}", TransactionStatus)


def get_account(address: str) -> Call[Account]:
    """Return an account's balance, nonce and pending nonce."""
    return get(f"/v1/accounts/{quote(address)}", Account)


def audit_supply(*, height: int | None = None) -> Call[Model]:
    """Return the supply equation at a height: balances, escrows and bonds against the supply."""
    return get("/v1/audit/supply", Model, {"height": height})
