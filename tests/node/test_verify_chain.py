"""Whoever holds the database's key can change its rows; `verify-chain` tells."""

import shutil
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import msgspec
import pytest
import pytest_asyncio

from genesis.document import Allocation, compute_chain_id, dump_genesis
from node import folder
from node.chain_store import ChainStore
from node.database_errors import DatabaseDamaged
from node.exit_codes import ExitCode
from node.settings import load_settings
from node.sqlcipher import RawConnection, get_raw
from node.verify_chain import ChainDamaged, Report, verify_chain
from tests.support.node import CLIENT, NODE, build_genesis, reopened_node

BYSTANDERS = 40
"""Accounts that no block touches: what the tables hold of them, the log does not mend."""

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def original(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Path]:
    """A node's folder with one settled job and one that waits."""
    data = tmp_path_factory.mktemp("verify") / "node"
    plain = build_genesis()
    idle = tuple(Allocation(bytes([9, number]) * 10, 1) for number in range(BYSTANDERS))
    genesis = msgspec.structs.replace(plain, allocations=(*plain.allocations, *idle))
    folder.create_folder(data, dump_genesis(genesis), NODE.seed)
    async with reopened_node(data, genesis) as node:
        await node.register_miner()
        await node.settle_job(b"settled".ljust(32, b"\0"))
        await node.send(CLIENT, node.build_submit(b"waiting".ljust(32, b"\0"))[1])
    yield data


@pytest.fixture
def data(original: Path, tmp_path: Path) -> Path:
    return shutil.copytree(original, tmp_path / "own")


def verify(data: Path) -> Report:
    genesis = folder.open_genesis(data)
    database = folder.open_database(load_settings(data=data), genesis)
    try:
        store = ChainStore(database, compute_chain_id(genesis))
        try:
            return verify_chain(store, genesis)
        finally:
            store.close()
    finally:
        database.close_now()


def change(data: Path, work: Callable[[RawConnection], object]) -> None:
    genesis = folder.open_genesis(data)
    database = folder.open_database(load_settings(data=data), genesis)
    try:
        database.write_now(lambda connection: work(get_raw(connection)))
    finally:
        database.close_now()


async def test_a_whole_chain_is_verified(data: Path) -> None:
    report = verify(data)
    assert (report.transactions, report.settlements) == (5, 1)


@pytest.mark.parametrize(
    ("table", "column", "row"),
    [
        ("blocks", "hash", "height = 0"),
        ("blocks", "hash", "height = 2"),
        ("blocks", "header", "height = 2"),
        ("blocks", "certificate", "height = 2"),
        ("outcomes", '"transaction"', "position >> 20 = 2"),
        ("outcomes", "outcome", "position >> 20 = 2"),
        ("state_entries", "key", "leaf = 20"),
        ("state_entries", "value", "leaf = 1"),
        ("state_nodes", "node", "place = 1"),
    ],
)
async def test_a_flipped_bit_is_found(data: Path, table: str, column: str, row: str) -> None:
    def flip(raw: RawConnection) -> None:
        (value,) = raw.execute(f"select {column} from {table} where {row}").fetchone()
        # The middle lies in content; a frame that does not decode is told when the store opens.
        middle = len(value) // 2
        flipped = value[:middle] + bytes([value[middle] ^ 1]) + value[middle + 1 :]
        raw.execute(f"update {table} set {column} = ? where {row}", (flipped,))

    change(data, flip)
    with pytest.raises(ChainDamaged) as caught:
        verify(data)
    assert caught.value.exit_code is ExitCode.VERIFICATION_FAILED


@pytest.mark.parametrize(
    "statement",
    [
        "update blocks set certificate = x'00' where height = 0",
        "delete from blocks where height = 3",
        "delete from outcomes where position = (select max(position) from outcomes)",
        "delete from state_entries where leaf = 20",
        "delete from state_keys where leaf = 20",
        "delete from due_jobs",
        "insert into due_jobs (leaf, job, due) values (20, zeroblob(32), 1)",
    ],
)
async def test_a_row_too_few_or_too_many_is_found(data: Path, statement: str) -> None:
    change(data, lambda raw: raw.execute(statement))
    with pytest.raises((ChainDamaged, DatabaseDamaged)):
        verify(data)
