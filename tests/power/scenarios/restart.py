"""The start after a power cut, and the next power cut in the middle of it.

The database's log is full and no process closed it, and the vote journal ends in a torn frame: the
start recovers both, and what it recovers from must outlive a cut.
"""

import os
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from ledger.blocks import compute_header_hash, decode_block
from ledger.keystore import sync_folder
from tests.ledger.world import World
from tests.node.stores import Follower
from tests.power.acknowledgements import Acknowledgement, BlockFinal, Witness
from tests.power.scenarios import authority
from tests.power.scenarios.authority import RunningAuthority, make_chain

BEFORE: Final = 30
AFTER: Final = 10
TORN: Final = bytes(2) + b"\x01\x00 and little more"


async def run(root: Path, variant: str) -> None:
    """Work elsewhere, keep what a killed process would leave, and start on it."""
    assert variant in ("whole", "short")
    witness = Witness(root)
    world = make_chain(BEFORE + AFTER)
    blocks = [decode_block(raw) for raw in world.raw_blocks]
    folder = root / "node"
    with TemporaryDirectory() as name:
        await Follower(Path(name), World(world.balances, world.rules)).close()
        killed = RunningAuthority(Path(name), Witness(Path(name)), variant)
        await killed.work(world, blocks[:BEFORE])
        _copy(Path(name), folder)
        killed.close()
    sync_folder(root)
    head = blocks[BEFORE - 2].header
    witness.tell(BlockFinal(head.height, compute_header_hash(head)))
    started = RunningAuthority(folder, witness, variant)
    await started.work(world, blocks[BEFORE - 1 :])
    started.close()


def check(image: Path, acknowledged: list[Acknowledgement]) -> None:
    """Open an image. Raises what the shipped code raises, and `AssertionError`."""
    authority.check(image, acknowledged)


def _copy(source: Path, folder: Path) -> None:
    """Copy the files that matter, durably, with a torn end to the journal."""
    folder.mkdir()
    for name in ("node.db", "node.db-wal", "journal.bin"):
        with (folder / name).open("wb") as file:
            file.write((source / name).read_bytes())
            file.write(TORN if name == "journal.bin" else b"")
            file.flush()
            os.fsync(file.fileno())
    sync_folder(folder)
