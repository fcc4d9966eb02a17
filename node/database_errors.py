"""Why the database does not open: one class for each reason, each with its exit code."""

from node.exit_codes import ExitCode, OperatorError


class DatabaseError(OperatorError):
    """The database cannot be used. Nothing was changed when opening it raised this."""

    exit_code = ExitCode.UNEXPECTED


class DatabaseMissing(DatabaseError):
    """There is no database file where one should be."""

    exit_code = ExitCode.CONFIGURATION


class DatabaseExists(DatabaseError):
    """A file is already where a new one should be written; it is never overwritten."""

    exit_code = ExitCode.CONFIGURATION


class DatabaseKeyMissing(DatabaseError):
    """The database is to be encrypted and there is no key."""

    exit_code = ExitCode.DATABASE_KEY_MISSING


class DatabaseKeyWrong(DatabaseError):
    """The key does not open the database, or is not a key at all."""

    exit_code = ExitCode.DATABASE_KEY_WRONG


class KeyFilePermissions(DatabaseError):
    """The key file is readable by others, belongs to another user or is not a plain file."""

    exit_code = ExitCode.KEY_FILE_PERMISSIONS


class DatabasePlainText(DatabaseError):
    """A plain-text database lies where an encrypted one should be, or the chain forbids one."""

    exit_code = ExitCode.DATABASE_PLAIN_TEXT


class DatabaseEngineUnsafe(DatabaseError):
    """The SQLite build lacks encryption, or can corrupt a database in WAL mode."""

    exit_code = ExitCode.DATABASE_ENGINE_UNSAFE


class DatabaseDamaged(DatabaseError):
    """The file is not a whole database, or its content contradicts itself."""

    exit_code = ExitCode.DATABASE_DAMAGED


class DatabaseBusy(DatabaseError):
    """Another process has the database open."""

    exit_code = ExitCode.DATA_FOLDER_LOCKED


class DiskFull(DatabaseError):
    """Nothing more fits on the database's disk; nothing of the transaction was written."""


class DatabaseStopped(DatabaseError):
    """A commit failed, so what is on disk is uncertain until the process starts again."""


class WrongChain(DatabaseError):
    """The database holds another chain than the configured one."""

    exit_code = ExitCode.WRONG_CHAIN
