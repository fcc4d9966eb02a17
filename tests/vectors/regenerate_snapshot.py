"""Writes the frozen snapshot and its genesis: `python -m tests.vectors.regenerate_snapshot`.

A changed file is a changed protocol (rules K1 to K5): nodes would refuse the snapshots of others.
Whoever regenerates it approves that, and says why in the commit.
"""

import asyncio
import tempfile
from pathlib import Path

from genesis.document import dump_genesis
from tests.node.signed_chain import SignedChain, make_node
from tests.node.test_snapshot import take

FOLDER = Path(__file__).parent
GENESIS, SNAPSHOT = FOLDER / "snapshot_genesis.json", FOLDER / "snapshot.bin"


def build_chain() -> SignedChain:
    """Return a chain of two epochs whose state has two pieces."""
    chain = SignedChain(idle=260)
    chain.transfer(2)
    chain.change_authorities(is_add=True)
    chain.transfer(1)
    return chain


def build_files() -> tuple[bytes, bytes]:
    """Return the genesis document and the snapshot."""
    chain = build_chain()
    with tempfile.TemporaryDirectory() as name:
        data, file = Path(name) / "node", Path(name) / "snapshot"
        asyncio.run(make_node(data, chain))
        take(data, file)
        return dump_genesis(chain.genesis), file.read_bytes()


if __name__ == "__main__":
    genesis, snapshot = build_files()
    GENESIS.write_bytes(genesis)
    SNAPSHOT.write_bytes(snapshot)
