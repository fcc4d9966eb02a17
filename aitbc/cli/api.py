"""How a command reaches a node's HTTP API, and what each failure of it means to the user."""

import os
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from aitbc.cli.failures import CommandError
from aitbc.errors import (
    AITBCError,
    APIError,
    AuthenticationError,
    ConnectionFailedError,
    InsufficientBalanceError,
    JobFailedError,
    JobNotCompletedError,
    NotFoundError,
    RateLimitError,
    RequestTimeoutError,
    ServerError,
    WaitTimeoutError,
)
from node.exit_codes import ExitCode

DEFAULT_URL: Final = "http://127.0.0.1:8001"
KEY_VARIABLE: Final = "AITBC_API_KEY"

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


def open_client(url: str, key_file: Path | None = None, *, needs_key: bool = True) -> Any:
    """Return the SDK's client for a command: a context manager. Raises `CommandError`."""
    from aitbc.cli.passwords import read_secret_line
    from aitbc.client import AITBCClient

    key = os.environ.get(KEY_VARIABLE) or None
    if key_file is not None:
        key = read_secret_line(key_file).decode("ascii", "replace")
    if key is None and needs_key:
        raise CommandError(
            "this command needs an API key",
            ExitCode.USAGE,
            f"set {KEY_VARIABLE} (a development network writes its keys to devnet.json)",
        )
    try:
        return AITBCClient(base_url=url, api_key=key)
    except ValueError as error:
        raise CommandError(str(error), ExitCode.USAGE, "check AITBC_API_URL") from None


def explain_failure(error: AITBCError) -> CommandError:
    """Return what a failure of the SDK means: the exit code and the next command."""
    match error:
        case RequestTimeoutError() | WaitTimeoutError():
            return CommandError(str(error), ExitCode.TIMED_OUT, "aitbc node status")
        case ConnectionFailedError():
            return CommandError(
                f"no answer from the API: {error}",
                ExitCode.API_UNREACHABLE,
                "start a node (aitbc devnet --validators 1 --data .devnet) or set AITBC_API_URL",
            )
        case JobFailedError():
            return CommandError(str(error), ExitCode.JOB_NOT_COMPLETED, "aitbc jobs get JOB")
        case AuthenticationError():
            return CommandError(
                str(error), ExitCode.API_REFUSED, f"set {KEY_VARIABLE}; aitbc api-keys --help"
            )
        case InsufficientBalanceError():
            return CommandError(str(error), ExitCode.API_REFUSED, "aitbc account ADDRESS")
        case NotFoundError():
            return CommandError(
                str(error), ExitCode.API_REFUSED, "aitbc jobs list (with the owner's API key)"
            )
        case JobNotCompletedError():
            return CommandError(str(error), ExitCode.API_REFUSED, "aitbc jobs wait JOB")
        case RateLimitError():
            seconds = f"{error.retry_after:.0f}" if error.retry_after is not None else "60"
            return CommandError(
                str(error), ExitCode.API_REFUSED, f"wait {seconds} s, then the same command"
            )
        case ServerError():
            return CommandError(str(error), ExitCode.API_UNREACHABLE, "aitbc node status")
        case APIError():
            problems = "".join(f"\n  {problem}" for problem in error.errors)
            return CommandError(f"{error}{problems}", ExitCode.API_REFUSED, "correct the request")
        case _:
            return CommandError(
                str(error), ExitCode.UNEXPECTED, "check that AITBC_API_URL is an AITBC node"
            )
