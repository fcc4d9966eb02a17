"""`aitbc profile`: nodes by name, each with its address and a key that is never an argument."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from aitbc.cli.failures import CommandError, Commands
from aitbc.cli.output import AsJson, note, print_record, print_table
from aitbc.cli.passwords import read_secret_line
from aitbc.cli.profile_store import (
    Profile,
    Profiles,
    check_profile,
    find_profile,
    get_path,
    load_profiles,
    save_profiles,
)
from node.exit_codes import ExitCode

app = typer.Typer(cls=Commands, no_args_is_help=True, help="Nodes by name: add, list, use, remove.")

ProfileName = Annotated[
    str, typer.Argument(metavar="NAME", help="Lower-case letters, digits, - and _.")
]


@app.command("add")
def add_profile(
    name: ProfileName,
    url: Annotated[str, typer.Option("--url", help="Address of the node's API.")],
    key_file: Annotated[
        Path | None,
        typer.Option("--key-file", help="File whose first line is the API key; - is stdin."),
    ] = None,
    has_key: Annotated[
        bool, typer.Option("--key/--no-key", help="Ask for a key where no file is named.")
    ] = True,
    as_json: AsJson = False,
) -> None:
    """Add a node under a name, or replace it; the first one is in use from then on."""
    key = _read_key(key_file) if key_file is not None or has_key else None
    try:
        profile = check_profile(Profile(name, url, key))
    except ValueError as error:
        raise CommandError(str(error), ExitCode.USAGE, "aitbc profile add --help") from None
    profiles = load_profiles()
    save_profiles(Profiles(profiles.current or name, {**profiles.by_name, name: profile}))
    _show(profile, profiles.current or name, as_json)


@app.command("list")
def list_profiles(as_json: AsJson = False) -> None:
    """List the profiles, without their keys."""
    profiles = load_profiles()
    rows = [_describe(profile, profiles.current) for profile in profiles.by_name.values()]
    print_table("profiles", ("name", "url", "has_key", "in_use"), rows, as_json=as_json)


@app.command("use")
def use_profile(name: ProfileName, as_json: AsJson = False) -> None:
    """Use a profile for every command that names no other."""
    profile = find_profile(name)
    save_profiles(load_profiles()._replace(current=name))
    _show(profile, name, as_json)


@app.command("remove")
def remove_profile(name: ProfileName, as_json: AsJson = False) -> None:
    """Remove a profile and its key."""
    profile = find_profile(name)
    profiles = load_profiles()
    rest = {each: found for each, found in profiles.by_name.items() if each != name}
    current = profiles.current if profiles.current != name else None
    save_profiles(Profiles(current, rest))
    _show(profile, current, as_json)


def _read_key(key_file: Path | None) -> str:
    if key_file is not None:
        return read_secret_line(key_file).decode("ascii", "replace")
    if not sys.stdin.isatty():
        raise CommandError(
            "a key is needed and nobody is at the terminal",
            ExitCode.USAGE,
            "give --key-file FILE, or --no-key",
        )
    key: str = typer.prompt("API key", hide_input=True, err=True)
    return key


def _describe(profile: Profile, current: str | None) -> dict[str, object]:
    return {
        "name": profile.name,
        "url": profile.url,
        "has_key": profile.key is not None,
        "in_use": profile.name == current,
    }


def _show(profile: Profile, current: str | None, as_json: bool) -> None:
    print_record(_describe(profile, current), as_json=as_json)
    note(f"in {get_path()}")
