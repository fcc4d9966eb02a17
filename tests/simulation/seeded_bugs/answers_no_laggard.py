"""A node that has moved on leaves the others to find out for themselves."""

from consensus.machine import Consensus
from tests.simulation.node import Variant


class _Machine(Consensus):
    def _answer_laggard(self, authority: int, view: int) -> None:
        return


VARIANT = Variant(machine=_Machine)
