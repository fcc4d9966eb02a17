import asyncio
import os
import shutil
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import Connection
from sqlalchemy.exc import IntegrityError, OperationalError

from node.database import Database
from node.database_errors import (
    DatabaseDamaged,
    DatabaseError,
    DatabaseExists,
    DatabaseKeyMissing,
    DatabaseKeyWrong,
    DatabaseMissing,
    DatabasePlainText,
    DatabaseStopped,
    DiskFull,
)
from node.tables import CHAIN_TABLES
from tests.node.stores import KEY, create_database, hash_folder, open_database

MARKER = b"a marker that nobody may read 0123456789"
OTHER_KEY = bytes(32)


def insert(value: bytes) -> Callable[[Connection], None]:
    def work(connection: Connection) -> None:
        connection.exec_driver_sql("insert into mempool (entries) values (?)", (value,))

    return work


def count(connection: Connection) -> int:
    answer = connection.exec_driver_sql("select count(*) from mempool").scalar()
    assert isinstance(answer, int)
    return answer


def make_plain(path: Path) -> None:
    connection = sqlite3.connect(path)
    connection.execute("create table t (a)")
    connection.commit()
    connection.close()


def leave_log(folder: Path) -> None:
    """Leave a database whose newest content is in the log alone, as a crash does."""
    elsewhere = folder.with_name(folder.name + "-running")
    elsewhere.mkdir()
    database = create_database(elsewhere)
    database.write_now(insert(MARKER))
    for name in ("node.db", "node.db-wal"):
        shutil.copy(elsewhere / name, folder / name)
    database.close_now()
    assert (folder / "node.db-wal").stat().st_size > 0


def make_whole(folder: Path) -> None:
    create_database(folder).close_now()


def make_wrong_place(folder: Path) -> None:
    make_plain(folder / "node.db")


def make_empty(folder: Path) -> None:
    (folder / "node.db").touch()


def make_short(folder: Path) -> None:
    (folder / "node.db").write_bytes(os.urandom(1_000))


def make_noise(folder: Path) -> None:
    (folder / "node.db").write_bytes(os.urandom(40_960))


def make_nothing(folder: Path) -> None:
    (folder / "other").touch()


@pytest.mark.parametrize(
    ("make", "key", "is_dev", "error", "code"),
    [
        (make_whole, None, False, DatabaseKeyMissing, 10),
        (make_whole, None, True, DatabaseKeyMissing, 10),
        (make_whole, OTHER_KEY, False, DatabaseKeyWrong, 11),
        (leave_log, OTHER_KEY, False, DatabaseKeyWrong, 11),
        (make_noise, KEY, False, DatabaseKeyWrong, 11),
        (make_wrong_place, KEY, False, DatabasePlainText, 13),
        (make_wrong_place, KEY, True, DatabasePlainText, 13),
        (make_wrong_place, None, False, DatabaseKeyMissing, 10),
        (make_empty, KEY, False, DatabaseDamaged, 15),
        (make_empty, None, True, DatabaseDamaged, 15),
        (make_short, KEY, False, DatabaseDamaged, 15),
        (make_nothing, KEY, False, DatabaseMissing, 3),
    ],
)
def test_what_is_not_the_database_is_refused_and_untouched(
    tmp_path: Path,
    make: Callable[[Path], None],
    key: bytes | None,
    is_dev: bool,
    error: type[DatabaseError],
    code: int,
) -> None:
    make(tmp_path)
    before = hash_folder(tmp_path)
    with pytest.raises(error) as refused:
        Database.open(tmp_path / "node.db", key, tables=[CHAIN_TABLES], is_dev=is_dev)
    assert refused.value.exit_code == code
    assert str(refused.value)
    assert hash_folder(tmp_path) == before


def test_a_new_database_never_replaces_one_nor_is_plain_by_accident(tmp_path: Path) -> None:
    with pytest.raises(DatabaseKeyMissing):
        Database.create(tmp_path / "node.db", None, tables=[CHAIN_TABLES])
    assert list(tmp_path.iterdir()) == []
    create_database(tmp_path).close_now()
    before = hash_folder(tmp_path)
    assert before["node.db"][1] & 0o777 == 0o600
    with pytest.raises(DatabaseExists):
        create_database(tmp_path)
    assert hash_folder(tmp_path) == before


def test_a_creation_cut_short_is_begun_again(tmp_path: Path) -> None:
    (tmp_path / "node.db.creating").write_bytes(b"half")
    (tmp_path / "node.db.creating-wal").write_bytes(b"half")
    create_database(tmp_path).close_now()
    assert [path.name for path in tmp_path.iterdir()] == ["node.db"]


def test_a_development_chain_may_have_a_plain_database_openly(tmp_path: Path) -> None:
    database = create_database(tmp_path, None)
    database.write_now(insert(MARKER))
    database.close_now()
    assert MARKER in (tmp_path / "node.db").read_bytes()
    database = open_database(tmp_path, None)
    assert database.read_now(count) == 1
    database.close_now()


def test_nothing_is_readable_without_the_key(tmp_path: Path) -> None:
    leave_log(tmp_path)
    database = open_database(tmp_path)
    database.write_now(insert(MARKER * 300))
    content = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert {"node.db", "node.db-wal", "node.db-shm"} <= set(content)
    for data in content.values():
        assert MARKER[:12] not in data
        assert b"SQLite format" not in data
        assert b"mempool" not in data
    database.close_now()
    with pytest.raises(sqlite3.DatabaseError):
        sqlite3.connect(tmp_path / "node.db").execute("select * from sqlite_master")


def test_what_was_acknowledged_is_read_from_the_log(tmp_path: Path) -> None:
    leave_log(tmp_path)
    database = open_database(tmp_path)
    assert database.read_now(count) == 1
    database.close_now()


async def test_works_that_wait_together_share_a_commit(tmp_path: Path) -> None:
    database = create_database(tmp_path)
    gate = threading.Event()
    blocked = asyncio.create_task(database.write(lambda _: gate.wait(10)))
    await asyncio.sleep(0.05)
    tasks = [asyncio.create_task(database.write(insert(b"%d" % index))) for index in range(300)]
    failing = asyncio.create_task(database.write(fail_after_insert))
    await asyncio.sleep(0.05)
    log = tmp_path / "node.db-wal"
    before = log.stat().st_size if log.exists() else 0
    gate.set()
    await blocked
    await asyncio.gather(*tasks)
    with pytest.raises(IntegrityError):
        await failing
    assert await database.read(count) == 300
    # 300 commits of their own would have logged 300 pages and more.
    assert log.stat().st_size - before < 60 * 4_120
    await database.close()


def fail_after_insert(connection: Connection) -> None:
    insert(b"undone")(connection)
    connection.exec_driver_sql("insert into mempool (first, entries) values (1, 'taken')")
    connection.exec_driver_sql("insert into mempool (first, entries) values (1, 'taken')")


async def test_readers_go_on_while_a_write_is_open(tmp_path: Path) -> None:
    database = create_database(tmp_path)
    await database.write(insert(b"one"))
    inserted, gate = threading.Event(), threading.Event()

    def hold_open(connection: Connection) -> None:
        insert(b"two")(connection)
        inserted.set()
        gate.wait(10)

    writing = asyncio.create_task(database.write(hold_open))
    await asyncio.to_thread(inserted.wait, 10)
    counts = await asyncio.gather(*(database.read(count) for _ in range(20)))
    assert counts == [1] * 20
    gate.set()
    await writing
    assert await database.read(count) == 2
    await database.close()


async def test_a_reader_cannot_write(tmp_path: Path) -> None:
    database = create_database(tmp_path)
    with pytest.raises(OperationalError, match="readonly"):
        await database.read(insert(b"no"))
    assert await database.read(count) == 0
    await database.close()


async def test_a_read_sees_one_moment(tmp_path: Path) -> None:
    database = create_database(tmp_path)
    first, gate = threading.Event(), threading.Event()

    def count_twice(connection: Connection) -> tuple[int, int]:
        before = count(connection)
        first.set()
        gate.wait(10)
        return before, count(connection)

    reading = asyncio.create_task(database.read(count_twice))
    await asyncio.to_thread(first.wait, 10)
    await database.write(insert(b"meanwhile"))
    gate.set()
    assert await reading == (0, 0)
    await database.close()


async def test_after_a_commit_that_failed_nothing_is_written(tmp_path: Path) -> None:
    database = create_database(tmp_path)

    def leave_broken(connection: Connection) -> None:
        connection.exec_driver_sql("create table parents (id integer primary key)")
        connection.exec_driver_sql(
            "create table children (id references parents deferrable initially deferred)"
        )
        connection.exec_driver_sql("insert into children values (7)")

    with pytest.raises(IntegrityError):
        await database.write(leave_broken)
    with pytest.raises(DatabaseStopped):
        await database.write(insert(b"later"))
    assert await database.read(count) == 0
    await database.close()


async def test_a_cancelled_caller_does_not_stop_the_writer(tmp_path: Path) -> None:
    database = create_database(tmp_path)
    started, gate = threading.Event(), threading.Event()

    def slow(connection: Connection) -> None:
        started.set()
        gate.wait(10)
        insert(b"slow")(connection)

    task = asyncio.create_task(database.write(slow))
    await asyncio.to_thread(started.wait, 10)
    waiting = asyncio.create_task(database.write(insert(b"never begun")))
    await asyncio.sleep(0.01)
    waiting.cancel()
    task.cancel()
    gate.set()
    await database.write(insert(b"next"))
    assert await database.read(count) == 2
    await database.close()


async def test_closing_finishes_what_is_queued(tmp_path: Path) -> None:
    database = create_database(tmp_path)
    tasks = [asyncio.create_task(database.write(insert(b"%d" % index))) for index in range(50)]
    await asyncio.sleep(0)
    await database.close()
    await asyncio.gather(*tasks)
    with pytest.raises(DatabaseStopped):
        await database.write(insert(b"late"))
    reopened = open_database(tmp_path)
    assert reopened.read_now(count) == 50
    reopened.close_now()


async def test_a_full_disk_fails_the_write_and_nothing_else(tmp_path: Path) -> None:
    database = create_database(tmp_path)
    await database.write(insert(b"before"))

    def fill_up(connection: Connection) -> None:
        pages = connection.exec_driver_sql("pragma page_count").scalar()
        connection.exec_driver_sql(f"pragma max_page_count={pages}")

    def make_room(connection: Connection) -> None:
        connection.exec_driver_sql("pragma max_page_count=100000")

    await database.write(fill_up)
    started, gate = threading.Event(), threading.Event()

    def wait(_: Connection) -> None:
        started.set()
        gate.wait(10)

    blocked = asyncio.create_task(database.write(wait))
    await asyncio.to_thread(started.wait, 10)
    group = [database.write(insert(b"small")), database.write(insert(bytes(100_000)))]
    tasks = [asyncio.create_task(each) for each in group]
    await asyncio.sleep(0.05)
    gate.set()
    await blocked
    for task in tasks:
        with pytest.raises(DiskFull, match="full"):
            await task
    assert await database.read(count) == 1
    await database.write(make_room)
    await database.write(insert(bytes(100_000)))
    assert await database.read(count) == 2
    await database.close()
