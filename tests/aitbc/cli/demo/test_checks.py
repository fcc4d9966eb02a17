import sqlite3
from pathlib import Path

import pytest

from aitbc.cli.demo import checks
from aitbc.cli.demo.checks import CheckFailed
from node.database import Database
from node.folder import TABLES
from node.key_file import create_key, write_key


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    write_key(tmp_path / "database.key", create_key())
    return tmp_path / "database.key"


def make_database(folder: Path, key: bytes | None) -> Path:
    path = folder / "node.db"
    Database.create(path, key, tables=TABLES, is_dev=True).close_now()
    return path


def test_an_encrypted_database_opens_with_its_key_alone(tmp_path: Path, key_file: Path) -> None:
    key = bytes.fromhex(key_file.read_text())
    report = checks.inspect_database(make_database(tmp_path, key), key_file)
    assert report.tables > 0
    assert report.first_bytes != checks.SQLITE_HEADER
    assert [way for way, _ in report.refusals] == [
        "SQLite",
        "SQLCipher without a key",
        "SQLCipher with another key",
    ]
    assert all("not a database" in refusal for _, refusal in report.refusals)


def test_a_plain_database_is_found_out(tmp_path: Path, key_file: Path) -> None:
    with pytest.raises(CheckFailed, match="plain text"):
        checks.inspect_database(make_database(tmp_path, None), key_file)


def test_a_text_in_clear_is_found_in_every_file_of_the_database(tmp_path: Path) -> None:
    connection = sqlite3.connect(tmp_path / "node.db")
    connection.execute("create table prompts (text)")
    connection.execute("insert into prompts values ('what is love')")
    connection.commit()
    connection.close()
    (tmp_path / "node.db-wal").write_bytes(b"\x00what is love\x00")
    (tmp_path / "unrelated").write_text("what is love")
    found = {path.name for path in checks.find_plain_text(tmp_path, "what is love")}
    assert found == {"node.db", "node.db-wal"}
    assert checks.find_plain_text(tmp_path, "baby don't hurt me") == []
