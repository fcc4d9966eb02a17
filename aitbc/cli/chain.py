"""`aitbc account`, `aitbc tx` and `aitbc explorer`: what the chain says, and money sent on it."""

from pathlib import Path
from typing import Annotated, Any, Final

import typer

from aitbc.cli.api import DEFAULT_URL, ApiUrl, open_client
from aitbc.cli.failures import CommandError, Commands
from aitbc.cli.keys import DEFAULT_KEYSTORE, KeystoreFolder, get_keystore
from aitbc.cli.output import AsJson, print_record, print_table
from aitbc.cli.passwords import PasswordFile, get_password
from node.exit_codes import ExitCode

VALID_BLOCKS: Final = 1_000
"""For how many heights a transfer may enter a block; a lost one never comes back much later."""

_POLL_SECONDS: Final = 0.2

transactions = typer.Typer(
    cls=Commands, no_args_is_help=True, help="Transactions signed here: transfer, get."
)
explorer = typer.Typer(
    cls=Commands, no_args_is_help=True, help="Final chain state: blocks, transactions, stats."
)


@explorer.command("blocks")
def list_blocks(
    limit: Annotated[int, typer.Option("--limit", min=1, max=100)] = 10,
    before: Annotated[int | None, typer.Option("--before", help="Only below this height.")] = None,
    api_url: ApiUrl = DEFAULT_URL,
    as_json: AsJson = False,
) -> None:
    """List the latest final blocks."""
    with open_client(api_url, needs_key=False) as client:
        rows = [
            block.to_dict() for block in client.explorer.list_blocks(limit=limit, before=before)
        ]
    columns = ("height", "timestamp", "transactions", "hash")
    print_table("blocks", columns, rows, as_json=as_json)


@explorer.command("block")
def get_block(
    block: Annotated[str, typer.Argument(help="A height or a hash.")],
    api_url: ApiUrl = DEFAULT_URL,
    as_json: AsJson = False,
) -> None:
    """Show one block."""
    with open_client(api_url, needs_key=False) as client:
        print_record(client.explorer.get_block(block).to_dict(), as_json=as_json)


@explorer.command("stats")
def get_stats(api_url: ApiUrl = DEFAULT_URL, as_json: AsJson = False) -> None:
    """Show the network's totals."""
    with open_client(api_url, needs_key=False) as client:
        print_record(client.explorer.get_stats().to_dict(), as_json=as_json)


def show_account(
    account: Annotated[str, typer.Argument(help="An address (ait1…), or the name of a key.")],
    folder: KeystoreFolder = DEFAULT_KEYSTORE,
    api_url: ApiUrl = DEFAULT_URL,
    as_json: AsJson = False,
) -> None:
    """Show an account: balance and nonce."""
    address = _find_address(account, folder)
    with open_client(api_url, needs_key=False) as client:
        print_record(client.chain.get_account(address).to_dict(), as_json=as_json)


@transactions.command("get")
def get_transaction(
    transaction: Annotated[str, typer.Argument(help="A transaction's id: tx_…")],
    api_url: ApiUrl = DEFAULT_URL,
    as_json: AsJson = False,
) -> None:
    """Show where a transaction stands."""
    with open_client(api_url, needs_key=False) as client:
        print_record(client.chain.get_transaction(transaction).to_dict(), as_json=as_json)


@transactions.command("transfer")
def transfer(
    sender: Annotated[str, typer.Option("--from", help="Name of the key that pays.")],
    recipient: Annotated[str, typer.Option("--to", help="Address, or the name of a key.")],
    amount: Annotated[str, typer.Option("--amount", help="AIT, with up to 9 places.")],
    chain_id: Annotated[
        str | None,
        typer.Option("--chain-id", help="Sign for this chain only, whatever the node says."),
    ] = None,
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Wait until it is final.")] = True,
    timeout: Annotated[float, typer.Option("--timeout", min=0, help="Seconds.")] = 30.0,
    folder: KeystoreFolder = DEFAULT_KEYSTORE,
    password_file: PasswordFile = None,
    api_url: ApiUrl = DEFAULT_URL,
    as_json: AsJson = False,
) -> None:
    """Send money: signed here by a key of the keystore, which never leaves this machine."""
    from aitbc.cli.money import format_ait, parse_ait
    from aitbc.wallet import HIGHEST_FEE_RATE, Wallet
    from ledger import crypto
    from ledger.transactions import Transfer

    base = parse_ait(amount)
    target = crypto.parse_address(_find_address(recipient, folder))
    store = get_keystore(folder)
    wallet = Wallet(store.open(sender, get_password(password_file)))
    with open_client(api_url, needs_key=False) as client:
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
            Transfer(target, base),
            chain_id=bytes.fromhex(status.chain_id),
            nonce=account.pending_nonce,
            fee_rate=status.minimum_fee_rate,
            valid_until=status.height + min(VALID_BLOCKS, status.maximum_validity),
        )
        (verdict,) = client.chain.send([signed.raw.hex()])
        result: dict[str, Any] = {
            "transaction_id": f"tx_{signed.id.hex()}",
            "from": wallet.text_address,
            "to": crypto.format_address(target),
            "amount": format_ait(base),
            "amount_base": str(base),
            **verdict.to_dict(),
        }
        if verdict.error_code is not None:
            raise CommandError(
                f"the node refused the transfer: {verdict.error_code}",
                ExitCode.API_REFUSED,
                f"aitbc account {wallet.text_address}",
            )
        if wait:
            final = wait_until_final(client, result["transaction_id"], timeout)
            result.update(final.to_dict())
    print_record(result, as_json=as_json)


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


def _find_address(text: str, folder: Path) -> str:
    return text if text.startswith("ait1") else get_keystore(folder).get(text).address
