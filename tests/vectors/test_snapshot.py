"""The frozen snapshot is read as it was, and is what this version makes of the same chain."""

from genesis.document import load_genesis
from node.snapshot_reader import SnapshotReader, read_whole_state
from tests.vectors.regenerate_snapshot import GENESIS, SNAPSHOT, build_chain, build_files


def test_the_frozen_snapshot_holds_the_state() -> None:
    chain = build_chain()
    with SNAPSHOT.open("rb") as file:
        reader = SnapshotReader(file, load_genesis(GENESIS.read_bytes()))
        state = read_whole_state(reader)
    assert reader.block.header == chain.head
    assert (reader.epoch, len(reader.successions)) == (1, 1)
    assert state.entries == chain.world.state.entries
    assert list(state.leaves) == list(chain.world.state.leaves)


def test_the_same_chain_gives_the_same_file() -> None:
    assert build_files() == (GENESIS.read_bytes(), SNAPSHOT.read_bytes())
