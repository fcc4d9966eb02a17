"""Whatever is wrong in a store at rest, the check names it, with the exit code that it has."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import pytest_asyncio

from ledger.transactions import JobCancel, JobClaim
from node import folder
from node.database_check import Check, DatabaseChecker
from node.database_errors import DatabaseDamaged, DatabaseKeyWrong, WrongChain
from node.exit_codes import ExitCode, OperatorError
from node.folder import JOURNAL_FILE
from node.settings import load_settings
from node.sqlcipher import PAGE_BYTES, RawConnection, get_raw
from node.verify_chain import ChainDamaged
from node.vote_journal import JournalRefused
from tests.ledger.world import CLIENT, COMMIT, MINER, start_job, start_miner
from tests.node.signed_chain import MEMBERS, OpenStore, SignedChain, make_node
from tests.node.stores import hash_folder
from tests.node.test_rollback import go_back, sign
from tests.node.test_snapshot import put, take

pytestmark = pytest.mark.asyncio(loop_scope="module")

SIGNER = MEMBERS[0]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[SignedChain, Path]:
    """A chain with jobs in every stage, two epochs and a few whole segments of each index."""
    chain = SignedChain(idle=300)
    chain.transfer(60)
    with chain.certifying():
        start_miner(chain.world)
        chain.world.run(CLIENT, JobCancel(start_job(chain.world, tag=1)))
        chain.world.run(MINER, JobClaim(start_job(chain.world, tag=2), "alpha", COMMIT))
    chain.change_authorities(is_add=True)
    chain.transfer(60)
    with chain.certifying():
        start_job(chain.world, tag=3)
    data = await make_node(tmp_path_factory.mktemp("original") / "node", chain, chunk_entries=64)
    sign(data, chain, range(1, 6))
    return chain, data


@pytest.fixture
def data(made: tuple[SignedChain, Path], tmp_path: Path) -> Path:
    return shutil.copytree(made[1], tmp_path / "own")


def check(data: Path) -> dict[str, str]:
    settings, said = load_settings(data=data), list[Check]()
    checker = DatabaseChecker(
        settings.get_database_path(),
        folder.find_database_key(settings),
        folder.open_genesis(data),
        lambda: 0.0,
        said.append,
    )
    checks = checker.run(data / JOURNAL_FILE, SIGNER.public)
    assert checks == said
    return {each.name: each.found for each in checks}


def change(data: Path, work: Callable[[RawConnection], object]) -> None:
    database = folder.open_database(load_settings(data=data), folder.open_genesis(data))
    database.write_now(lambda connection: work(get_raw(connection)))
    database.close_now()


async def test_a_whole_store_is_told_so_and_untouched(
    made: tuple[SignedChain, Path], data: Path
) -> None:
    chain, _ = made
    before = hash_folder(data)
    found = check(data)
    assert hash_folder(data) == before
    assert list(found) == [
        "pages", "tables", "state", "blocks", "index", "mempool", "signatures",
    ]  # fmt: skip
    assert found["state"].endswith(f"under the root of block {chain.head.height}")
    assert found["blocks"].startswith(f"{chain.head.height + 1} from 0 on")
    places, segments = found["index"].split(" places in ")
    assert int(places) > 100 and int(segments.split()[0]) > 2
    assert found["signatures"] == "5 in the journal, 5 known to the store"


async def test_a_store_that_began_with_a_snapshot_is_whole_too(
    made: tuple[SignedChain, Path], tmp_path: Path
) -> None:
    chain, original = made
    take(original, tmp_path / "snapshot")
    data = chain.create_folder(tmp_path / "node")
    put(data, tmp_path / "snapshot")
    assert check(data)["blocks"].startswith(f"1 from {chain.head.height} on")


@pytest.mark.parametrize("height", [0, 7, 61, 80])
async def test_a_store_that_went_back_is_whole(
    made: tuple[SignedChain, Path], data: Path, height: int
) -> None:
    chain, _ = made
    go_back(data, height)
    assert check(data)["blocks"].startswith(f"{height + 1} from 0 on")
    with OpenStore(data, 64) as store:
        await chain.follow(store)
    assert check(data)["blocks"].startswith(f"{chain.head.height + 1} from 0 on")


@pytest.mark.parametrize(
    ("table", "column", "row", "error"),
    [
        ("blocks", "hash", "height = 2", ChainDamaged),
        ("blocks", "header", "height = 2", ChainDamaged),
        ("blocks", "certificate", "height = 2", ChainDamaged),
        ("blocks", "header", "height = 0", ChainDamaged),
        ("outcomes", '"transaction"', "position >> 20 = 2", ChainDamaged),
        ("outcomes", "outcome", "position >> 20 = 2", ChainDamaged),
        ("successions", "header", "epoch = 1", ChainDamaged),
        ("successions", "certificate", "epoch = 1", ChainDamaged),
        ("successions", "following", "epoch = 1", ChainDamaged),
        ("state_entries", "key", "leaf = 20", OperatorError),
        ("state_entries", "value", "leaf = 20", OperatorError),
        ("state_nodes", "node", "place = 1", DatabaseDamaged),
        ("state_log", "changes", "height = (select max(height) from state_log)", OperatorError),
    ],
)
async def test_a_flipped_bit_is_found(
    data: Path, table: str, column: str, row: str, error: type[OperatorError]
) -> None:
    def flip(raw: RawConnection) -> None:
        (value,) = raw.execute(f"select {column} from {table} where {row}").fetchone()
        middle = len(value) // 2
        flipped = value[:middle] + bytes([value[middle] ^ 1]) + value[middle + 1 :]
        raw.execute(f"update {table} set {column} = ? where {row}", (flipped,))

    change(data, flip)
    with pytest.raises(error) as caught:
        check(data)
    expected = (ExitCode.VERIFICATION_FAILED, ExitCode.DATABASE_DAMAGED)
    assert caught.value.exit_code in expected


@pytest.mark.parametrize(
    "statement",
    [
        "delete from blocks where height = 3",
        "delete from blocks where height = 0",
        "delete from blocks where height = (select max(height) from blocks)",
        "delete from outcomes where position = (select max(position) from outcomes)",
        "insert into outcomes (position, outcome) values (1 << 50, x'00')",
        "insert into outcomes (position, outcome) values (7, x'00')",
        "update blocks set due_count = 1 where height = 4",
        "delete from successions",
        "delete from state_entries where leaf = 20",
        "insert into state_entries (leaf, key, value) values (100000, x'61', x'00')",
        "delete from state_keys where leaf = 20",
        "insert into state_keys (term, leaf) select number, 5 from marks limit 1",
        "delete from due_jobs",
        "insert into due_jobs (leaf, job, due) values (20, zeroblob(32), 1)",
        "delete from state_log where height = (select max(height) from state_log)",
        "update marks set number = number + 1 where name = 'state_height'",
        "update marks set number = 0 where name = 'history_segments'",
        "update marks set number = 9999 where name = 'history_height'",
        "delete from history_index where segment = 1 and position ="
        " (select max(position) from history_index where segment = 1)",
        "update history_index set position = position + 1 where segment = 0 and term ="
        " (select min(term) from history_index where segment = 0)",
        "insert or replace into marks (name, number) values ('base_height', 5)",
    ],
)
async def test_a_row_too_few_or_too_many_is_found(data: Path, statement: str) -> None:
    change(data, lambda raw: raw.execute(statement))
    with pytest.raises((ChainDamaged, DatabaseDamaged)):
        check(data)


async def test_every_damaged_page_is_found(data: Path) -> None:
    path = data / "node.db"
    whole = path.read_bytes()
    for page in range(len(whole) // PAGE_BYTES):
        damaged = bytearray(whole)
        damaged[page * PAGE_BYTES + 1_000] ^= 1
        path.write_bytes(damaged)
        with pytest.raises((DatabaseDamaged, DatabaseKeyWrong)):
            check(data)


async def test_the_journal_is_checked_against_the_store(
    made: tuple[SignedChain, Path], data: Path
) -> None:
    (data / JOURNAL_FILE).unlink()
    with pytest.raises(JournalRefused) as caught:
        check(data)
    assert caught.value.exit_code is ExitCode.SIGN_STATE_MISSING_OR_OLD


async def test_another_chain_is_told(data: Path, tmp_path: Path) -> None:
    other = SignedChain(idle=2).create_folder(tmp_path / "other")
    shutil.copy(other / "genesis.json", data / "genesis.json")
    with pytest.raises(WrongChain):
        check(data)
