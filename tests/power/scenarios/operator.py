"""What an operator does with a store: each command's word holds, and half a command is none.

A snapshot is restored into a new folder, the chain goes on from it, a backup is made, and the store
is rolled back.
"""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from genesis.document import compute_chain_id
from ledger.blocks import compute_header_hash
from node import backup, folder, rollback, snapshot, snapshot_restore
from node.settings import load_settings
from tests.node.signed_chain import MEMBERS, OpenStore, SignedChain, make_node
from tests.node.stores import compute_whole_root
from tests.power.acknowledgements import Acknowledgement, BackedUp, HeadMoved, Witness

RESTORED: Final = 10
GROWN: Final = 20
BACK: Final = 14
IDLE: Final = 100


async def run(root: Path, variant: str) -> None:
    """Do one after the other, and say so."""
    assert variant in ("whole", "short")
    witness = Witness(root)
    chain = SignedChain(IDLE)
    data = chain.create_folder(root / "node")
    settings, genesis = load_settings(data=data), folder.open_genesis(data)
    path, key = settings.get_database_path(), folder.find_database_key(settings)
    _tell_head(witness, chain)
    chain.transfer(RESTORED)
    with TemporaryDirectory() as name:
        original, file = await make_node(Path(name, "node"), chain), Path(name, "snapshot")
        other = load_settings(data=original)
        other_key = folder.find_database_key(other)
        snapshot.create(
            other.get_database_path(), other_key, compute_chain_id(genesis), file, is_dev=True
        )
        snapshot_restore.restore(settings, genesis, file)
    _tell_head(witness, chain)
    chain.transfer(GROWN - RESTORED)
    with OpenStore(data) as store:
        await chain.follow(store)
    _tell_head(witness, chain)
    backup.backup(path, key, data / "backup.db", is_dev=True)
    witness.tell(BackedUp())
    back = rollback.roll_back(settings, genesis, MEMBERS[0].public, BACK)
    witness.tell(HeadMoved(BACK, compute_header_hash(back.head)))


def check(image: Path, acknowledged: list[Acknowledgement]) -> None:
    """Open an image. Raises what the shipped code raises, and `AssertionError`."""
    told = [each for each in acknowledged if isinstance(each, HeadMoved)]
    if not told:
        return
    data = image / "node"
    with OpenStore(data) as store:
        head = store.get_head()
        is_at_told = (head.height, store.get_head_hash()) == (told[-1].height, told[-1].hash)
        match len(told):
            case 1:
                assert is_at_told or head.height == RESTORED
            case 2:
                assert is_at_told or RESTORED < head.height <= GROWN
            case 3:
                assert is_at_told or head.height == BACK
            case _:
                assert is_at_told
        assert compute_whole_root(store.state) == head.state_root
        genesis = folder.open_genesis(data)
        snapshot_restore.read_base(data, genesis, store.base_height)
    if BackedUp() in acknowledged:
        _check_backup(data)


def _check_backup(data: Path) -> None:
    (data / "node.db").unlink()
    (data / "node.db-wal").unlink(missing_ok=True)
    (data / "backup.db").rename(data / "node.db")
    with OpenStore(data) as store:
        assert store.get_head().height == GROWN
        assert compute_whole_root(store.state) == store.get_head().state_root


def _tell_head(witness: Witness, chain: SignedChain) -> None:
    witness.tell(HeadMoved(chain.head.height, compute_header_hash(chain.head)))
