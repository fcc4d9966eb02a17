import os
from pathlib import Path

import pytest

from node import sqlcipher
from node.database_errors import DatabaseEngineUnsafe
from tests.node.stores import KEY, create_database, hash_folder


@pytest.mark.parametrize(
    ("sqlite", "cipher"),
    [
        ((3, 53, 4), None),
        ((3, 51, 2), "4.19.0 community"),
        ((3, 7, 0), "4.19.0 community"),
        ((3, 53, 4), "4.5.6 community"),
        ((3, 53, 4), "3.4.2"),
    ],
)
def test_an_engine_that_corrupts_or_does_not_encrypt_is_refused(
    sqlite: tuple[int, ...], cipher: str | None
) -> None:
    with pytest.raises(DatabaseEngineUnsafe) as refused:
        sqlcipher.check_engine(sqlite, cipher)
    assert refused.value.exit_code == 14


def test_the_engine_of_this_environment_is_safe() -> None:
    sqlcipher.check_engine((3, 51, 3), "4.6.0 community")
    sqlcipher.check_bundled_engine()


async def test_a_key_is_told_from_others_without_touching_a_file(tmp_path: Path) -> None:
    database = create_database(tmp_path)
    path = tmp_path / "node.db"
    await database.close()
    before = hash_folder(tmp_path)
    assert sqlcipher.is_key(path, KEY)
    for bit in (0, 7, 255):
        wrong = (int.from_bytes(KEY, "big") ^ (1 << bit)).to_bytes(32, "big")
        assert not sqlcipher.is_key(path, wrong)
    assert hash_folder(tmp_path) == before


async def test_a_key_is_known_by_the_log_when_the_first_page_is_torn(tmp_path: Path) -> None:
    """A power cut inside a checkpoint may tear page 1; the log still has it whole."""
    database = create_database(tmp_path)
    await database.write(lambda connection: connection.exec_driver_sql("create table t (a)"))
    path = tmp_path / "node.db"
    with path.open("r+b") as file:
        file.seek(100)
        file.write(os.urandom(500))
    assert sqlcipher.is_key(path, KEY)
    assert not sqlcipher.is_key(path, bytes(32))
    await database.close()


async def test_every_connection_is_durable_and_keeps_its_promise(tmp_path: Path) -> None:
    database = create_database(tmp_path)

    def ask(raw: sqlcipher.RawConnection) -> list[object]:
        names = ("journal_mode", "synchronous", "foreign_keys", "query_only")
        return [raw.execute(f"pragma {name}").fetchone()[0] for name in names]

    assert await database.write(lambda c: ask(sqlcipher.get_raw(c))) == ["wal", 2, 1, 0]
    assert await database.read(lambda c: ask(sqlcipher.get_raw(c))) == ["wal", 2, 1, 1]
    own = database.connect_reader(1_024)
    assert ask(own) == ["wal", 2, 1, 1]
    own.close()
    await database.close()
