"""`aitbc miner`: run a miner, or fetch its models ahead of time."""

import asyncio
import json
import logging
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Final

import pydantic
import structlog
import typer

from miner.kinds import KINDS, find_missing_package
from miner.models import ModelMissingError, ModelStore, choose_folder, load_packaged_lock
from miner.run import ExitCode, run_miner
from miner.settings import load_settings

app = typer.Typer(
    no_args_is_help=True, help="A worker: run jobs for money with this machine's models."
)

PERCENT_STEP: Final = 10


@app.callback()
def _group() -> None:
    """Keep `run` a subcommand."""


@app.command("run")
def run(
    config: Annotated[Path | None, typer.Option("--config", help="TOML file of settings.")] = None,
    miner_id: Annotated[
        str | None, typer.Option("--miner-id", help="The miner's name on the chain.")
    ] = None,
    api_url: Annotated[
        list[str] | None,
        typer.Option("--api-url", help="A node's address; several are tried in turn."),
    ] = None,
    key_file: Annotated[
        Path | None, typer.Option("--key-file", help="The account's key: a keystore file.")
    ] = None,
    key_password_file: Annotated[
        Path | None, typer.Option("--key-password-file", help="File with the key's password.")
    ] = None,
    data_folder: Annotated[
        Path | None, typer.Option("--data", help="Where unfinished work rests.")
    ] = None,
    kind: Annotated[
        list[str] | None,
        typer.Option("--kind", help="A kind of job to run; several may be named."),
    ] = None,
    text_endpoint: Annotated[
        str | None,
        typer.Option("--text-endpoint", help="An OpenAI-compatible server to run text jobs on."),
    ] = None,
    concurrency: Annotated[
        int | None, typer.Option("--concurrency", help="Jobs at a time.")
    ] = None,
    log_json: Annotated[
        bool | None, typer.Option("--log-json/--log-text", help="How log lines are written.")
    ] = None,
) -> None:
    """Mine until Ctrl-C or SIGTERM; running jobs end or go back within 8 seconds.

    Every setting is also read from AITBC_MINER_<NAME> (the API key only from there or the file).
    Exit codes: 0 ended as asked, 3 configuration, 12 a key file that others may read, 16 the data
    folder is another miner's, 20 the proving key is not the chain's.
    """
    try:
        settings = load_settings(
            config,
            miner_id=miner_id,
            api_urls=api_url or None,
            key_file=key_file,
            key_password_file=key_password_file,
            data_folder=data_folder,
            kinds=kind or None,
            text_endpoint=text_endpoint,
            concurrency=concurrency,
            log_json=log_json,
        )
    except pydantic.ValidationError as error:
        for problem in error.errors(include_input=False, include_url=False):
            name = ".".join(map(str, problem["loc"]))
            typer.echo(f"error: {name}: {problem['msg']}", err=True)
        raise typer.Exit(ExitCode.CONFIGURATION) from None
    except (OSError, ValueError) as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(ExitCode.CONFIGURATION) from None
    configure_logs(is_json=settings.log_json)
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
    installed = [kind.model for name, kind in KINDS.items() if find_missing_package(name) is None]
    paths: dict[str, str] = {}
    for model in models or installed:
        try:
            paths[model] = str(store.fetch(model, _report_progress(model)))
        except ModelMissingError as error:
            typer.echo(f"error: {error}", err=True)
            raise typer.Exit(ExitCode.CONFIGURATION) from None
    typer.echo(json.dumps(paths) if as_json else "\n".join(paths.values()))


def _report_progress(model: str) -> Callable[[int, int], None]:
    shown = -1

    def report(done: int, total: int) -> None:
        nonlocal shown
        step = 100 * done // max(1, total) // PERCENT_STEP
        if step > shown:
            shown = step
            typer.echo(f"{model}: {step * PERCENT_STEP} %", err=True)

    return report


def configure_logs(*, is_json: bool) -> None:
    """Write log lines to standard error, for people or for machines."""
    renderer: structlog.typing.Processor = (
        structlog.processors.JSONRenderer()
        if is_json
        else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    )
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
