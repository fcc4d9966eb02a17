"""A vote of one's own key that the journal does not know is taken for one's own."""

from consensus.machine import Consensus
from ledger.ballots import Ballot
from tests.simulation.variant import Variant


class _Machine(Consensus):
    def _is_foreign(self, ballot: Ballot) -> bool:
        return False


VARIANT = Variant(machine=_Machine)
