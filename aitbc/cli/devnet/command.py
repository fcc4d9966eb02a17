"""`aitbc devnet`: a whole network on this machine, in the foreground."""

from pathlib import Path
from typing import Annotated

import typer

from aitbc.cli.output import AsJson


def run(
    validators: Annotated[int, typer.Option("--validators", min=1, help="How many nodes.")] = 1,
    miners: Annotated[int, typer.Option("--miners", min=0, max=16, help="How many miners.")] = 1,
    data: Annotated[
        Path, typer.Option("--data", help="Folder of the network; started again, it goes on.")
    ] = Path(".devnet"),
    base_port: Annotated[
        int, typer.Option("--base-port", min=1, max=65_000, help="Port of the first node's API.")
    ] = 8001,
    block_interval_ms: Annotated[
        int | None,
        typer.Option(
            "--block-interval-ms", min=50, max=60_000, help="Of a new chain.  [default: 500]"
        ),
    ] = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Remove the old chain first.")] = False,
    as_json: AsJson = False,
) -> None:
    """Run validators and miners until Ctrl-C; DATA/devnet.json says where everything is.

    The chain is marked DEV: its proofs can be forged by anybody, and its keys lie in DATA.
    """
    from aitbc.cli.devnet.network import Wanted
    from aitbc.cli.devnet.supervisor import Options, run_devnet

    run_devnet(
        Options(
            folder=data.absolute(),
            wanted=Wanted(validators, miners, block_interval_ms),
            base_port=base_port,
            is_fresh=fresh,
            as_json=as_json,
        )
    )
