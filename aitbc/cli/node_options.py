"""The options that the node's commands share, and how settings given by them are read."""

from pathlib import Path
from typing import Annotated, Any

import typer

from aitbc.cli.failures import CommandError
from node.exit_codes import ExitCode

Data = Annotated[Path, typer.Option("--data", envvar="AITBC_DATA", help="The node's data folder.")]
Setting = Annotated[
    list[str] | None, typer.Option("--set", help="NAME=VALUE over environment and config.toml.")
]


def parse_settings(texts: list[str] | None) -> dict[str, Any]:
    """Return the settings of `--set` options by name."""
    values = {}
    for text in texts or []:
        name, equals, value = text.partition("=")
        if not equals:
            raise CommandError(
                f"{text!r} is no setting: NAME=VALUE", ExitCode.USAGE, "aitbc node config --help"
            )
        values[name.replace("-", "_")] = value
    return values


def load_node_settings(data: Path, values: dict[str, Any]) -> Any:
    """Return the settings in force for a data folder."""
    from node.settings import InvalidSettings, load_settings

    try:
        return load_settings(data=data, **values)
    except InvalidSettings as error:
        raise CommandError(
            str(error), ExitCode.CONFIGURATION, f"correct {data}/config.toml or the environment"
        ) from None
