import random
import shutil
import time
from pathlib import Path

import pytest
from sqlalchemy import Connection

from node.database_errors import DatabaseBusy, DatabaseKeyWrong, DatabaseMissing
from node.key_file import get_new_key_path, read_key, write_key
from node.rekey import change_key, find_key
from node.sqlcipher import is_key
from tests.node import killed
from tests.node.killed import start_child
from tests.node.stores import create_database, hash_folder, open_database

ROWS = 1_000
KILLS = 24


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A database of 2 MB and its key file."""
    folder = tmp_path / "data"
    folder.mkdir()
    key = bytes(range(32))
    write_key(folder / "database.key", key)
    database = create_database(folder, key)

    def fill(connection: Connection) -> None:
        draw = random.Random(5)
        rows = [(number, draw.randbytes(2_000)) for number in range(ROWS)]
        connection.exec_driver_sql("insert into mempool (first, entries) values (?, ?)", rows)

    database.write_now(fill)
    database.close_now()
    return folder


def check_whole(folder: Path, key: bytes) -> None:
    """The database opens with the key and has every byte; nothing of the change is left over."""
    database = open_database(folder, key)
    draw = random.Random(5)
    rows = database.read_now(
        lambda connection: connection.exec_driver_sql(
            "select first, entries from mempool order by first"
        ).fetchall()
    )
    assert [tuple(row) for row in rows] == [(n, draw.randbytes(2_000)) for n in range(ROWS)]
    integrity = database.read_now(
        lambda connection: connection.exec_driver_sql("pragma cipher_integrity_check").fetchall()
    )
    assert integrity == []
    database.close_now()
    assert sorted(path.name for path in folder.iterdir()) == ["database.key", "node.db"]
    assert read_key(folder / "database.key") == key


def test_the_key_changes_and_the_old_one_no_longer_opens(folder: Path) -> None:
    path, key_path = folder / "node.db", folder / "database.key"
    old = read_key(key_path)
    change_key(path, key_path)
    new = find_key(path, key_path)
    assert new != old
    assert not is_key(path, old)
    check_whole(folder, new)
    with pytest.raises(DatabaseKeyWrong):
        open_database(folder, old)


@pytest.mark.slow
def test_killed_at_any_moment_one_key_opens_the_whole_database(
    folder: Path, tmp_path: Path
) -> None:
    start = time.monotonic()
    change_key(folder / "node.db", folder / "database.key")
    length = time.monotonic() - start
    draw = random.Random(11)
    changed = 0
    for kill in range(KILLS):
        copy = tmp_path / f"copy{kill}"
        shutil.copytree(folder, copy)
        old = read_key(copy / "database.key")
        child, _ = start_child(killed.change_key, copy)
        time.sleep(draw.random() * 1.6 * length)
        child.kill()
        child.join()
        found = find_key(copy / "node.db", copy / "database.key")
        changed += found != old
        check_whole(copy, found)
        assert not get_new_key_path(copy / "database.key").exists()
        shutil.rmtree(copy)
    assert 0 < changed < KILLS, "every kill was on the same side of the change"


@pytest.mark.parametrize("content", ["", "11" * 20, "not a key"])
def test_a_new_key_that_was_not_written_whole_is_dropped(folder: Path, content: str) -> None:
    new_path = get_new_key_path(folder / "database.key")
    new_path.write_text(content)
    new_path.chmod(0o600)
    old = read_key(folder / "database.key")
    assert find_key(folder / "node.db", folder / "database.key") == old
    check_whole(folder, old)


def test_a_new_key_that_was_not_used_is_dropped(folder: Path) -> None:
    write_key(get_new_key_path(folder / "database.key"), bytes(32))
    old = read_key(folder / "database.key")
    assert find_key(folder / "node.db", folder / "database.key") == old
    check_whole(folder, old)


def test_a_change_that_lacks_only_the_renaming_is_finished(folder: Path) -> None:
    key_path = folder / "database.key"
    new = read_key(key_path)
    key_path.rename(get_new_key_path(key_path))
    write_key(key_path, bytes(32))
    assert find_key(folder / "node.db", key_path) == new
    check_whole(folder, new)


def test_two_keys_that_do_not_open_it_are_refused_untouched(folder: Path) -> None:
    key_path = folder / "database.key"
    key_path.unlink()
    write_key(key_path, bytes(32))
    write_key(get_new_key_path(key_path), bytes([1]) * 32)
    before = hash_folder(folder)
    with pytest.raises(DatabaseKeyWrong):
        find_key(folder / "node.db", key_path)
    assert hash_folder(folder) == before


def test_without_a_database_both_keys_stay(folder: Path) -> None:
    (folder / "node.db").unlink()
    write_key(get_new_key_path(folder / "database.key"), bytes(32))
    before = hash_folder(folder)
    with pytest.raises(DatabaseMissing):
        find_key(folder / "node.db", folder / "database.key")
    assert hash_folder(folder) == before


def test_a_database_in_use_keeps_its_key(folder: Path) -> None:
    old = read_key(folder / "database.key")
    database = open_database(folder, old)
    with pytest.raises(DatabaseBusy):
        change_key(folder / "node.db", folder / "database.key")
    database.close_now()
    assert find_key(folder / "node.db", folder / "database.key") == old
    check_whole(folder, old)
