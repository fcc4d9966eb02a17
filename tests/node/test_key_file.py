import os
from pathlib import Path

import pytest

from node.database_errors import (
    DatabaseError,
    DatabaseExists,
    DatabaseKeyMissing,
    DatabaseKeyWrong,
    KeyFilePermissions,
)
from node.key_file import create_key, read_key, write_key


def test_a_written_key_is_read_back_and_is_ours_alone(tmp_path: Path) -> None:
    path, key = tmp_path / "database.key", create_key()
    write_key(path, key)
    assert read_key(path) == key
    assert path.stat().st_mode & 0o777 == 0o600
    with pytest.raises(DatabaseExists):
        write_key(path, create_key())
    assert read_key(path) == key


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o700, 0o644, 0o602])
def test_a_loose_mode_is_refused(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "database.key"
    write_key(path, create_key())
    path.chmod(mode)
    with pytest.raises(KeyFilePermissions):
        read_key(path)


def test_a_stricter_mode_is_accepted(tmp_path: Path) -> None:
    path, key = tmp_path / "database.key", create_key()
    write_key(path, key)
    path.chmod(0o400)
    assert read_key(path) == key


@pytest.mark.parametrize(
    "content", [b"", b"11" * 31, b"11" * 33, b"zz" * 32, b"\xff" * 64, b"11" * 32 + b" " * 99]
)
def test_what_is_no_key_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "database.key"
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(DatabaseKeyWrong):
        read_key(path)


def make_link(path: Path) -> None:
    write_key(path.with_name("elsewhere"), create_key())
    path.symlink_to("elsewhere")


def make_pipe(path: Path) -> None:
    os.mkfifo(path, 0o600)


@pytest.mark.parametrize("make", [make_link, make_pipe, Path.mkdir])
def test_what_is_no_plain_file_is_refused(tmp_path: Path, make: object) -> None:
    path = tmp_path / "database.key"
    assert callable(make)
    make(path)
    with pytest.raises(KeyFilePermissions):
        read_key(path)


def test_a_missing_file_has_its_own_answer(tmp_path: Path) -> None:
    with pytest.raises(DatabaseKeyMissing) as missing:
        read_key(tmp_path / "database.key")
    assert isinstance(missing.value, DatabaseError)
    assert missing.value.exit_code == 10


def test_a_file_of_another_user_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "database.key"
    write_key(path, create_key())
    if os.geteuid() == 0:
        os.chown(path, 12_345, -1)
        with pytest.raises(KeyFilePermissions, match="another user"):
            read_key(path)
    else:
        # Without the right to give files away: one that is surely somebody else's.
        with pytest.raises(KeyFilePermissions):
            read_key(Path("/etc/passwd"))
