"""Snapshots: what one holds, that it restores to the same chain, and that no other file does."""

import io
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import pytest_asyncio

from genesis.document import compute_chain_id
from ledger import codec
from ledger.blocks import Header
from ledger.entries import Account
from ledger.state_tree import hash_leaf, join_levels
from node import folder
from node.database_errors import DatabaseExists, WrongChain
from node.exit_codes import ExitCode
from node.settings import load_settings
from node.snapshot import Created, SnapshotImpossible, create
from node.snapshot_format import MAGIC, PIECE_LEVELS, StateItem, StatePiece
from node.snapshot_reader import SnapshotRefused
from node.snapshot_restore import BASE_FILE, Restored, restore
from node.sqlcipher import get_raw
from tests.node.signed_chain import MEMBERS, OpenStore, SignedChain, make_node
from tests.node.stores import compute_whole_root, hash_folder

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[SignedChain, Path, Path]:
    """A chain with three epochs, a node that holds it, and a snapshot of that node."""
    chain = SignedChain()
    chain.transfer(3)
    chain.change_authorities(is_add=True)
    chain.transfer(2)
    chain.change_authorities(is_add=False)
    chain.transfer(3)
    data = await make_node(tmp_path_factory.mktemp("original") / "node", chain)
    snapshot = data.parent / "snapshot"
    take(data, snapshot)
    return chain, data, snapshot


def take(data: Path, destination: Path) -> Created:
    settings = load_settings(data=data)
    genesis = folder.open_genesis(data)
    key = folder.find_database_key(settings)
    path = settings.get_database_path()
    return create(path, key, compute_chain_id(genesis), destination, is_dev=True)


def put(data: Path, snapshot: Path) -> Restored:
    return restore(load_settings(data=data), folder.open_genesis(data), snapshot)


async def test_a_restored_node_goes_on_like_the_original(
    made: tuple[SignedChain, Path, Path], tmp_path: Path
) -> None:
    chain, data, snapshot = made
    new = chain.create_folder(tmp_path / "node")
    restored = put(new, snapshot)
    assert (restored.height, restored.epoch) == (chain.head.height, 2)
    assert restored.state_root == chain.head.state_root
    grown = shutil.copytree(data, tmp_path / "grown")
    chain = await grow_copy(chain, grown)
    with OpenStore(new) as store, OpenStore(grown) as original:
        assert store.base_height == restored.height
        await chain.follow(store)
        assert store.get_head() == original.get_head() == chain.head
        assert compute_whole_root(store.state) == chain.head.state_root
        rows, expected = store.state.iterate_entries(), original.state.iterate_entries()
        assert list(rows) == list(expected)
        assert store.read_successions() == original.read_successions()
        assert len(store.read_successions()) == 3
        base = await store.read_block(restored.height)
        assert base == await original.read_block(restored.height)
        assert base is not None
        assert await store.history.find_block(base.hash) == base
        assert await store.read_blocks(restored.height - 1, 10) == []
    with OpenStore(new) as store:
        assert store.get_head() == chain.head
        assert [each.header.height for each in store.iterate_blocks()] == list(
            range(restored.height, chain.head.height + 1)
        )


async def grow_copy(chain: SignedChain, data: Path) -> SignedChain:
    """Return a longer chain that begins like the given one, and bring the node to its head."""
    longer = SignedChain()
    for raw, certificate in zip(chain.world.raw_blocks, chain.certificates, strict=True):
        longer.replay(raw, certificate)
    assert longer.head == chain.head
    longer.transfer(40)
    longer.change_authorities(is_add=True)
    longer.transfer(40)
    with OpenStore(data) as store:
        await longer.follow(store)
    return longer


async def test_a_snapshot_of_a_restored_node_restores_too(
    made: tuple[SignedChain, Path, Path], tmp_path: Path
) -> None:
    chain, _, snapshot = made
    first = chain.create_folder(tmp_path / "first")
    put(first, snapshot)
    assert (first / BASE_FILE).read_bytes() == snapshot.read_bytes()
    again = tmp_path / "again"
    take(first, again)
    assert again.read_bytes() == snapshot.read_bytes()
    second = chain.create_folder(tmp_path / "second")
    assert put(second, again).height == chain.head.height


async def test_nothing_of_the_node_is_in_it(
    made: tuple[SignedChain, Path, Path], tmp_path: Path
) -> None:
    chain, data, snapshot = made
    copy = shutil.copytree(data, tmp_path / "node")
    settings = load_settings(data=copy)
    database = folder.open_database(settings, chain.genesis)
    secret = b"what only this node knows"
    database.write_now(
        lambda connection: get_raw(connection).execute(
            "insert into mempool (first, entries) values (1, ?)", (secret,)
        )
    )
    database.close_now()
    again = tmp_path / "again"
    take(copy, again)
    assert again.read_bytes() == snapshot.read_bytes()
    key = (data / "database.key").read_bytes().strip()
    for part in (secret, key, bytes.fromhex(key.decode()), MEMBERS[0].seed):
        assert part not in again.read_bytes()


async def test_every_flipped_byte_is_refused(
    made: tuple[SignedChain, Path, Path], tmp_path: Path
) -> None:
    chain, _, snapshot = made
    new = chain.create_folder(tmp_path / "node")
    whole = snapshot.read_bytes()
    before = hash_folder(new)
    damaged = tmp_path / "damaged"
    offsets = [*range(0, 700, 11), *range(700, len(whole), len(whole) // 150), len(whole) - 1]
    for offset in offsets:
        flipped = bytearray(whole)
        flipped[offset] ^= 1 << offset % 8
        damaged.write_bytes(flipped)
        with pytest.raises((SnapshotRefused, WrongChain)) as caught:
            put(new, damaged)
        assert caught.value.exit_code in (ExitCode.VERIFICATION_FAILED, ExitCode.WRONG_CHAIN)
    assert_unchanged(new, before)
    assert put(new, snapshot).height == chain.head.height


async def test_a_file_cut_or_continued_is_refused(
    made: tuple[SignedChain, Path, Path], tmp_path: Path
) -> None:
    chain, _, snapshot = made
    new = chain.create_folder(tmp_path / "node")
    whole = snapshot.read_bytes()
    before = hash_folder(new)
    damaged = tmp_path / "damaged"
    for length in [0, 1, 17, 18, 40, *range(100, len(whole), len(whole) // 60), len(whole) - 1]:
        damaged.write_bytes(whole[:length])
        with pytest.raises(SnapshotRefused):
            put(new, damaged)
    damaged.write_bytes(whole + b"\0")
    with pytest.raises(SnapshotRefused):
        put(new, damaged)
    assert_unchanged(new, before)


def assert_unchanged(data: Path, before: dict[str, tuple[str, int]]) -> None:
    """The chain in a folder is what it was; SQLite may have rewritten pages of the same content."""
    assert sorted(hash_folder(data)) == sorted(before)
    with OpenStore(data) as store:
        assert (store.base_height, store.get_head().height) == (0, 0)
        assert compute_whole_root(store.state) == store.get_head().state_root


def split(data: bytes) -> list[bytes]:
    """Return the frames of a snapshot."""
    file, frames = io.BytesIO(data), []
    assert file.read(len(MAGIC)) == MAGIC
    while length := file.read(4):
        frames.append(file.read(int.from_bytes(length, "big")))
    return frames


def join(frames: list[bytes]) -> bytes:
    return MAGIC + b"".join(len(frame).to_bytes(4, "big") + frame for frame in frames)


def swap_pieces(frames: list[bytes]) -> None:
    frames[-1], frames[-2] = frames[-2], frames[-1]


def swap_entries(frames: list[bytes]) -> None:
    (items,) = codec.decode(frames[-1], list, 10**7)
    items[0], items[1] = items[1], items[0]
    frames[-1] = codec.encode([items])


def forge_balance(frames: list[bytes]) -> None:
    (items,) = codec.decode(frames[-1], list, 10**7)
    items[-1][1][1] += 1
    frames[-1] = codec.encode([items])


def forge_root(frames: list[bytes]) -> None:
    base = codec.decode(frames[3], list, 10**7)
    header = codec.encode(base[0][0])
    forged = codec.decode(header, Header, 1_000)
    base[0][0][11] = bytes(32)
    assert base[0][0][11] != forged.state_root
    frames[3] = codec.encode(base)


def forge_balance_and_hash(frames: list[bytes]) -> None:
    """Change the last piece and the hash that it is checked against; the header's root stands."""
    piece = codec.decode(frames[-1], StatePiece, 10**7)
    items = list(piece.items)
    assert isinstance(items[-1].entry, Account)
    items[-1] = StateItem(items[-1].key, Account(items[-1].entry.balance + 1, 0))
    leaves = [hash_leaf(item.key, codec.encode(item.entry)) for item in items]
    (forged,), _ = join_levels(leaves, 0, 0, PIECE_LEVELS)
    frames[-1] = codec.encode(StatePiece(tuple(items)))
    frames[4] = frames[4][:-32] + forged


def drop_transaction(frames: list[bytes]) -> None:
    base = codec.decode(frames[3], list, 10**7)
    assert len(base[0][1]) == 1
    base[0][1] = []
    frames[3] = codec.encode(base)


def drop_outcome(frames: list[bytes]) -> None:
    base = codec.decode(frames[3], list, 10**7)
    assert len(base[1]) == 1
    base[1] = []
    frames[3] = codec.encode(base)


def drop_entry(frames: list[bytes]) -> None:
    (items,) = codec.decode(frames[-1], list, 10**7)
    frames[-1] = codec.encode([items[:-1]])


def drop_succession(frames: list[bytes]) -> None:
    del frames[1]


def swap_successions(frames: list[bytes]) -> None:
    frames[1], frames[2] = frames[2], frames[1]


def lower_epoch(frames: list[bytes]) -> None:
    head = codec.decode(frames[0], list, 1_000)
    head[2] -= 1
    frames[0] = codec.encode(head)
    del frames[2]


def more_entries(frames: list[bytes]) -> None:
    head = codec.decode(frames[0], list, 1_000)
    head[3] += 1
    frames[0] = codec.encode(head)


def longer_encoding(frames: list[bytes]) -> None:
    frames[0] = b"\xdc\x00\x04" + frames[0][1:]


FORGERIES: tuple[Callable[[list[bytes]], None], ...] = (
    swap_pieces,
    swap_entries,
    forge_balance,
    forge_balance_and_hash,
    forge_root,
    drop_transaction,
    drop_outcome,
    drop_entry,
    drop_succession,
    swap_successions,
    lower_epoch,
    more_entries,
    longer_encoding,
)


@pytest.mark.parametrize("forge", FORGERIES)
async def test_a_forged_file_is_refused(
    made: tuple[SignedChain, Path, Path], tmp_path: Path, forge: Callable[[list[bytes]], None]
) -> None:
    chain, _, snapshot = made
    frames = split(snapshot.read_bytes())
    assert join(frames) == snapshot.read_bytes()
    forge(frames)
    forged = tmp_path / "forged"
    forged.write_bytes(join(frames))
    with pytest.raises(SnapshotRefused):
        put(chain.create_folder(tmp_path / "node"), forged)


async def test_another_chains_snapshot_is_refused(
    made: tuple[SignedChain, Path, Path], tmp_path: Path
) -> None:
    _, _, snapshot = made
    new = SignedChain(idle=3).create_folder(tmp_path / "node")
    with pytest.raises(WrongChain) as caught:
        put(new, snapshot)
    assert caught.value.exit_code is ExitCode.WRONG_CHAIN


async def test_it_goes_into_a_new_nodes_folder_alone(
    made: tuple[SignedChain, Path, Path], tmp_path: Path
) -> None:
    _, data, snapshot = made
    copy = shutil.copytree(data, tmp_path / "node")
    with pytest.raises(SnapshotImpossible) as caught:
        put(copy, snapshot)
    assert caught.value.exit_code is ExitCode.CONFIGURATION


async def test_none_is_made_of_block_0_or_over_a_file(
    made: tuple[SignedChain, Path, Path], tmp_path: Path
) -> None:
    chain, data, snapshot = made
    new = chain.create_folder(tmp_path / "node")
    with pytest.raises(SnapshotImpossible):
        take(new, tmp_path / "snapshot")
    assert not (tmp_path / "snapshot").exists()
    before = snapshot.read_bytes()
    with pytest.raises(DatabaseExists):
        take(data, snapshot)
    assert snapshot.read_bytes() == before


@pytest.mark.parametrize("idle", [0, 6, 7, 246, 247, 248, 4_090])
async def test_states_of_every_shape(tmp_path: Path, idle: int) -> None:
    chain = SignedChain(idle=idle)
    chain.transfer(1)
    data = await make_node(tmp_path / "node", chain)
    made = take(data, tmp_path / "snapshot")
    new = chain.create_folder(tmp_path / "new")
    assert put(new, tmp_path / "snapshot").entries == made.entries
    chain.transfer(1)
    with OpenStore(new) as store:
        await chain.follow(store)
        assert compute_whole_root(store.state) == chain.head.state_root


async def test_a_snapshot_of_the_block_that_closes_an_epoch(tmp_path: Path) -> None:
    chain = SignedChain(idle=5)
    chain.transfer(1)
    chain.change_authorities(is_add=True)
    assert chain.head.next_authorities != chain.head.authorities
    take(await make_node(tmp_path / "node", chain), tmp_path / "snapshot")
    new = chain.create_folder(tmp_path / "new")
    assert put(new, tmp_path / "snapshot").epoch == 1
    chain.transfer(1)
    assert chain.head.epoch == 1
    with OpenStore(new) as store:
        await chain.follow(store)
        assert compute_whole_root(store.state) == chain.head.state_root
        assert [each.following.epoch for each in store.read_successions()] == [1]
