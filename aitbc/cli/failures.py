"""How a command ends badly: one shape for every failure, on stderr, with a documented exit code.

What each failure means to the user, and the command that comes next, stands here alone.
"""

from typing import Any, Final

import typer
from typer.core import TyperGroup

from aitbc.errors import (
    AITBCError,
    APIError,
    AuthenticationError,
    ConnectionFailedError,
    InsufficientBalanceError,
    JobAlreadyCompletedError,
    JobFailedError,
    JobNotCompletedError,
    NotFoundError,
    PermissionDeniedError,
    RateLimitError,
    RequestTimeoutError,
    ServerError,
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


class CommandError(Exception):
    """A command cannot do what was asked; `next_step` is what to run now."""

    def __init__(self, message: str, code: ExitCode, next_step: str) -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.next_step = next_step


class Commands(TyperGroup):
    """A group of commands whose failures are explained on stderr and become exit codes."""

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
                str(error), ExitCode.API_REFUSED, "set AITBC_API_KEY; aitbc api-keys --help"
            )
        case PermissionDeniedError():
            return CommandError(
                str(error), ExitCode.API_REFUSED, "set AITBC_API_KEY to a key of that role"
            )
        case JobAlreadyCompletedError():
            return CommandError(str(error), ExitCode.API_REFUSED, "aitbc jobs get JOB")
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
