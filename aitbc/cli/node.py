"""`aitbc node`: make a node's folder, run it, look after its database."""

from pathlib import Path
from typing import Annotated, Any

import typer

from aitbc.cli import node_store
from aitbc.cli.api import DEFAULT_URL, ApiUrl, open_client
from aitbc.cli.failures import CommandError, Commands
from aitbc.cli.keys import DEFAULT_KEYSTORE, KeystoreFolder, get_keystore
from aitbc.cli.node_options import Data, Setting, load_node_settings, parse_settings
from aitbc.cli.output import AsJson, note, print_record, print_table
from aitbc.cli.passwords import PasswordFile, get_password
from node.exit_codes import ExitCode

app = typer.Typer(
    cls=Commands,
    no_args_is_help=True,
    help="A node: its folder, its run, its peers, and what an operator does with its database.",
)

app.add_typer(node_store.database_app, name="db")
app.add_typer(node_store.snapshot_app, name="snapshot")
app.command("rollback")(node_store.roll_back_node)


@app.command("init")
def init_node(
    data: Data,
    genesis: Annotated[Path, typer.Option("--genesis", help="The chain's genesis.json.")],
    key: Annotated[str, typer.Option("--key", help="Name of the node's key in the keystore.")],
    setting: Annotated[
        list[str] | None, typer.Option("--set", help="NAME=VALUE to write to config.toml.")
    ] = None,
    operator_key_file: Annotated[
        Path | None,
        typer.Option("--operator-key-file", help="Write the first API key here, not to stdout."),
    ] = None,
    folder: KeystoreFolder = DEFAULT_KEYSTORE,
    password_file: PasswordFile = None,
    as_json: AsJson = False,
) -> None:
    """Make a node's data folder for a chain, and its first operator's API key."""
    from aitbc.cli.node_folder import make_operator_key
    from genesis.document import compute_chain_id
    from ledger.crypto import compute_public_key, format_address
    from ledger.keystore import write_private_file
    from node.folder import create_folder, get_address, get_peer_id

    seed = get_keystore(folder).open(key, get_password(password_file))
    config = _check_settings(data, parse_settings(setting))
    chain_id = compute_chain_id(create_folder(data, genesis.read_bytes(), seed, config=config))
    record: dict[str, object] = {
        "data": str(data.absolute()),
        "chain_id": chain_id.hex(),
        "address": format_address(get_address(seed)),
        "public_key": compute_public_key(seed).hex(),
        "peer_id": get_peer_id(seed),
    }
    operator_key = make_operator_key(data, seed)
    if operator_key_file is None:
        record["operator_api_key"] = operator_key
        note("keep the operator's API key now: it is not shown again")
    else:
        write_private_file(operator_key_file, f"{operator_key}\n".encode())
    print_record(record, as_json=as_json)
    note(f"back up {data}/node.key with node.password, and database.key, apart from the database")
    note(f"next:  aitbc node run --data {data}")


@app.command("run")
def run_node(
    data: Data,
    setting: Setting = None,
    accept_lost_votes: Annotated[
        bool,
        typer.Option(
            "--accept-lost-votes",
            help="Vote although the journal of signatures is missing or old. Only when this key "
            "surely runs nowhere else.",
        ),
    ] = False,
) -> None:
    """Run a node in the foreground until SIGINT or SIGTERM."""
    from node.run import run

    flags = {**parse_settings(setting), "data": data}
    raise typer.Exit(int(run(flags, accept_lost_votes=accept_lost_votes)))


@app.command("status")
def show_status(api_url: ApiUrl = DEFAULT_URL, as_json: AsJson = False) -> None:
    """Show where a running node stands, and which authority has not voted."""
    with open_client(api_url, needs_key=False) as client:
        status = client.chain.get_status().to_dict()
    if as_json:
        print_record(status, as_json=True)
        return
    plain = {name: value for name, value in status.items() if not isinstance(value, list | dict)}
    print_record(plain, as_json=False)
    columns = ("index", "public_key", "is_self", "is_connected", "last_view", "silent_ms")
    print_table("voters", columns, status["voters"], as_json=False)


@app.command("peers")
def show_peers(api_url: ApiUrl = DEFAULT_URL, as_json: AsJson = False) -> None:
    """Show whom a running node is connected to: what height each claims, and how far it is."""
    with open_client(api_url, needs_key=False) as client:
        peers = client.chain.list_peers()["peers"]
    columns = ("peer_id", "is_authority", "is_inbound", "height", "latency_ms", "agent")
    print_table("peers", columns, peers, as_json=as_json)


@app.command("config")
def show_config(data: Data, setting: Setting = None, as_json: AsJson = False) -> None:
    """Show every setting in force: flags over environment over config.toml."""
    from node.settings import describe_settings

    settings = load_node_settings(data, parse_settings(setting))
    rows = [
        {"name": name, "value": None if value is None else str(value), "description": description}
        for name, value, description in describe_settings(settings)
    ]
    print_table("settings", ("name", "value", "description"), rows, as_json=as_json)


@app.command("verify-chain")
def verify_chain(data: Data, as_json: AsJson = False) -> None:
    """Check every block from genesis on again, with nothing but the database."""
    from aitbc.cli.node_folder import verify_database

    record = verify_database(load_node_settings(data, {}), note)
    print_record(record, as_json=as_json)


@app.command("audit")
def audit(
    data: Data,
    sample: Annotated[
        int,
        typer.Option("--zk-sample", min=1, help="How many settlements, spread over the chain."),
    ] = 10,
    as_json: AsJson = False,
) -> None:
    """Check settlements' proofs again with two libraries that share no code; they must agree.

    The sample is spread evenly from the newest settlement to the oldest, both included. Exit code
    33 when a proof does not hold or the libraries differ.
    """
    from aitbc.cli.node_folder import audit_database
    from node.verify_chain import ChainDamaged

    try:
        record = audit_database(load_node_settings(data, {}), sample, note)
    except ChainDamaged as error:
        raise CommandError(
            str(error), ExitCode.VERIFICATION_FAILED, f"aitbc node verify-chain --data {data}"
        ) from None
    print_record(record, as_json=as_json)
    if not record["checked"]:
        note("no settlement is on this chain yet: nothing was checked")


@app.command("backup")
def back_up(
    data: Data,
    output: Annotated[Path, typer.Option("--output", "-o", help="File to write; never replaced.")],
    as_json: AsJson = False,
) -> None:
    """Copy the database while the node runs: one moment of it, under the same key."""
    from node.backup import backup
    from node.folder import find_database_key, open_genesis

    settings = load_node_settings(data, {})
    key = find_database_key(settings)
    backup(settings.get_database_path(), key, output, is_dev=open_genesis(data).is_dev)
    record = {"backup": str(output.absolute()), "bytes": output.stat().st_size}
    print_record(record, as_json=as_json)
    note(f"it opens with {settings.get_database_key_path()}: keep a copy of that elsewhere")


@app.command("rekey")
def rekey(data: Data) -> None:
    """Encrypt the database under a fresh key; the node must not be running."""
    from node.folder import FolderLock
    from node.rekey import change_key

    settings = load_node_settings(data, {})
    if not settings.db_encryption_enabled:
        raise CommandError(
            "this node's database is not encrypted",
            ExitCode.CONFIGURATION,
            f"aitbc node config --data {data}",
        )
    lock = FolderLock(data)
    try:
        change_key(settings.get_database_path(), settings.get_database_key_path())
    finally:
        lock.release()
    note(f"{settings.get_database_key_path()} holds the new key; older backups need the old one")


def _check_settings(data: Path, values: dict[str, Any]) -> dict[str, Any]:
    """Return the settings as config.toml keeps them, each with its own type."""
    settings = load_node_settings(data, values)
    found = {name: getattr(settings, name) for name in values}
    return {name: str(value) if isinstance(value, Path) else value for name, value in found.items()}
