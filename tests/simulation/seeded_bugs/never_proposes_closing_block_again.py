"""An epoch's last block that did not become final in its view is waited for without end."""

from consensus.block_tree import BlockTree, Missing, Parent
from consensus.machine import Consensus
from consensus.verification import Committee
from tests.simulation.variant import Variant


class _Tree(BlockTree):
    def find_parent(self, view: int) -> Parent | Missing | None:
        parent = super().find_parent(view)
        if isinstance(parent, Parent) and parent.closing is not None:
            return None
        return parent


class _Machine(Consensus):
    def _begin_epoch(self, committee: Committee) -> None:
        super()._begin_epoch(committee)
        self.tree = _Tree(self.tree.final)


VARIANT = Variant(machine=_Machine)
