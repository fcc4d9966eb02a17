"""Going back: the same blocks again give the same chain, and no signature is ever forgotten."""

import shutil
from pathlib import Path

import pytest
import pytest_asyncio

from genesis.document import compute_chain_id
from ledger import codec
from ledger.ballots import NO_BLOCK, Ballot, VoteKind
from ledger.blocks import Header
from node import folder, mempool_rows
from node.exit_codes import ExitCode
from node.folder import JOURNAL_FILE
from node.rollback import HeightRefused, RollbackRefused, RolledBack, roll_back
from node.settings import load_settings
from node.snapshot_restore import BASE_FILE
from node.sqlcipher import RawConnection, get_raw
from node.verify_chain import ChainDamaged
from node.vote_journal import JournalRefused, VoteJournal
from tests.ledger.world import CLIENT
from tests.node.signed_chain import MEMBERS, OpenStore, SignedChain, make_node
from tests.node.stores import compute_whole_root
from tests.node.test_snapshot import put, take

pytestmark = pytest.mark.asyncio(loop_scope="module")

SIGNER = MEMBERS[0]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[SignedChain, Path]:
    """A chain of two epochs and a node that holds it, its indexes in several batches."""
    chain = SignedChain(idle=300)
    chain.transfer(30)
    chain.change_authorities(is_add=True)
    chain.transfer(30)
    return chain, await make_node(tmp_path_factory.mktemp("original") / "node", chain)


@pytest.fixture
def data(made: tuple[SignedChain, Path], tmp_path: Path) -> Path:
    return shutil.copytree(made[1], tmp_path / "own")


def go_back(data: Path, height: int) -> RolledBack:
    settings, genesis = load_settings(data=data), folder.open_genesis(data)
    return roll_back(settings, genesis, SIGNER.public, height)


def change(data: Path, *statements: str) -> None:
    database = folder.open_database(load_settings(data=data), folder.open_genesis(data))

    def work(raw: RawConnection) -> None:
        for statement in statements:
            raw.execute(statement)

    database.write_now(lambda connection: work(get_raw(connection)))
    database.close_now()


def read_tables(data: Path) -> dict[str, list[tuple[object, ...]]]:
    """Return every row of the chain's tables, but of those that only caches differ in."""
    database = folder.open_database(load_settings(data=data), folder.open_genesis(data))
    tables = ("blocks", "outcomes", "successions")
    rows = database.read_now(
        lambda connection: {
            table: get_raw(connection).execute(f"select * from {table} order by 1").fetchall()
            for table in tables
        }
    )
    database.close_now()
    return rows


@pytest.mark.parametrize("height", [0, 1, 17, 30, 31, 32, 33, 61, 62])
async def test_the_same_blocks_again_give_the_same_chain(
    made: tuple[SignedChain, Path], data: Path, height: int
) -> None:
    chain, original = made
    done = go_back(data, height)
    assert (done.head.height, done.removed_blocks) == (height, chain.head.height - height)
    with OpenStore(data) as store:
        assert store.get_head() == done.head
        assert compute_whole_root(store.state) == done.head.state_root
        assert store.state.get_leaf_count() == done.entries
        assert await store.read_block(height + 1) is None
        for block in store.iterate_blocks():
            assert await store.history.find_block(block.hash) == block
            for each in block.transaction_ids:
                located = await store.history.find_transaction(each)
                assert located is not None and located.height == block.header.height
        listed = await store.history.list_transactions(None, 1_000)
        assert all(each.located.height <= height for each in listed)
        sent = await store.history.list_account_transactions(CLIENT.address, None, 1_000)
        assert len({each.position for each in sent}) == len(sent)
        await chain.follow(store)
    with OpenStore(data) as store, OpenStore(original) as other:
        assert store.get_head() == other.get_head()
        assert list(store.state.iterate_entries()) == list(other.state.iterate_entries())
        assert compute_whole_root(store.state) == chain.head.state_root
        for block in other.iterate_blocks():
            assert await store.history.find_block(block.hash) == block
        sent = await store.history.list_account_transactions(CLIENT.address, None, 1_000)
        assert sent == await other.history.list_account_transactions(CLIENT.address, None, 1_000)
    assert read_tables(data) == read_tables(original)


async def test_a_spoilt_state_is_made_anew(made: tuple[SignedChain, Path], data: Path) -> None:
    chain, _ = made
    change(
        data,
        "update state_entries set value = zeroblob(5)",
        "delete from state_nodes",
        "delete from state_keys where leaf > 3",
        "update state_log set changes = x'00'",
        "update successions set header = x'00', epoch = 7",
        "update outcomes set outcome = x'00' where position >> 20 > 40",
        "update blocks set header = x'00' where height between 41 and 60",
    )
    done = go_back(data, 40)
    with OpenStore(data) as store:
        assert compute_whole_root(store.state) == done.head.state_root
        await chain.follow(store)
        assert compute_whole_root(store.state) == chain.head.state_root


async def test_the_state_of_the_head_itself_is_made_anew(
    made: tuple[SignedChain, Path], data: Path
) -> None:
    chain, _ = made
    change(data, "update state_entries set value = zeroblob(5)")
    assert go_back(data, chain.head.height).removed_blocks == 0
    with OpenStore(data) as store:
        assert compute_whole_root(store.state) == chain.head.state_root


async def test_a_block_that_does_not_hold_is_named_and_nothing_changes(
    made: tuple[SignedChain, Path], data: Path
) -> None:
    chain, _ = made
    change(data, "update blocks set certificate = (select certificate from blocks where height = 5)"
                 " where height = 20")  # fmt: skip
    with pytest.raises(ChainDamaged, match="block 20") as caught:
        go_back(data, 30)
    assert caught.value.exit_code is ExitCode.VERIFICATION_FAILED
    with OpenStore(data) as store:
        assert store.get_head() == chain.head
    assert go_back(data, 19).head.height == 19


async def test_heights_that_are_not_here_are_refused(
    made: tuple[SignedChain, Path], data: Path
) -> None:
    for height in (-1, made[0].head.height + 1):
        with pytest.raises(HeightRefused):
            go_back(data, height)


async def test_what_was_accepted_waits_again(made: tuple[SignedChain, Path], data: Path) -> None:
    chain, _ = made
    raws = [(7, b"first"), (8, b"second")]
    database = folder.open_database(load_settings(data=data), chain.genesis)
    database.write_now(lambda connection: mempool_rows.insert_batch(connection, raws))
    database.close_now()
    head = chain.head.height
    assert go_back(data, head - 3).waiting_again == 3
    assert go_back(data, head - 5).waiting_again == 2
    database = folder.open_database(load_settings(data=data), chain.genesis)
    waiting = [entry for batch in database.read_now(mempool_rows.load_batches) for entry in batch]
    database.close_now()
    assert [number for number, _ in waiting] == sorted({number for number, _ in waiting})
    expected = []
    with OpenStore(made[1]) as store:
        for block in store.iterate_blocks(head - 4):
            expected += [codec.encode(each) for each in block.transactions]
    assert [raw for _, raw in waiting] == [*expected, b"first", b"second"]


async def test_the_nodes_own_rows_stay(made: tuple[SignedChain, Path], data: Path) -> None:
    change(
        data,
        "insert into coordinator_followed (only, height) values (1, 60)",
        "insert into coordinator_accounts (address, created_ms) values (zeroblob(20), 5)",
        "insert or replace into marks (name, number) values ('sign_sequence', 0)",
    )
    go_back(data, 10)
    database = folder.open_database(load_settings(data=data), made[0].genesis)
    rows = database.read_now(
        lambda connection: (
            get_raw(connection)
            .execute("select height, created_ms from coordinator_followed, coordinator_accounts")
            .fetchall()
        )
    )
    database.close_now()
    # The same blocks come again; their events are in the rows already, and are not applied twice.
    assert rows == [(60, 5)]


# What the node's key has signed


def find_header(data: Path, height: int) -> Header:
    with OpenStore(data) as store:
        return next(store.iterate_blocks(height)).header


def sign(
    data: Path, chain: SignedChain, views: range, epoch: int = 0, floor: int | None = None
) -> None:
    """Let the node's key nullify views, and the store know of every signature."""
    journal = VoteJournal(
        data / JOURNAL_FILE, compute_chain_id(chain.genesis), SIGNER.seed, 0,
        override=False, compact_bytes=0,
    )  # fmt: skip
    for view in views:
        journal.sign_vote(Ballot(VoteKind.NULLIFY, epoch, view, NO_BLOCK), None, 0)
    if floor is not None:
        journal.compact(epoch, floor)
    change(
        data,
        f"insert or replace into marks (name, number) values ('sign_sequence', {journal.sequence})",
    )
    journal.close()


async def test_a_whole_journal_lets_it_go_back_and_keeps_every_signature(
    made: tuple[SignedChain, Path], data: Path
) -> None:
    chain, _ = made
    sign(data, chain, range(1, 33))
    before = (data / JOURNAL_FILE).read_bytes()
    assert go_back(data, 0).head.height == 0
    assert (data / JOURNAL_FILE).read_bytes() == before
    with OpenStore(data) as store:
        assert store.read_sign_sequence() == 32
    journal = VoteJournal(
        data / JOURNAL_FILE, compute_chain_id(chain.genesis), SIGNER.seed, 32, override=False
    )
    assert journal.sequence == 32
    journal.close()


async def test_it_does_not_cross_what_the_journal_has_dropped(
    made: tuple[SignedChain, Path], data: Path
) -> None:
    chain, _ = made
    sign(data, chain, range(1, 33), floor=20)
    assert find_header(data, 20).view == 20
    with pytest.raises(RollbackRefused, match="from view 21 of epoch 0 on") as caught:
        go_back(data, 19)
    assert caught.value.exit_code is ExitCode.ROLLBACK_REFUSED
    with OpenStore(data) as store:
        assert store.get_head() == chain.head
    assert go_back(data, 20).head.height == 20


async def test_it_does_not_go_back_into_an_epoch_before_one_that_was_signed_in(
    made: tuple[SignedChain, Path], data: Path
) -> None:
    chain, _ = made
    sign(data, chain, range(33, 40), epoch=1)
    assert find_header(data, 32).epoch == 0
    assert find_header(data, 33).epoch == 1
    with pytest.raises(RollbackRefused, match="signed in epoch 1"):
        go_back(data, 31)
    # After the block that closes epoch 0 comes one of epoch 1.
    assert go_back(data, 32).head.height == 32


async def test_a_journal_that_is_missing_or_older_is_refused_as_at_a_start(
    made: tuple[SignedChain, Path], data: Path
) -> None:
    chain, _ = made
    sign(data, chain, range(1, 5))
    older = (data / JOURNAL_FILE).read_bytes()
    sign(data, chain, range(5, 9))
    for content in (older, b"", None, b"\x00\x00\x00\x05damaged" + older):
        (data / JOURNAL_FILE).unlink(missing_ok=True)
        if content is not None:
            (data / JOURNAL_FILE).write_bytes(content)
        with pytest.raises(JournalRefused) as caught:
            go_back(data, 3)
        assert caught.value.exit_code is ExitCode.SIGN_STATE_MISSING_OR_OLD
    with OpenStore(data) as store:
        assert store.get_head() == chain.head


async def test_signatures_that_were_given_up_are_not_crossed(
    made: tuple[SignedChain, Path], data: Path
) -> None:
    chain, _ = made
    sign(data, chain, range(1, 5))
    (data / JOURNAL_FILE).unlink()
    VoteJournal(
        data / JOURNAL_FILE, compute_chain_id(chain.genesis), SIGNER.seed, 4, override=True
    ).close()
    with pytest.raises(RollbackRefused, match="given up"):
        go_back(data, 3)


# A chain that began with a snapshot


async def test_a_restored_chain_goes_back_to_its_base(
    made: tuple[SignedChain, Path], tmp_path: Path
) -> None:
    chain, original = made
    early = SignedChain(idle=300)
    for raw, certificate in zip(chain.world.raw_blocks[:40], chain.certificates, strict=False):
        early.replay(raw, certificate)
    take(await make_node(tmp_path / "early", early), tmp_path / "snapshot")
    data = chain.create_folder(tmp_path / "node")
    put(data, tmp_path / "snapshot")
    with OpenStore(data) as store:
        await chain.follow(store)
    with pytest.raises(HeightRefused, match="from block 40"):
        go_back(data, 39)
    for height in (50, 40):
        done = go_back(data, height)
        with OpenStore(data) as store:
            assert (store.base_height, store.get_head()) == (40, done.head)
            assert compute_whole_root(store.state) == done.head.state_root
    with OpenStore(data) as store, OpenStore(original) as other:
        await chain.follow(store)
        assert list(store.state.iterate_entries()) == list(other.state.iterate_entries())
    (data / BASE_FILE).unlink()
    with pytest.raises(Exception, match="put it back"):
        go_back(data, 50)
