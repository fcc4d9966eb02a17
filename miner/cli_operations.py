"""What an operator asks of a miner beside `run`: drain."""

from typing import Annotated

import typer

from aitbc.cli.output import note
from miner import cli_options
from miner.draining import DrainFailedError, drain

FAILED = 1


def drain_miner(
    config: cli_options.Config = None,
    data_folder: cli_options.DataFolder = None,
    timeout: Annotated[
        float | None, typer.Option("--timeout", min=0, help="Seconds to wait (default: no end).")
    ] = None,
) -> None:
    """Have a running miner take no new jobs, and wait until it has ended.

    It is found by its data folder. It ends once every job is run and every result is settled; what
    it waits for is said. Exit codes: 0 it has ended and owes nothing, 1 it could not be told, has
    not ended in time, or ended and left work in its spool.
    """
    folder = cli_options.find_data_folder(config, data_folder)
    try:
        drain(folder, timeout, _say_what_is_left)
    except DrainFailedError as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(FAILED) from None
    note("it has ended, and owes nothing")


def _say_what_is_left(waiting: list[str]) -> None:
    jobs = f"{len(waiting)} jobs: {', '.join(waiting)}" if waiting else "its shutdown"
    note(f"it takes no new jobs, and waits for {jobs}")
