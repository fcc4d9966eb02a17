"""A certificate without its block waits for the block to come by itself."""

from consensus.machine import Consensus
from tests.simulation.variant import Variant


class _Machine(Consensus):
    def _want(self, block_hash: bytes, holders: tuple[int, ...]) -> None:
        return


VARIANT = Variant(machine=_Machine)
