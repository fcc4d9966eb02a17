"""The node's database: one writer thread with group commit, and readers that never wait for it.

Opening fails closed: what is not exactly the encrypted database that the key is for is refused
before any file is touched.
"""

import asyncio
import os
import queue
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final, TypeVar

import sqlcipher3
from sqlalchemy import Connection, Engine, MetaData, create_engine, event
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import QueuePool

from ledger.keystore import sync_folder
from node import sqlcipher
from node.database_errors import (
    DatabaseBusy,
    DatabaseExists,
    DatabaseKeyMissing,
    DatabaseStopped,
)

T = TypeVar("T")

MAX_GROUP: Final = 512
"""Works that share one commit at most."""


class _Job:
    """A queued write and the answer that its caller waits for."""

    __slots__ = ("future", "work")

    def __init__(self, work: Callable[[Connection], Any]) -> None:
        self.work = work
        self.future: Future[Any] = Future()


class _RolledBack(Exception):
    """The engine undid the whole transaction, as it does when the disk is full."""


class Database:
    """An open database. `work` receives a SQLAlchemy connection and runs in a database thread."""

    def __init__(self, path: Path, key: bytes | None, readers: int) -> None:
        """Use `create` or `open`."""
        self.path = path
        self._key = key
        self._writer = _make_engine(path, key, is_reader=False, size=1)
        self._readers = _make_engine(path, key, is_reader=True, size=readers + 1)
        self._pool = ThreadPoolExecutor(readers, thread_name_prefix="database-reader")
        self._queue: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._failure: BaseException | None = None
        self._is_closed = False
        # Connected here, so that a failure is the opener's and not the thread's.
        self._thread = threading.Thread(
            target=self._run_writer,
            args=(self._writer.connect(),),
            name="database-writer",
            daemon=True,
        )
        self._thread.start()

    @classmethod
    def create(
        cls,
        path: Path,
        key: bytes | None,
        *,
        tables: Sequence[MetaData],
        readers: int = 3,
        is_dev: bool = False,
    ) -> "Database":
        """Make a new database file of mode 0600, whole or not at all, and open it.

        `key` None makes a plain one, for a development chain (`is_dev`) alone. Raises
        `DatabaseExists`, `DatabaseKeyMissing`, `DatabaseEngineUnsafe`.
        """
        sqlcipher.check_bundled_engine()
        if key is None and not is_dev:
            raise DatabaseKeyMissing("a new database needs a key")
        if path.exists():
            raise DatabaseExists(f"there is a database at {path} already")
        unfinished = path.with_name(path.name + ".creating")
        for suffix in ("", "-wal", "-shm", "-journal"):
            unfinished.with_name(unfinished.name + suffix).unlink(missing_ok=True)
        os.close(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        engine = _make_engine(unfinished, key, is_reader=False, size=1)
        _create_tables(engine, tables)
        engine.dispose()
        unfinished.rename(path)
        sync_folder(path.parent)
        return cls.open(path, key, tables=tables, readers=readers, is_dev=is_dev)

    @classmethod
    def open(
        cls,
        path: Path,
        key: bytes | None,
        *,
        tables: Sequence[MetaData],
        readers: int = 3,
        is_dev: bool = False,
    ) -> "Database":
        """Open an existing database and add the tables that it lacks.

        Raises the classes of node/database_errors.py; no file was changed then.
        """
        sqlcipher.check_bundled_engine()
        sqlcipher.check_files(path, key, is_dev=is_dev)
        engine = _make_engine(path, key, is_reader=False, size=1)
        try:
            _create_tables(engine, tables)
        except SQLAlchemyError as error:
            cause = error.__cause__ if isinstance(error.__cause__, Exception) else error
            raise sqlcipher.to_database_error(cause, path) from error
        finally:
            engine.dispose()
        return cls(path, key, readers)

    async def read(self, work: Callable[[Connection], T]) -> T:
        """Return what `work` read, from one snapshot, in a reader thread."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, self.read_now, work)

    def read_now(self, work: Callable[[Connection], T]) -> T:
        """Return what `work` read, in this thread."""
        with self._readers.begin() as connection:
            return work(connection)

    async def write(self, work: Callable[[Connection], T]) -> T:
        """Return what `work` returned, once everything it wrote is durable.

        Works that wait at the same time share a commit; one that raises undoes only its own writes.
        Cancelling the caller does not undo a write that has begun. Raises `DatabaseStopped`.
        """
        return await asyncio.wrap_future(self.submit(work))

    def write_now(self, work: Callable[[Connection], T]) -> T:
        """Return what `work` returned, once durable; for threads without an event loop."""
        return self.submit(work).result()

    def submit(self, work: Callable[[Connection], T]) -> "Future[T]":
        """Queue a write and return its answer to be."""
        if self._is_closed:
            raise DatabaseStopped(f"the database {self.path} is closed")
        job = _Job(work)
        self._queue.put(job)
        return job.future

    def connect_reader(self, cache_kib: int) -> sqlcipher.RawConnection:
        """Return a raw read-only connection outside the pool; its owner closes it."""
        return sqlcipher.connect(self.path, self._key, is_reader=True, cache_kib=cache_kib)

    async def close(self) -> None:
        """Finish the queued writes and close every connection."""
        await asyncio.to_thread(self.close_now)

    def close_now(self) -> None:
        """Finish the queued writes and close every connection; for threads without a loop."""
        if self._is_closed:
            return
        self._is_closed = True
        self._queue.put(None)
        self._thread.join()
        self._pool.shutdown()
        self._readers.dispose()
        self._writer.dispose()

    def _run_writer(self, connection: Connection) -> None:
        with connection:
            while True:
                job = self._queue.get()
                group: list[_Job] = []
                while job is not None:
                    if job.future.set_running_or_notify_cancel():
                        group.append(job)
                    if len(group) == MAX_GROUP or self._queue.empty():
                        break
                    job = self._queue.get()
                if group:
                    self._write_group(connection, group)
                if job is None:
                    return

    def _write_group(self, connection: Connection, group: list[_Job]) -> None:
        if self._failure is not None:
            error = DatabaseStopped(f"an earlier commit failed: {self._failure}")
            _fail(group, error)
            return
        answers: list[tuple[_Job, Any, Exception | None]] = []
        try:
            transaction = connection.begin()
            for job in group:
                answers.append((job, *_run(connection, job.work)))
        except (SQLAlchemyError, sqlcipher3.Error, _RolledBack) as error:
            # Nothing of the group is written, for certain: the next one may succeed.
            connection.rollback()
            _fail(group, self._to_database_error(error))
            return
        try:
            transaction.commit()
        except (SQLAlchemyError, sqlcipher3.Error) as error:
            # Whether the commit reached the disk is unknown, so nothing may build on it.
            self._failure = error
            connection.rollback()
            _fail(group, self._to_database_error(error))
            return
        for job, answer, failure in answers:
            if failure is None:
                job.future.set_result(answer)
            else:
                job.future.set_exception(failure)

    def _to_database_error(self, error: Exception) -> Exception:
        cause = error.__cause__ if isinstance(error, _RolledBack) else error
        assert isinstance(cause, Exception)
        return sqlcipher.to_database_error(cause, self.path)


def _run(
    connection: Connection, work: Callable[[Connection], T]
) -> tuple[T | None, Exception | None]:
    """Run one work in a savepoint; its own failure is its caller's, not its neighbours'."""
    # By the driver: SQLAlchemy's own savepoints cost more than most of the works in them.
    raw = sqlcipher.get_raw(connection)
    raw.execute("savepoint work")
    try:
        answer = work(connection)
    except Exception as error:
        if not raw.in_transaction:
            raise _RolledBack from error
        raw.execute("rollback to work")
        raw.execute("release work")
        return None, error
    raw.execute("release work")
    return answer, None


def _fail(group: list[_Job], error: BaseException | None) -> None:
    for job in group:
        job.future.set_exception(error)


def _create_tables(engine: Engine, tables: Sequence[MetaData]) -> None:
    with engine.connect() as connection:
        with connection.begin():
            for metadata in tables:
                metadata.create_all(connection)
        # The log is emptied so that the file alone is a whole database.
        is_busy, _, _ = (
            sqlcipher.get_raw(connection).execute("pragma wal_checkpoint(truncate)").fetchone()
        )
        if is_busy:
            raise DatabaseBusy("another process is using the database")


def _make_engine(path: Path, key: bytes | None, *, is_reader: bool, size: int) -> Engine:
    """Return an engine whose connections take the key outside any URL or log line."""
    engine = create_engine(
        "sqlite://",
        module=sqlcipher3,
        creator=lambda: sqlcipher.connect(path, key, is_reader=is_reader),
        poolclass=QueuePool,
        pool_size=size,
        max_overflow=0,
        pool_reset_on_return="rollback",
    )

    def begin(connection: Connection) -> None:
        connection.exec_driver_sql("begin" if is_reader else "begin immediate")

    event.listen(engine, "begin", begin)
    return engine
