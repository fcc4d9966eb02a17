from pathlib import Path

import pytest

from coordinator import audit
from coordinator.audit import AuditLog, Line
from coordinator.tables import METADATA
from node.database import Database
from node.database_errors import DatabaseStopped

LINE = Line(1_000, None, None, None, "POST /v1/jobs", {"job_id": "job_1"}, 201, None, "r", None)


async def count(database: Database) -> int:
    return len((await database.read(lambda c: audit.list_lines(c, [], 10_000, 0, None)))[0])


async def test_lines_wait_together_and_none_is_lost(tmp_path: Path) -> None:
    database = Database.create(tmp_path / "node.db", b"k" * 32, tables=[METADATA])
    log = AuditLog(database)
    for number in range(audit.MAX_WAITING):
        log.note(LINE._replace(time_ms=number))
        await log.make_room()
    assert await count(database) == audit.MAX_WAITING, "the last one waited for the database"
    log.note(LINE)
    assert await count(database) == audit.MAX_WAITING
    await log.flush()
    assert await count(database) == audit.MAX_WAITING + 1
    await database.close()
    # What a stopped database does not take, waits on.
    log.note(LINE)
    for _ in range(2):
        with pytest.raises(DatabaseStopped):
            await log.flush()


async def test_old_lines_go_and_strangers_push_out_only_their_own(tmp_path: Path) -> None:
    database = Database.create(tmp_path / "node.db", b"k" * 32, tables=[METADATA])
    log = AuditLog(database)
    for number in range(10):
        log.note(LINE._replace(time_ms=number, account_id=1 if number % 2 else None))
    await log.flush()
    assert await database.write(lambda c: audit.delete_old(c, 4)) == 4
    assert await database.write(lambda c: audit.delete_old(c, 4, kept_unknown=1)) == 2
    found, _ = await database.read(lambda c: audit.list_lines(c, [], 100, 0, None))
    assert [each.line.time_ms for each in found] == [9, 8, 7, 5]
    await database.close()
