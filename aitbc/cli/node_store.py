"""`aitbc node rollback`, `db check` and `snapshot`: what an operator does with a node's store."""

import time
from pathlib import Path
from typing import Annotated, Any

import typer

from aitbc.cli.failures import CommandError, Commands
from aitbc.cli.node_options import Data, load_node_settings
from aitbc.cli.output import AsJson, note, print_record, print_table
from node.exit_codes import ExitCode

database_app = typer.Typer(
    cls=Commands, no_args_is_help=True, help="The node's database: whether it is whole."
)
snapshot_app = typer.Typer(
    cls=Commands, no_args_is_help=True, help="The chain's state in one file that proves itself."
)


@database_app.callback()
def use_database() -> None:
    """The node's database: whether it is whole."""


@database_app.command("check")
def check_database(data: Data, as_json: AsJson = False) -> None:
    """Check pages, tables, state, blocks, proofs, indexes and the journal of signatures.

    Quick, since nothing is executed: `verify-chain` does that. While the node runs, a copy of this
    moment is checked. Exit code 15 when the database is damaged, 33 when it holds what the
    authorities did not sign for, 21 when the journal is missing or older.
    """
    from aitbc.cli.node_folder import find_still_database
    from ledger.crypto import compute_public_key
    from node import folder
    from node.database_check import Check, DatabaseChecker

    def say(check: Check) -> None:
        note(f"  {check.name}: {check.found} ({check.seconds:.2f} s)")

    settings = load_node_settings(data, {})
    genesis = folder.open_genesis(data)
    key = folder.find_database_key(settings)
    public_key = compute_public_key(folder.open_seed(settings))
    with find_still_database(settings, key, genesis.is_dev, note) as path:
        checker = DatabaseChecker(path, key, genesis, time.monotonic, say)
        checks = checker.run(data / folder.JOURNAL_FILE, public_key)
    rows = [{**each._asdict(), "seconds": round(each.seconds, 2)} for each in checks]
    print_table("checks", ("name", "found", "seconds"), rows, as_json=as_json)


@snapshot_app.command("create")
def create_snapshot(
    data: Data,
    output: Annotated[Path, typer.Option("--output", "-o", help="File to write; never replaced.")],
    as_json: AsJson = False,
) -> None:
    """Write the state after the newest block, and what proves it, to a file.

    The node may run meanwhile. The file holds nothing of the node's own: anybody may have it.
    """
    from aitbc.cli.node_folder import note_progress
    from genesis.document import compute_chain_id
    from node import folder, snapshot

    begin = time.monotonic()
    settings = load_node_settings(data, {})
    genesis = folder.open_genesis(data)
    created = snapshot.create(
        settings.get_database_path(),
        folder.find_database_key(settings),
        compute_chain_id(genesis),
        output,
        is_dev=genesis.is_dev,
        on_piece=note_progress("entry", note),
    )
    record = {"snapshot": str(output.absolute()), "bytes": created.size, **_describe(created)}
    print_record({**record, "seconds": round(time.monotonic() - begin, 2)}, as_json=as_json)


@snapshot_app.command("restore")
def restore_snapshot(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", exists=True, dir_okay=False, help="The snapshot.")
    ],
    data: Data,
    genesis_file: Annotated[
        Path | None,
        typer.Option("--genesis", help="Refuse unless this is the folder's genesis.json."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Let a new node's chain begin with a snapshot, checked from genesis on; it must not run.

    The folder is one that `aitbc node init` has just made. Exit code 33 when the file does not
    prove itself.
    """
    from aitbc.cli.node_folder import note_progress
    from node import folder
    from node.snapshot_restore import restore

    begin = time.monotonic()
    settings = load_node_settings(data, {})
    genesis = folder.open_genesis(data)
    if genesis_file is not None and folder.read_genesis(genesis_file.read_bytes()) != genesis:
        raise CommandError(
            f"{data} is a folder of another chain than {genesis_file}",
            ExitCode.WRONG_CHAIN,
            f"aitbc genesis hash {genesis_file}",
        )
    lock = folder.FolderLock(data)
    try:
        restored = restore(settings, genesis, file, note_progress("entry", note))
    finally:
        lock.release()
    record = {**_describe(restored), "seconds": round(time.monotonic() - begin, 2)}
    print_record(record, as_json=as_json)
    note(f"the chain begins with block {restored.height} here; the node fetches what follows")
    note(f"next:  aitbc node run --data {data}")


def roll_back_node(
    height: Annotated[
        int, typer.Argument(metavar="HEIGHT", min=0, help="The block that is the newest again.")
    ],
    data: Data,
    as_json: AsJson = False,
) -> None:
    """Go back to the block at HEIGHT and make its state anew; the node must not be running.

    Every block up to it is checked and executed again. The blocks above it are dropped, for the
    node to fetch again. Exit code 24 when the journal no longer holds what this node's key has
    signed above it.
    """
    from aitbc.cli.node_folder import note_progress
    from ledger.crypto import compute_public_key
    from node import folder
    from node.rollback import roll_back

    begin = time.monotonic()
    settings = load_node_settings(data, {})
    genesis = folder.open_genesis(data)
    public_key = compute_public_key(folder.open_seed(settings))
    progress = note_progress("block", note)
    lock = folder.FolderLock(data)
    try:
        done = roll_back(
            settings, genesis, public_key, height, lambda block: progress(block, height)
        )
    finally:
        lock.release()
    record = {
        "height": done.head.height,
        "state_root": done.head.state_root.hex(),
        "removed_blocks": done.removed_blocks,
        "waiting_again": done.waiting_again,
        "entries": done.entries,
        "seconds": round(time.monotonic() - begin, 2),
    }
    print_record(record, as_json=as_json)


def _describe(snapshot: Any) -> dict[str, object]:
    return {
        "height": snapshot.height,
        "block_hash": snapshot.block_hash.hex(),
        "state_root": snapshot.state_root.hex(),
        "epoch": snapshot.epoch,
        "entries": snapshot.entries,
    }
