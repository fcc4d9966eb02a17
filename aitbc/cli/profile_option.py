"""The option `--profile`, which every command has that goes to a node's API.

Added where commands are gathered, not declared by each: it says nothing that a command's own
function would have to know.
"""

from collections.abc import Iterable
from contextvars import ContextVar
from typing import Annotated, Any, Final

import typer
from typer.main import get_command

VARIABLE: Final = "AITBC_PROFILE"

_chosen: ContextVar[tuple[Any, str | None]] = ContextVar("chosen", default=(None, None))


def _remember(context: typer.Context, name: str | None) -> str | None:
    _chosen.set((context, name))
    return name


def _carry(
    profile: Annotated[
        str | None,
        typer.Option(
            "--profile",
            envvar=VARIABLE,
            metavar="NAME",
            callback=_remember,
            help="A node of `aitbc profile list`; default: the one in use.",
        ),
    ] = None,
) -> None:
    """Only the option is taken of this."""


def add_option(commands: Iterable[Any]) -> None:
    """Give `--profile` to the commands among these that have `--api-url`."""
    for command in commands:
        names = {parameter.name for parameter in command.params}
        if "api_url" in names and "profile" not in names:
            carrier = typer.Typer(add_completion=False)
            carrier.command()(_carry)
            (option,) = get_command(carrier).params
            option.expose_value = False
            command.params.append(option)


def get_source(parameter: str) -> str:
    """Return where an option of the running command comes from: COMMANDLINE, ENVIRONMENT, …"""
    context, _ = _chosen.get()
    source = None if context is None else context.get_parameter_source(parameter)
    return "DEFAULT" if source is None else str(source.name)


def get_name() -> str | None:
    """Return the profile that the running command was told to use."""
    return _chosen.get()[1]
