"""How a command ends badly: one shape for every failure, on stderr, with a documented exit code.

What each failure means to the user, and the command that comes next, stands here alone.
"""

from collections.abc import Mapping
from typing import Any, Final

import typer
from typer.core import TyperGroup

from aitbc.cli.profile_option import add_option
from aitbc.errors import (
    AITBCError,
    APIError,
    AuthenticationError,
    BadRequestError,
    ConflictError,
    ConnectionFailedError,
    GoneError,
    InsufficientBalanceError,
    InvalidAnswerError,
    InvalidJobTypeError,
    InvalidReceiptError,
    JobFailedError,
    JobNotCompletedError,
    MisdirectedError,
    NoCapableMinerError,
    NotFoundError,
    OfferNotAvailableError,
    PermissionDeniedError,
    RateLimitError,
    RequestTimeoutError,
    ServerError,
    SignatureNeededError,
    SigningRefusedError,
    TooLargeError,
    UnprocessableError,
    WaitTimeoutError,
)
from ledger.rejection import Rejected
from node.exit_codes import ExitCode, OperatorError

_NEXT_STEPS: Final = {
    ExitCode.CONFIGURATION: "aitbc node config --data DIR, or aitbc node init --help",
    ExitCode.DATABASE_KEY_MISSING: "put the key file back, then the same command",
    ExitCode.DATABASE_KEY_WRONG: "find the key that this file was encrypted under",
    ExitCode.KEY_FILE_PERMISSIONS: "chmod 600 that file, then the same command",
    ExitCode.DATABASE_PLAIN_TEXT: "restore an encrypted backup: docs/operations.md",
    ExitCode.DATABASE_ENGINE_UNSAFE: "install the locked packages: make setup",
    ExitCode.DATABASE_DAMAGED: "restore a backup: docs/operations.md",
    ExitCode.DATA_FOLDER_LOCKED: "stop the other process, then the same command",
    ExitCode.WRONG_CHAIN: "aitbc genesis hash DIR, and compare with the chain's operators",
    ExitCode.VERIFYING_KEY_REFUSED: "aitbc ceremony verify --help",
    ExitCode.SIGN_STATE_MISSING_OR_OLD: "docs/operations.md, Backup, before --accept-lost-votes",
    ExitCode.CONFLICTING_SIGNATURE_SEEN: "stop every other copy of this node's key",
    ExitCode.ROLLBACK_REFUSED: "docs/operations.md, Going back",
    ExitCode.VERIFICATION_FAILED: "restore a backup: docs/operations.md",
}


_OTHER_NODE: Final = "aitbc node status, or name another node: aitbc profile use NAME"

_MEANINGS: Final[Mapping[type, tuple[ExitCode, str]]] = {
    AITBCError: (ExitCode.UNEXPECTED, "check that this is an AITBC node: aitbc node status"),
    ConnectionFailedError: (
        ExitCode.API_UNREACHABLE,
        "aitbc devnet --validators 1 --data .devnet starts a node; AITBC_API_URL names another",
    ),
    RequestTimeoutError: (ExitCode.TIMED_OUT, "aitbc node status"),
    WaitTimeoutError: (ExitCode.TIMED_OUT, "aitbc jobs wait JOB, aitbc node status"),
    InvalidAnswerError: (ExitCode.UNEXPECTED, _OTHER_NODE),
    JobFailedError: (ExitCode.JOB_NOT_COMPLETED, "aitbc jobs get JOB"),
    InvalidReceiptError: (
        ExitCode.VERIFICATION_FAILED,
        "aitbc receipt export RECEIPT, for another",
    ),
    SigningRefusedError: (ExitCode.API_REFUSED, _OTHER_NODE),
    APIError: (ExitCode.API_REFUSED, "correct the request; the command with --help"),
    BadRequestError: (ExitCode.API_REFUSED, "aitbc registry schema SERVICE"),
    UnprocessableError: (ExitCode.API_REFUSED, "aitbc registry schema SERVICE"),
    SignatureNeededError: (
        ExitCode.API_REFUSED,
        "the same command with --key NAME, of aitbc keys list",
    ),
    InvalidJobTypeError: (ExitCode.API_REFUSED, "aitbc registry search"),
    AuthenticationError: (
        ExitCode.API_REFUSED,
        "set AITBC_API_KEY, or aitbc profile add; the node's operator: aitbc api-keys new",
    ),
    PermissionDeniedError: (
        ExitCode.API_REFUSED,
        "a key of that role: set AITBC_API_KEY, or aitbc profile use NAME",
    ),
    InsufficientBalanceError: (ExitCode.API_REFUSED, "aitbc account ADDRESS"),
    NotFoundError: (
        ExitCode.API_REFUSED,
        "aitbc jobs list, aitbc files list or the like, with the owner's API key",
    ),
    ConflictError: (ExitCode.API_REFUSED, "aitbc jobs get JOB"),
    JobNotCompletedError: (ExitCode.API_REFUSED, "aitbc jobs wait JOB"),
    NoCapableMinerError: (ExitCode.API_REFUSED, "aitbc offers list"),
    GoneError: (ExitCode.API_REFUSED, "aitbc jobs get JOB"),
    OfferNotAvailableError: (ExitCode.API_REFUSED, "aitbc offers list"),
    TooLargeError: (ExitCode.API_REFUSED, "aitbc files upload FILE, and its id in the request"),
    MisdirectedError: (
        ExitCode.API_REFUSED,
        "aitbc profile add NAME --url ADDRESS, with the address above",
    ),
    RateLimitError: (ExitCode.API_REFUSED, "the same command in a minute"),
    ServerError: (ExitCode.API_UNREACHABLE, "aitbc node status"),
}
"""The nearest class of an error says what it means."""


class CommandError(Exception):
    """A command cannot do what was asked; `next_step` is what to run now."""

    def __init__(self, message: str, code: ExitCode, next_step: str) -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.next_step = next_step


class Commands(TyperGroup):
    """A group of commands whose failures are explained on stderr and become exit codes."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        add_option(self.commands.values())

    def invoke(self, ctx: Any) -> Any:
        path = ctx.command_path
        try:
            return super().invoke(ctx)
        except CommandError as error:
            failure = error
        except AITBCError as error:
            failure = explain_failure(error)
        except OperatorError as error:
            code = error.exit_code
            failure = CommandError(str(error), code, _NEXT_STEPS.get(code, f"{path} --help"))
        except Rejected as error:
            failure = CommandError(str(error), ExitCode.USAGE, f"{path} --help")
        except ModuleNotFoundError as error:
            # A bare installation holds every command and what only some of them need is an extra.
            failure = CommandError(
                f"this needs the package {error.name}, which is not installed",
                ExitCode.CONFIGURATION,
                "pip install 'aitbc[node,miner]', then the same command",
            )
        except BrokenPipeError:
            raise
        except OSError as error:
            failure = CommandError(str(error), ExitCode.UNEXPECTED, f"{path} --help")
        except _import_keystore_error() as error:
            failure = _explain_keystore(error)
        typer.echo(f"error: {failure.message}", err=True)
        typer.echo(f"next:  {failure.next_step}", err=True)
        raise typer.Exit(int(failure.code))


def _import_keystore_error() -> type[Exception]:
    """Return the keystore's error; called only once something failed, so help stays quick."""
    from ledger.keystore import KeystoreError

    return KeystoreError


def _explain_keystore(error: Exception) -> CommandError:
    from ledger import keystore

    code = ExitCode.CONFIGURATION
    match error:
        case keystore.LoosePermissionsError():
            code = ExitCode.KEY_FILE_PERMISSIONS
            next_step = "chmod 600 that file, then the same command"
        case keystore.KeyMissingError():
            next_step = "aitbc keys list"
        case keystore.KeyExistsError():
            next_step = "choose another name or file"
        case keystore.WrongPasswordError():
            next_step = "the same command with --password-file FILE"
        case _:
            next_step = "aitbc keys --help"
    return CommandError(str(error), code, next_step)


def explain_failure(error: AITBCError) -> CommandError:
    """Return what a failure of the SDK means: the exit code and the next command."""
    code, next_step = next(_MEANINGS[kind] for kind in type(error).__mro__ if kind in _MEANINGS)
    message = str(error)
    if isinstance(error, APIError):
        message += "".join(f"\n  {problem}" for problem in error.errors)
    if isinstance(error, RateLimitError) and error.retry_after is not None:
        next_step = f"the same command in {error.retry_after:.0f} s"
    return CommandError(message, code, next_step)
