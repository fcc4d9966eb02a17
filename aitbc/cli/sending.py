"""Sending what was signed here: what is asked of the node before, the wait until it is final."""

from pathlib import Path
from typing import Annotated, Any, Final

import typer

from aitbc.cli.failures import CommandError
from aitbc.cli.keys import get_keystore
from aitbc.cli.passwords import get_password
from node.exit_codes import ExitCode

VALID_BLOCKS: Final = 1_000
"""For how many heights it may enter a block; a lost one never comes back much later."""

_POLL_SECONDS: Final = 0.2

ChainId = Annotated[
    str | None,
    typer.Option("--chain-id", help="Sign for this chain only, whatever the node says."),
]
Wait = Annotated[bool, typer.Option("--wait/--no-wait", help="Wait until it is final.")]
Timeout = Annotated[float, typer.Option("--timeout", min=0, help="Seconds.")]


SigningKey = Annotated[
    str | None,
    typer.Option("--key", help="Sign with this key of the keystore: for an account of one's own."),
]


def open_wallet(key: str | None, folder: Path, password_file: Path | None) -> Any:
    """Return the wallet of a key in the keystore, None where none is named."""
    if key is None:
        return None
    from aitbc.wallet import Wallet

    return Wallet(get_keystore(folder).open(key, get_password(password_file)))


def sign_and_send(
    client: Any, wallet: Any, payload: Any, chain_id: str | None = None
) -> dict[str, Any]:
    """Sign a payload with the account's next nonce and submit it; return the verdict's members.

    Raises `CommandError` for a node of another chain than `chain_id` (hex), for one that asks for
    an absurd fee, and for a refusal.
    """
    from aitbc.wallet import HIGHEST_FEE_RATE

    status = client.chain.get_status()
    if chain_id is not None and status.chain_id != chain_id:
        raise CommandError(
            f"the node is on chain {status.chain_id}",
            ExitCode.WRONG_CHAIN,
            "set AITBC_API_URL to a node of your chain",
        )
    if status.minimum_fee_rate > HIGHEST_FEE_RATE:
        raise CommandError(
            f"the node asks for a fee of {status.minimum_fee_rate} base units a byte",
            ExitCode.API_REFUSED,
            "set AITBC_API_URL to another node of your chain",
        )
    account = client.chain.get_account(wallet.text_address)
    signed = wallet.sign(
        payload,
        chain_id=bytes.fromhex(status.chain_id),
        nonce=account.pending_nonce,
        fee_rate=status.minimum_fee_rate,
        valid_until=status.height + min(VALID_BLOCKS, status.maximum_validity),
    )
    (verdict,) = client.chain.send([signed.raw.hex()])
    if verdict.error_code is not None:
        raise CommandError(
            f"the node refused the transaction: {verdict.error_code}",
            ExitCode.API_REFUSED,
            f"aitbc account {wallet.text_address}",
        )
    return {**verdict.to_dict(), "transaction_id": f"tx_{signed.id.hex()}"}


def wait_until_final(client: Any, transaction_id: str, timeout: float) -> Any:
    """Return a transaction's final status. Raises `CommandError` when it failed or time is up."""
    import time

    from ledger.rejection import REJECTIONS

    end = time.monotonic() + timeout
    while (found := client.chain.get_transaction(transaction_id)).status == "pending":
        if time.monotonic() >= end:
            raise CommandError(
                f"{transaction_id} is accepted and not yet final",
                ExitCode.TIMED_OUT,
                f"aitbc tx get {transaction_id}",
            )
        time.sleep(_POLL_SECONDS)
    if found.code:
        known = REJECTIONS.get(found.code)
        reason = f"code {found.code}" if known is None else known.doc
        raise CommandError(
            f"{transaction_id} failed in block {found.height}: {reason}",
            ExitCode.API_REFUSED,
            f"aitbc tx get {transaction_id}",
        )
    return found
