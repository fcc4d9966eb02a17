"""`aitbc genesis`: write the document that names a chain, show one, and print its chain id."""

from pathlib import Path
from typing import Annotated

import typer

from aitbc.cli.failures import CommandError, Commands
from aitbc.cli.output import AsJson, note, print_json, print_record
from node.exit_codes import ExitCode

app = typer.Typer(
    cls=Commands,
    no_args_is_help=True,
    help="The document that a chain starts from: new, show, hash.",
)

GenesisFile = Annotated[Path, typer.Argument(help="A genesis.json, or a node's data folder.")]


@app.command("new")
def make_genesis(
    output: Annotated[Path, typer.Option("--output", "-o", help="File to write.")],
    name: Annotated[str, typer.Option("--name", help="Name of the chain.")],
    authority: Annotated[
        list[str],
        typer.Option("--authority", help="KEY or KEY:ADDRESS; the key as 64 hex digits."),
    ],
    allocation: Annotated[
        list[str], typer.Option("--allocation", help="ADDRESS=AIT: who owns what at the start.")
    ],
    verifying_key: Annotated[
        Path | None,
        typer.Option("--verifying-key", help="The ceremony's key (JSON); needed unless --dev."),
    ] = None,
    is_dev: Annotated[
        bool, typer.Option("--dev", help="A DEV chain: its proofs can be forged by anybody.")
    ] = False,
    start: Annotated[
        int | None, typer.Option("--time", min=0, help="Genesis time in seconds; default now.")
    ] = None,
    parameter: Annotated[
        list[str] | None,
        typer.Option("--parameter", help="NAME=VALUE of one of the chain's parameters."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Write a genesis document and print its chain id."""
    from aitbc.cli.genesis_file import build_genesis, format_chain_id
    from genesis.document import dump_genesis

    genesis = build_genesis(
        name=name,
        is_dev=is_dev,
        start=start,
        verifying_key=verifying_key,
        authorities=authority,
        allocations=allocation,
        parameters=parameter or [],
    )
    try:
        with output.open("xb") as file:
            file.write(dump_genesis(genesis))
    except FileExistsError:
        raise CommandError(
            f"{output} exists; a genesis is never overwritten",
            ExitCode.CONFIGURATION,
            f"aitbc genesis show {output}",
        ) from None
    _print_chain_id(format_chain_id(genesis), as_json=as_json)
    note(f"wrote {output}; next: aitbc node init --genesis {output} --data DIR")


@app.command("show")
def show_genesis(source: GenesisFile, as_json: AsJson = False) -> None:
    """Show a genesis document after checking it."""
    import json

    from aitbc.cli.genesis_file import format_chain_id, load_checked
    from aitbc.cli.money import format_ait
    from genesis.document import dump_genesis
    from ledger import crypto

    genesis = load_checked(source)
    if as_json:
        print_json({"chain_id": format_chain_id(genesis), **json.loads(dump_genesis(genesis))})
        return
    supply = sum(allocation.amount for allocation in genesis.allocations)
    record: dict[str, object] = {
        "chain_id": format_chain_id(genesis),
        "name": genesis.name,
        "kind": "DEV: its proofs can be forged by anybody" if genesis.is_dev else "production",
        "time_ms": genesis.time,
        "verifying_key": genesis.proof.key_id.hex(),
        "supply": f"{format_ait(supply)} AIT in {len(genesis.allocations)} accounts",
        "block_interval": f"{genesis.parameters.block_interval} ms",
    }
    for number, member in enumerate(genesis.authorities, 1):
        account = crypto.format_address(member.account)
        record[f"authority {number}"] = f"{member.key.hex()} paid to {account}"
    print_record(record, as_json=False)


@app.command("hash")
def hash_genesis(source: GenesisFile, as_json: AsJson = False) -> None:
    """Print the chain id of a genesis document: every node of a chain prints the same."""
    from aitbc.cli.genesis_file import format_chain_id, load_checked

    _print_chain_id(format_chain_id(load_checked(source)), as_json=as_json)


def _print_chain_id(chain_id: str, *, as_json: bool) -> None:
    if as_json:
        print_json({"chain_id": chain_id})
    else:
        print(chain_id)
