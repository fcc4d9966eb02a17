"""The exit codes of the node and the `aitbc` command, and the error that carries one.

A number is part of the interface: scripts and service managers branch on it, so none is reused.
"""

from enum import IntEnum


class ExitCode(IntEnum):
    """How a process of ours ended."""

    OK = 0
    UNEXPECTED = 1
    USAGE = 2
    CONFIGURATION = 3
    DATABASE_KEY_MISSING = 10
    DATABASE_KEY_WRONG = 11
    KEY_FILE_PERMISSIONS = 12
    DATABASE_PLAIN_TEXT = 13
    DATABASE_ENGINE_UNSAFE = 14
    DATABASE_DAMAGED = 15
    DATA_FOLDER_LOCKED = 16
    WRONG_CHAIN = 17
    VERIFYING_KEY_REFUSED = 20
    SIGN_STATE_MISSING_OR_OLD = 21
    CONFLICTING_SIGNATURE_SEEN = 22
    DIVERGED = 23
    ROLLBACK_REFUSED = 24
    API_UNREACHABLE = 30
    API_REFUSED = 31
    JOB_NOT_COMPLETED = 32
    VERIFICATION_FAILED = 33
    TIMED_OUT = 34
    CANNOT_SAY = 35


class OperatorError(Exception):
    """The process must not go on, for a reason that its operator can mend; one clear sentence."""

    exit_code = ExitCode.CONFIGURATION
