"""How a command reaches a node's HTTP API: its address, the key, the client."""

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Final, NamedTuple

import typer

from aitbc.cli.failures import CommandError
from aitbc.cli.passwords import read_secret_line
from aitbc.cli.profile_option import get_name, get_source
from aitbc.cli.profile_store import choose_profile
from node.exit_codes import ExitCode

DEFAULT_URL: Final = "http://127.0.0.1:8001"
KEY_VARIABLE: Final = "AITBC_API_KEY"

# A person is waiting at the terminal: the SDK's patience is for programs.
_RETRIES: Final[dict[str, Any]] = {"attempts": 3, "first_delay": 0.2, "longest_delay": 1.0}

ApiUrl = Annotated[
    str, typer.Option("--api-url", envvar="AITBC_API_URL", help="Address of the node's API.")
]
ApiKeyFile = Annotated[
    Path | None,
    typer.Option(
        "--api-key-file",
        envvar="AITBC_API_KEY_FILE",
        help=f"File whose first line is the API key; without it {KEY_VARIABLE}.",
    ),
]


class Access(NamedTuple):
    """Where a command goes, and with which key."""

    url: str
    key: str | None


def choose_access(url: str, key_file: Path | None, *, needs_key: bool) -> Access:
    """Return the address and the key to use. Raises `CommandError`.

    What the command line says goes first, then a profile that is named (--profile, AITBC_PROFILE),
    then the environment, then the profile in use.
    """
    name = get_name()
    profile, is_named = choose_profile(name), name is not None
    source = get_source("api_url")
    if profile is not None and (source == "DEFAULT" or (is_named and source == "ENVIRONMENT")):
        url = profile.url
    given = os.environ.get(KEY_VARIABLE) or None
    if key_file is not None:
        given = read_secret_line(key_file).decode("ascii", "replace")
    kept = profile.key if profile is not None and profile.url == url else None
    goes_first = is_named and get_source("api_key_file") != "COMMANDLINE"
    key = (kept or given) if goes_first else (given or kept)
    if key is None and needs_key:
        raise CommandError(
            "this command needs an API key",
            ExitCode.USAGE,
            f"aitbc profile add NAME --url {url}, or set {KEY_VARIABLE} (a development network "
            "writes its keys to devnet.json)",
        )
    return Access(url, key)


def open_client(
    url: str, key_file: Path | None = None, *, needs_key: bool = True, wallet: Any = None
) -> Any:
    """Return the SDK's client, a context manager; it signs where it has a wallet.

    Raises `CommandError`.
    """
    from aitbc.client import AITBCClient
    from aitbc.exchange import RetryPolicy

    access = choose_access(url, key_file, needs_key=needs_key)
    try:
        retries = RetryPolicy(**_RETRIES)
        return AITBCClient(access.url, access.key, wallet=wallet, retries=retries)
    except ValueError as error:
        raise CommandError(str(error), ExitCode.USAGE, "check AITBC_API_URL") from None


@contextmanager
def open_transport(url: str, key_file: Path | None) -> Iterator[Callable[..., Any]]:
    """Yield `send(method, path, *, query, body)` for what the SDK leaves to operators."""
    from aitbc.exchange import RetryPolicy, TransportSettings
    from aitbc.steps import Call
    from aitbc.transport import SyncTransport

    access = choose_access(url, key_file, needs_key=True)
    policy = RetryPolicy(**_RETRIES)
    try:
        transport = SyncTransport(access.url, TransportSettings(api_key=access.key, policy=policy))
    except ValueError as error:
        raise CommandError(str(error), ExitCode.USAGE, "check AITBC_API_URL") from None

    def send(
        method: str,
        path: str,
        *,
        query: Mapping[str, str | int] | None = None,
        body: object | None = None,
    ) -> Any:
        return transport.send(Call(method, path, lambda value: value, query or {}, body))

    try:
        yield send
    finally:
        transport.close()
