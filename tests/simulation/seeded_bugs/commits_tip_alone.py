"""A finalize certificate commits the block that it names, without its ancestors."""

import msgspec

from consensus.block_tree import BlockTree, Path
from consensus.machine import Consensus
from consensus.verification import Committee
from tests.simulation.variant import Variant


class _Tree(BlockTree):
    def find_path(self, block_hash: bytes) -> Path:
        path = super().find_path(block_hash)
        is_final = self.finalization is not None
        if is_final and path.missing is None and self.is_executed(block_hash):
            return msgspec.structs.replace(path, blocks=path.blocks[-1:])
        return path


class _Machine(Consensus):
    def _begin_epoch(self, committee: Committee) -> None:
        super()._begin_epoch(committee)
        self.tree = _Tree(self.tree.final)


VARIANT = Variant(machine=_Machine)
