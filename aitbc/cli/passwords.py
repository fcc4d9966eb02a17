"""Where a secret that is typed comes from: a file, the environment or a prompt; never argv.

Other users of a machine can read the arguments of every process, and a shell keeps them.
"""

import os
import stat
import sys
from pathlib import Path
from typing import Annotated, Final

import typer

from aitbc.cli.failures import CommandError
from node.exit_codes import ExitCode

PASSWORD_VARIABLE: Final = "AITBC_KEYSTORE_PASSWORD"
PASSWORD_FILE_VARIABLE: Final = "AITBC_KEYSTORE_PASSWORD_FILE"
MAX_PASSWORD_BYTES: Final = 1_024

PasswordFile = Annotated[
    Path | None,
    typer.Option(
        "--password-file",
        envvar=PASSWORD_FILE_VARIABLE,
        help="File whose first line is the password; - is stdin. "
        f"Without it: {PASSWORD_VARIABLE}, then a prompt.",
    ),
]


def get_password(file: Path | None, *, is_new: bool = False) -> bytes:
    """Return the keystore's password; a prompt asks twice for a new one."""
    if file is not None:
        return _check(read_secret_line(file), str(file))
    if PASSWORD_VARIABLE in os.environ:
        return _check(os.environ[PASSWORD_VARIABLE].encode(), PASSWORD_VARIABLE)
    if not sys.stdin.isatty():
        raise CommandError(
            "a password is needed and nobody is at the terminal",
            ExitCode.USAGE,
            f"set {PASSWORD_VARIABLE}, or give --password-file FILE",
        )
    typed: str = typer.prompt("Password", hide_input=True, confirmation_prompt=is_new, err=True)
    return _check(typed.encode(), "the prompt")


def read_secret_line(path: Path, limit: int = MAX_PASSWORD_BYTES) -> bytes:
    """Return the first line of a secret file, or of stdin for `-`, without its line end."""
    if str(path) == "-":
        line = sys.stdin.buffer.readline(limit + 2)
    else:
        with path.open("rb") as file:
            status = os.fstat(file.fileno())
            # A pipe is only for whom it was opened; a file is for whom its mode says.
            if stat.S_ISREG(status.st_mode) and status.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
                from ledger.keystore import LoosePermissionsError

                mode = stat.S_IMODE(status.st_mode)
                raise LoosePermissionsError(f"{path} has mode {mode:04o}; others must not read it")
            line = file.readline(limit + 2)
    line = line.rstrip(b"\r\n")
    if len(line) > limit:
        raise CommandError(
            f"the first line of {path} is over {limit} bytes", ExitCode.USAGE, f"check {path}"
        )
    return line


def _check(password: bytes, source: str) -> bytes:
    if not password:
        raise CommandError(f"the password of {source} is empty", ExitCode.USAGE, "set a password")
    return password
