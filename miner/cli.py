"""`aitbc miner`: run a miner, fetch its models ahead of time, and what operators ask of it."""

import asyncio
import json
from pathlib import Path
from typing import Annotated

import typer

from miner import cli_operations, cli_options
from miner.kinds import KINDS, find_missing_package
from miner.logs import configure_logs
from miner.models import (
    ModelMissingError,
    ModelStore,
    choose_folder,
    load_packaged_lock,
    report_steps,
)
from miner.run import ExitCode, run_miner

app = typer.Typer(
    no_args_is_help=True, help="A worker: run jobs for money with this machine's models."
)


@app.command("run")
def run(
    config: cli_options.Config = None,
    miner_id: cli_options.MinerId = None,
    api_url: cli_options.ApiUrls = None,
    key_file: cli_options.KeyFile = None,
    key_password_file: cli_options.KeyPasswordFile = None,
    data_folder: cli_options.DataFolder = None,
    kind: cli_options.Kinds = None,
    text_endpoint: cli_options.TextEndpoint = None,
    device: cli_options.Device = None,
    pool: cli_options.Pool = None,
    concurrency: cli_options.Concurrency = None,
    log_json: Annotated[
        bool | None, typer.Option("--log-json/--log-text", help="How log lines are written.")
    ] = None,
) -> None:
    """Mine until Ctrl-C or SIGTERM; running jobs end or go back within 8 seconds.

    Every setting is also read from AITBC_MINER_<NAME> (the API key only from there or the file).
    `aitbc miner drain` ends it once no job is left. Exit codes: 0 ended as asked, 3 configuration,
    12 a key file that others may read, 16 the data folder is another miner's, 20 the proving key is
    not the chain's.
    """
    settings = cli_options.read_settings(
        config,
        miner_id=miner_id,
        api_urls=api_url or None,
        key_file=key_file,
        key_password_file=key_password_file,
        data_folder=data_folder,
        kinds=kind or None,
        text_endpoint=text_endpoint,
        device=device,
        pool=pool,
        concurrency=concurrency,
        log_json=log_json,
    )
    configure_logs(settings.miner_id, is_json=settings.log_json)
    raise typer.Exit(asyncio.run(run_miner(settings)))


@app.command("fetch")
def fetch(
    models: Annotated[
        list[str] | None,
        typer.Argument(help="Models' names or identities (default: of every kind installed)."),
    ] = None,
    models_folder: Annotated[
        Path | None, typer.Option("--models", help="Where models rest (default: the user's cache).")
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON document on stdout.")
    ] = False,
) -> None:
    """Fetch models and check them against their pinned hashes; prints their paths."""
    store = ModelStore(models_folder or choose_folder(), load_packaged_lock())
    installed = [
        kind.model for name, kind in KINDS.items() if kind.model and not find_missing_package(name)
    ]
    paths: dict[str, str] = {}
    for model in models or installed:
        try:
            paths[model] = str(_fetch(store, model))
        except ModelMissingError as error:
            typer.echo(f"error: {error}", err=True)
            raise typer.Exit(ExitCode.CONFIGURATION) from None
    typer.echo(json.dumps(paths) if as_json else "\n".join(paths.values()))


def _fetch(store: ModelStore, model: str) -> Path:
    def say(percent: int) -> None:
        typer.echo(f"{model}: {percent} %", err=True)

    return store.fetch(model, report_steps(say))


app.command("doctor")(cli_operations.examine_machine)
app.command("bench")(cli_operations.measure_machine)
app.command("drain")(cli_operations.drain_miner)
app.command("earnings")(cli_operations.show_earnings)
