"""The database engine: which build is safe, how a connection is set up, whether a key fits.

A key is tested by reading the files alone. Letting SQLite try it would change them: with a wrong
key it still copies the write-ahead log into the database when it closes.
"""

import hmac
from collections.abc import Iterator
from hashlib import pbkdf2_hmac
from pathlib import Path
from typing import Any, Final

import sqlcipher3
from sqlalchemy import Connection

from node.database_errors import (
    DatabaseBusy,
    DatabaseDamaged,
    DatabaseEngineUnsafe,
    DatabaseKeyMissing,
    DatabaseKeyWrong,
    DatabaseMissing,
    DatabasePlainText,
    DiskFull,
)

RawConnection = Any
"""A `sqlcipher3` connection; the package ships no types."""

SAFE_SQLITE: Final = (3, 51, 3)
"""Versions 3.7.0 to 3.51.2 can corrupt a database when its write-ahead log is reset."""
SAFE_SQLCIPHER: Final = (4, 6)
PAGE_BYTES: Final = 4096
WRITER_CACHE_KIB: Final = 65_536
READER_CACHE_KIB: Final = 8_192
BUSY_TIMEOUT_MS: Final = 10_000
CHECKPOINT_PAGES: Final = 4_096
"""Pages in the write-ahead log (16 MiB) after which a commit copies them into the database."""

_PLAIN_HEADER: Final = b"SQLite format 3\x00"
# SQLCipher 4: a page ends with a 16-byte vector and an HMAC-SHA-512; page 1 begins with the salt.
_SALT_BYTES: Final = 16
_MAC_BYTES: Final = 64
_MAC_SALT_MASK: Final = 0x3A
_MAC_KEY_ROUNDS: Final = 2
_LOG_HEADER_BYTES: Final = 32
_FRAME_HEADER_BYTES: Final = 24


def check_engine(sqlite: tuple[int, ...], sqlcipher: str | None) -> None:
    """Refuse a build of SQLite that cannot encrypt or can corrupt. Raises `DatabaseEngineUnsafe`.

    `sqlcipher` is what `pragma cipher_version` answers, such as "4.19.0 community".
    """
    if sqlcipher is None:
        raise DatabaseEngineUnsafe("the SQLite library has no encryption (SQLCipher)")
    numbers = tuple(int(part) for part in sqlcipher.split()[0].split("."))
    if numbers < SAFE_SQLCIPHER:
        raise DatabaseEngineUnsafe(f"SQLCipher {sqlcipher} is older than 4.6")
    if sqlite < SAFE_SQLITE:
        version = ".".join(map(str, sqlite))
        raise DatabaseEngineUnsafe(
            f"SQLite {version} can corrupt a database in WAL mode; 3.51.3 or later is needed"
        )


def check_bundled_engine() -> None:
    """Refuse the engine that this environment ships. Raises `DatabaseEngineUnsafe`."""
    connection = sqlcipher3.connect(":memory:")
    try:
        connection.execute("pragma cipher_log_level=none")
        answer = connection.execute("pragma cipher_version").fetchone()
    finally:
        connection.close()
    check_engine(sqlcipher3.sqlite_version_info, answer[0] if answer else None)


def check_files(path: Path, key: bytes | None, *, is_dev: bool) -> None:
    """Refuse to open a database that is not the one meant, before anything is touched.

    `key` None asks for a plain database, which only a development chain may have. Raises
    `DatabaseKeyMissing`, `DatabaseMissing`, `DatabasePlainText`, `DatabaseDamaged`,
    `DatabaseKeyWrong`.
    """
    if key is None and not is_dev:
        raise DatabaseKeyMissing("a database without encryption is for development chains alone")
    try:
        with path.open("rb") as file:
            first = file.read(PAGE_BYTES)
    except FileNotFoundError:
        raise DatabaseMissing(f"there is no database at {path}") from None
    is_plain = first.startswith(_PLAIN_HEADER)
    if key is None:
        if first and not is_plain:
            raise DatabaseKeyMissing(
                f"the database {path} is encrypted; encryption is switched off"
            )
        if not first:
            raise DatabaseDamaged(f"the database {path} is empty")
        return
    if is_plain:
        raise DatabasePlainText(f"the database {path} is not encrypted; it is not used")
    if len(first) < PAGE_BYTES:
        raise DatabaseDamaged(f"the database {path} ends inside its first page")
    if not is_key(path, key):
        raise DatabaseKeyWrong(f"the key does not open the database {path}")


def is_key(path: Path, key: bytes) -> bool:
    """Tell whether a key authenticates the first page of a database or a version of it in its log.

    Reads files only. The newest version may be in the log alone, after a crash.
    """
    with path.open("rb") as file:
        first = file.read(PAGE_BYTES)
    mac_key = _derive_mac_key(key, first[:_SALT_BYTES])
    return any(
        _is_authentic(page, mac_key)
        for page in [first, *_iterate_logged_first_pages(path.with_name(path.name + "-wal"))]
    )


def connect(
    path: Path,
    key: bytes | None,
    *,
    is_reader: bool,
    is_alone: bool = False,
    cache_kib: int | None = None,
) -> RawConnection:
    """Return a connection to a database that `check_files` let pass.

    Usable from any one thread at a time; `is_alone` keeps every other connection out. Raises
    `DatabaseKeyWrong`, `DatabaseDamaged` and `DatabaseBusy`.
    """
    connection = sqlcipher3.connect(
        f"{path.absolute().as_uri()}?mode=rw",
        uri=True,
        isolation_level=None,
        check_same_thread=False,
    )
    try:
        _set_up(connection, key, is_reader, is_alone, cache_kib)
    except sqlcipher3.DatabaseError as error:
        connection.close()
        if "not a database" in str(error):
            raise DatabaseKeyWrong(f"the key does not open the database {path}") from error
        raise to_database_error(error, path) from error
    return connection


def get_raw(connection: Connection) -> RawConnection:
    """Return the driver's connection under SQLAlchemy's, for the statements that must be fast."""
    raw = connection.connection.driver_connection
    assert raw is not None
    return raw


def to_database_error(error: Exception, path: Path) -> Exception:
    """Return our class for what the engine says of a file whose key fits, or the error itself."""
    text = str(error)
    if "is locked" in text:
        return DatabaseBusy(f"another process has the database {path} open")
    if any(sign in text for sign in ("malformed", "hmac", "not a database")):
        return DatabaseDamaged(f"the database {path} is damaged: {text}")
    if "is full" in text:
        return DiskFull(f"the disk of the database {path} is full")
    return error


def _set_up(
    connection: RawConnection,
    key: bytes | None,
    is_reader: bool,
    is_alone: bool,
    cache_kib: int | None,
) -> None:
    """Give a new connection the key before anything else, then what durability needs."""
    if key is not None:
        connection.execute(f"pragma key=\"x'{key.hex()}'\"")
        connection.execute("pragma cipher_log_level=none")
    default_cache = READER_CACHE_KIB if is_reader else WRITER_CACHE_KIB
    for setting in (
        f"busy_timeout={0 if is_alone else BUSY_TIMEOUT_MS}",
        # Before the first access: only then does it keep out those that are idle as well.
        f"locking_mode={'exclusive' if is_alone else 'normal'}",
        "journal_mode=wal",
        "synchronous=full",
        "foreign_keys=on",
        "temp_store=memory",
        f"cache_size=-{cache_kib or default_cache}",
        f"wal_autocheckpoint={CHECKPOINT_PAGES}",
        f"query_only={'on' if is_reader else 'off'}",
    ):
        connection.execute(f"pragma {setting}").fetchall()
    connection.execute("select count(*) from sqlite_master").fetchone()


def _derive_mac_key(key: bytes, salt: bytes) -> bytes:
    mac_salt = bytes(byte ^ _MAC_SALT_MASK for byte in salt)
    return pbkdf2_hmac("sha512", key, mac_salt, _MAC_KEY_ROUNDS, len(key))


def _is_authentic(page: bytes, mac_key: bytes) -> bool:
    content = page[_SALT_BYTES:-_MAC_BYTES]
    mac = hmac.digest(mac_key, content + (1).to_bytes(4, "little"), "sha512")
    return hmac.compare_digest(mac, page[-_MAC_BYTES:])


def _iterate_logged_first_pages(path: Path) -> Iterator[bytes]:
    """Yield each version of page 1 in a write-ahead log, as far as the log's frames go."""
    try:
        file = path.open("rb")
    except FileNotFoundError:
        return
    with file:
        header = file.read(_LOG_HEADER_BYTES)
        if len(header) < _LOG_HEADER_BYTES:
            return
        offset = _LOG_HEADER_BYTES
        while len(frame := file.read(_FRAME_HEADER_BYTES)) == _FRAME_HEADER_BYTES:
            if int.from_bytes(frame[:4], "big") == 1:
                page = file.read(PAGE_BYTES)
                if len(page) == PAGE_BYTES:
                    yield page
            offset += _FRAME_HEADER_BYTES + PAGE_BYTES
            file.seek(offset)
