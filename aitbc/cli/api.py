"""How a command reaches a node's HTTP API: its address, the key, the client."""

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from aitbc.cli.failures import CommandError
from aitbc.cli.passwords import read_secret_line
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


def read_api_key(key_file: Path | None, *, is_needed: bool) -> str | None:
    """Return the API key of the file or the environment. Raises `CommandError`."""
    key = os.environ.get(KEY_VARIABLE) or None
    if key_file is not None:
        key = read_secret_line(key_file).decode("ascii", "replace")
    if key is None and is_needed:
        raise CommandError(
            "this command needs an API key",
            ExitCode.USAGE,
            f"set {KEY_VARIABLE} (a development network writes its keys to devnet.json)",
        )
    return key


def open_client(url: str, key_file: Path | None = None, *, needs_key: bool = True) -> Any:
    """Return the SDK's client, a context manager. Raises `CommandError`."""
    from aitbc.client import AITBCClient
    from aitbc.exchange import RetryPolicy

    key = read_api_key(key_file, is_needed=needs_key)
    try:
        return AITBCClient(base_url=url, api_key=key, retries=RetryPolicy(**_RETRIES))
    except ValueError as error:
        raise CommandError(str(error), ExitCode.USAGE, "check AITBC_API_URL") from None


@contextmanager
def open_transport(url: str, key_file: Path | None) -> Iterator[Callable[..., Any]]:
    """Yield `send(method, path, *, query, body)` for what the SDK leaves to operators."""
    from aitbc.exchange import RetryPolicy, TransportSettings
    from aitbc.steps import Call
    from aitbc.transport import SyncTransport

    key = read_api_key(key_file, is_needed=True)
    policy = RetryPolicy(**_RETRIES)
    try:
        transport = SyncTransport(url, TransportSettings(api_key=key, policy=policy))
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
