"""A node that lacks a nullification waits until it comes by itself."""

from consensus.block_tree import Missing
from consensus.machine import Consensus
from tests.simulation.variant import Variant


class _Machine(Consensus):
    def _send_request(self, missing: Missing) -> None:
        return


VARIANT = Variant(machine=_Machine)
