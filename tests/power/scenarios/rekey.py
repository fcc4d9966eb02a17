"""A change of the database's key: whenever it is cut short, a key file opens the whole database."""

from pathlib import Path

from ledger.keystore import sync_folder
from node import key_file, rekey
from node.database import Database
from node.tables import CHAIN_TABLES
from tests.ledger.world import World
from tests.node.stores import KEY, Follower, open_store
from tests.power.acknowledgements import Acknowledgement, BlockFinal, KeyChanged, Witness
from tests.power.checks import check_blocks
from tests.power.scenarios.authority import make_chain

BLOCKS = 40


async def run(root: Path, variant: str) -> None:
    """Make a database with blocks in it, and change its key."""
    assert variant in ("whole", "short")
    folder = root / "node"
    folder.mkdir()
    sync_folder(root)
    witness = Witness(root)
    world = make_chain(BLOCKS)
    key_file.write_key(folder / "database.key", KEY)
    follower = Follower(folder, genesis := World(world.balances, world.rules))
    genesis.raw_blocks = world.raw_blocks
    await follower.follow()
    head = follower.store.get_head_hash()
    await follower.close()
    witness.tell(BlockFinal(BLOCKS, head))
    rekey.change_key(folder / "node.db", folder / "database.key")
    witness.tell(KeyChanged())


def check(image: Path, acknowledged: list[Acknowledgement]) -> None:
    """Open an image. Raises what the shipped code raises, and `AssertionError`."""
    if not acknowledged:
        return
    path, key_path = image / "node" / "node.db", image / "node" / "database.key"
    key = rekey.find_key(path, key_path)
    if KeyChanged() in acknowledged:
        assert key != KEY, "the old key is back"
    database = Database.open(path, key, tables=[CHAIN_TABLES])
    try:
        store = open_store(database)
        check_blocks(store, list(store.iterate_blocks()), acknowledged)
        store.close()
    finally:
        database.close_now()
    rekey.change_key(path, key_path)
