"""Rows: plain values that come whole out of the database and refuse columns that are none."""

import subprocess
import sys

import pytest
import sqlalchemy as sa

from coordinator import sql
from coordinator.tables import METADATA, AccountRow, FollowedRow, TransactionRow


@pytest.fixture
def connection() -> sa.Connection:
    engine = sa.create_engine("sqlite://")
    METADATA.create_all(engine)
    return engine.connect()


def make_row(number: int) -> TransactionRow:
    return TransactionRow(
        transaction_id=bytes([number]) * 32,
        sender=bytes(20),
        nonce=number,
        spend=1,
        valid_until=2,
        raw=b"raw",
    )


def test_a_row_comes_out_as_it_went_in(connection: sa.Connection) -> None:
    keys = [sql.insert(connection, make_row(number)) for number in range(1, 4)]
    assert keys == [1, 2, 3]
    found = sql.find(connection, TransactionRow, nonce=2)
    assert found is not None
    assert (found.row_id, found.transaction_id, found.state) == (2, bytes([2]) * 32, "pending")
    sql.update(connection, found, state="final", code=7)
    ids = [bytes([number]) * 32 for number in (2, 3, 9)]
    again = sql.load_in(connection, TransactionRow, "transaction_id", ids)
    assert [(row.nonce, row.state, row.code) for row in again] == [
        (2, "final", 7),
        (3, "pending", 0),
    ]
    everything = sql.get_table(TransactionRow).select()
    assert len(sql.load(connection, TransactionRow, everything)) == 3
    assert sql.find(connection, TransactionRow, nonce=8) is None


def test_a_row_has_the_columns_of_its_table_and_no_others() -> None:
    with pytest.raises(TypeError, match="AccountRow"):
        AccountRow(address=bytes(20))  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="FollowedRow"):
        FollowedRow(height=1, depth=2)  # type: ignore[call-arg]


def test_a_changed_row_writes_nothing_by_itself(connection: sa.Connection) -> None:
    row = make_row(1)
    sql.insert(connection, row)
    row.state = "final"
    found = sql.find(connection, TransactionRow, nonce=1)
    assert found is not None and found.state == "pending"


def test_a_process_may_load_a_row_before_it_makes_one() -> None:
    code = (
        "import sqlalchemy as sa; from coordinator import sql, tables\n"
        "engine = sa.create_engine('sqlite://'); tables.METADATA.create_all(engine)\n"
        "with engine.begin() as connection:\n"
        "    connection.execute(sa.text('insert into coordinator_followed values (1, 7)'))\n"
        "    print(sql.find(connection, tables.FollowedRow, only=1).height)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True)
    assert done.stdout == "7\n"
