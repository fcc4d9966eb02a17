"""`aitbc account`, `aitbc tx` and `aitbc explorer`: what the chain says, and money sent on it."""

from pathlib import Path
from typing import Annotated, Any

import typer

from aitbc.cli.api import DEFAULT_URL, ApiUrl, open_client
from aitbc.cli.failures import Commands
from aitbc.cli.keys import DEFAULT_KEYSTORE, KeystoreFolder, get_keystore
from aitbc.cli.output import AsJson, print_record, print_table
from aitbc.cli.passwords import PasswordFile, get_password
from aitbc.cli.sending import ChainId, Timeout, Wait, sign_and_send, wait_until_final
from aitbc.cli.trust import CheckpointFile, GenesisFile, load_trusted

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


@explorer.command("checkpoint")
def write_checkpoint(
    output: Annotated[Path, typer.Option("--output", "-o", help="File to write.")],
    genesis: GenesisFile = None,
    checkpoint: CheckpointFile = None,
    api_url: ApiUrl = DEFAULT_URL,
    as_json: AsJson = False,
) -> None:
    """Write a checkpoint of the authority set in force, for `aitbc receipt verify --checkpoint`.

    It is followed from genesis, or from an older checkpoint: each set's quorum signed for the next,
    so the node that is asked cannot name another. Exit code 33 where it tries.
    """
    from aitbc.cli.light_client import follow_chain
    from genesis.checkpoint import dump_checkpoint
    from ledger.keystore import write_private_file

    trusted = load_trusted(genesis, checkpoint)
    with open_client(api_url, needs_key=False) as client:
        found = follow_chain(client, trusted)
    write_private_file(output, dump_checkpoint(found), is_new=False)
    record = {
        "checkpoint": str(output),
        "chain_id": found.chain_id.hex(),
        "epoch": found.authorities.epoch,
        "authorities": len(found.authorities.members),
        "trusted_epoch": trusted.authorities.epoch,
    }
    print_record(record, as_json=as_json)


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
    chain_id: ChainId = None,
    wait: Wait = True,
    timeout: Timeout = 30.0,
    folder: KeystoreFolder = DEFAULT_KEYSTORE,
    password_file: PasswordFile = None,
    api_url: ApiUrl = DEFAULT_URL,
    as_json: AsJson = False,
) -> None:
    """Send money: signed here by a key of the keystore, which never leaves this machine."""
    from aitbc.cli.money import format_ait, parse_ait
    from aitbc.wallet import Wallet
    from ledger import crypto
    from ledger.transactions import Transfer

    base = parse_ait(amount)
    target = crypto.parse_address(_find_address(recipient, folder))
    store = get_keystore(folder)
    wallet = Wallet(store.open(sender, get_password(password_file)))
    with open_client(api_url, needs_key=False) as client:
        sent = sign_and_send(client, wallet, Transfer(target, base), chain_id)
        result: dict[str, Any] = {
            "transaction_id": sent["transaction_id"],
            "from": wallet.text_address,
            "to": crypto.format_address(target),
            "amount": format_ait(base),
            "amount_base": str(base),
            **sent,
        }
        if wait:
            result.update(wait_until_final(client, sent["transaction_id"], timeout).to_dict())
    print_record(result, as_json=as_json)


def _find_address(text: str, folder: Path) -> str:
    return text if text.startswith("ait1") else get_keystore(folder).get(text).address
