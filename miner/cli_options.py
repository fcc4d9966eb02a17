"""Decides what every command of a miner takes: the same settings, by the same flags."""

from pathlib import Path
from typing import Annotated, Any

import pydantic
import typer

from miner.run import ExitCode
from miner.settings import NO_ACCOUNT, MinerSettings, load_settings

Config = Annotated[Path | None, typer.Option("--config", help="TOML file of settings.")]
MinerId = Annotated[str | None, typer.Option("--miner-id", help="The miner's name on the chain.")]
ApiUrls = Annotated[
    list[str] | None, typer.Option("--api-url", help="A node's address; several are tried in turn.")
]
KeyFile = Annotated[
    Path | None, typer.Option("--key-file", help="The account's key: a keystore file.")
]
KeyPasswordFile = Annotated[
    Path | None, typer.Option("--key-password-file", help="File with the key's password.")
]
DataFolder = Annotated[Path | None, typer.Option("--data", help="Where unfinished work rests.")]
Kinds = Annotated[
    list[str] | None, typer.Option("--kind", help="A kind of job to run; several may be named.")
]
TextEndpoint = Annotated[
    str | None,
    typer.Option("--text-endpoint", help="An OpenAI-compatible server to run text jobs on."),
]
Device = Annotated[
    str | None,
    typer.Option("--device", help="What engines compute on: auto, cpu, cuda:0, cuda:1, …"),
]
Pool = Annotated[
    str | None,
    typer.Option("--pool", help="A Ray cluster of yours to run the engines on: ray://HOST:PORT."),
]
Concurrency = Annotated[int | None, typer.Option("--concurrency", help="Jobs at a time.")]


def read_settings(config: Path | None, **flags: Any) -> MinerSettings:
    """Return the settings; what is wrong with them is said, and ends the command."""
    try:
        return load_settings(config, **flags)
    except pydantic.ValidationError as error:
        for problem in describe_problems(error):
            typer.echo(f"error: {problem}", err=True)
        raise typer.Exit(ExitCode.CONFIGURATION) from None
    except (OSError, ValueError) as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(ExitCode.CONFIGURATION) from None


def describe_problems(error: pydantic.ValidationError) -> list[str]:
    """Return a sentence for each setting that makes no sense, without what it was set to."""
    return [
        f"{'.'.join(map(str, problem['loc']))}: {problem['msg']}"
        for problem in error.errors(include_input=False, include_url=False)
    ]


def find_data_folder(config: Path | None, given: Path | None) -> Path:
    """Return the data folder that the flags, the environment or the file name, or the usual one."""
    if given is not None:
        return given
    return read_settings(config, **NO_ACCOUNT).data_folder
