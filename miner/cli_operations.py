"""What an operator asks of a miner beside `run`: can it, how fast, for what, and to drain."""

import asyncio
import logging
import sys
from typing import Annotated, Any, Final

import msgspec
import pydantic
import structlog
import typer

from aitbc.cli.output import AsJson, note, print_json, print_table
from aitbc.client import AITBCClient
from miner import cli_options
from miner.bench import BenchFailedError, measure
from miner.doctor.examine import examine
from miner.doctor.report import Report, State, describe_settings
from miner.draining import DrainFailedError, StillRunningError, drain
from miner.earnings import COLUMNS, read_earnings
from miner.kinds import choose_kinds
from miner.models import ModelStore, load_packaged_lock
from miner.money import format_ait
from miner.run import ExitCode
from miner.settings import NO_ACCOUNT, NO_KEY, load_settings

FIGURES: Final = (
    "kind", "device", "start", "first_answer", "job", "speed", "memory", "energy", "ait_per_hour"
)  # fmt: skip


def examine_machine(
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
    as_json: AsJson = False,
) -> None:
    """Say what this machine lacks to run the named kinds of job, and how to get it.

    Settings and flags are those of `run`. Nothing is fetched, written or sent to the chain. Exit
    codes: 0 `run` would come up, 3 something is missing or the settings do not read.
    """
    _quieten_logs()
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
            device=device,
            pool=pool,
            concurrency=concurrency,
        )
    except pydantic.ValidationError as error:
        _print_report(describe_settings(cli_options.describe_problems(error)), as_json=as_json)
        raise typer.Exit(ExitCode.CONFIGURATION) from None
    except (OSError, ValueError) as error:
        _print_report(describe_settings([str(error)]), as_json=as_json)
        raise typer.Exit(ExitCode.CONFIGURATION) from None
    report = asyncio.run(examine(settings))
    _print_report(report, as_json=as_json)
    if not report.can_run:
        raise typer.Exit(ExitCode.CONFIGURATION)


def _quieten_logs() -> None:
    """What engines log while they come up is not what was asked for; their warnings are."""
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )


def _print_report(report: Report, *, as_json: bool) -> None:
    rows = [msgspec.to_builtins(check) for check in report.checks]
    if as_json:
        print_json({"can_run": report.can_run, "checks": rows})
        return
    print_table("checks", ("state", "subject", "name", "found"), rows, as_json=False)
    remedies = [
        f"{check.subject}, {check.name}:  {check.remedy}"
        for check in report.checks
        if check.state is not State.OK and check.remedy
    ]
    for remedy in dict.fromkeys(remedies):
        note(remedy)


def measure_machine(
    config: cli_options.Config = None,
    kind: cli_options.Kinds = None,
    text_endpoint: cli_options.TextEndpoint = None,
    device: cli_options.Device = None,
    runs: Annotated[
        int, typer.Option("--runs", min=1, max=100, help="How often each kind's job is run.")
    ] = 3,
    as_json: AsJson = False,
) -> None:
    """Measure this machine: a small real job of each kind, with the engine that `run` would use.

    Needs no account and no node; models that are missing are fetched. Exit codes: 0 every kind was
    measured, 3 one could not be, or the settings do not read.
    """
    _quieten_logs()
    settings = cli_options.read_settings(
        config,
        **NO_ACCOUNT,
        kinds=kind or None,
        text_endpoint=text_endpoint,
        device=device,
    )
    if settings.pool is not None:
        note(f"these are the figures of this machine, not of {settings.pool}'s: measure there")
    store = ModelStore(settings.models_folder, load_packaged_lock())
    rows: list[dict[str, Any]] = []
    failures: dict[str, str] = {}
    for name in choose_kinds(settings, store):
        note(f"measuring {name}")
        try:
            rows.append(msgspec.to_builtins(asyncio.run(measure(name, settings, runs))))
        except BenchFailedError as error:
            failures[name] = str(error)
    if as_json:
        print_json({"figures": rows, "failures": failures})
    else:
        print_table("figures", FIGURES, map(_shorten, rows), as_json=False)
    for name, reason in failures.items():
        typer.echo(f"error: {name}: {reason}", err=True)
    if failures:
        raise typer.Exit(ExitCode.CONFIGURATION)


def _shorten(row: dict[str, Any]) -> dict[str, Any]:
    """Return a kind's figures as people read them."""
    memory, joules = row["memory"], row["energy_joules"]
    return {
        **row,
        "start": f"{row['start']:.2f} s",
        "first_answer": f"{row['first_answer']:.2f} s",
        "job": f"{row['job']:.2f} s",
        "speed": f"{row['units_per_second']} {row['unit']}/s",
        "memory": None if memory is None else f"{memory / 10**6:.0f} MB",
        "energy": None if joules is None else f"{joules / row['runs']:.0f} J a job",
    }


def show_earnings(
    config: cli_options.Config = None,
    miner_id: cli_options.MinerId = None,
    api_url: cli_options.ApiUrls = None,
    limit: Annotated[int, typer.Option("--limit", min=1, max=10_000)] = 50,
    cursor: Annotated[
        str | None, typer.Option("--cursor", help="Go on where the page before ended.")
    ] = None,
    every: Annotated[
        bool, typer.Option("--all", help="All that there are, without limit.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """List what the miner earned, newest first: receipt, transaction and block of each.

    `aitbc receipt export RECEIPT` makes of one of them a file that anybody can check.
    """
    settings = cli_options.read_settings(
        config, miner_id=miner_id, api_urls=api_url or None, key_file=NO_KEY
    )
    with AITBCClient(settings.api_urls, settings.api_key.get_secret_value()) as client:
        page = read_earnings(
            client, settings.miner_id, limit=None if every else limit, cursor=cursor
        )
    if as_json:
        print_json(msgspec.to_builtins(page))
        return
    print_table("earnings", COLUMNS, page.earnings, as_json=False)
    note(
        f"{len(page.earnings)} of {page.total}: {format_ait(page.earned_base)} of "
        f"{format_ait(page.total_earned_base)} AIT"
    )
    if page.next_cursor is not None:
        note(f"next:  the same command with --cursor {page.next_cursor}")


def drain_miner(
    config: cli_options.Config = None,
    data_folder: cli_options.DataFolder = None,
    timeout: Annotated[
        float | None, typer.Option("--timeout", min=0, help="Seconds to wait (default: no end).")
    ] = None,
) -> None:
    """Have a running miner take no new jobs, and wait until it has ended.

    It is found by its data folder. It ends once every job is run and every result is settled; what
    it waits for is said. Exit codes: 0 it has ended and owes nothing, 3 it could not be told, or
    ended and left work in its spool, 34 it has not ended in time.
    """
    folder = cli_options.find_data_folder(config, data_folder)
    try:
        drain(folder, timeout, _say_what_is_left)
    except (DrainFailedError, StillRunningError) as error:
        typer.echo(f"error: {error}", err=True)
        is_late = isinstance(error, StillRunningError)
        raise typer.Exit(ExitCode.TIMED_OUT if is_late else ExitCode.CONFIGURATION) from None
    note("it has ended, and owes nothing")


def _say_what_is_left(waiting: list[str]) -> None:
    jobs = f"{len(waiting)} jobs: {', '.join(waiting)}" if waiting else "its shutdown"
    note(f"it takes no new jobs, and waits for {jobs}")
