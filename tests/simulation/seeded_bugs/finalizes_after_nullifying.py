"""A notarization that comes late is voted final although the view was nullified."""

from consensus.machine import Consensus
from ledger.ballots import VoteKind
from tests.simulation.variant import Variant


class _Machine(Consensus):
    def _finalize(self) -> None:
        certificate = self.tree.get_top_notarization()
        if certificate is not None:
            ballot = certificate.ballot
            self._vote(VoteKind.FINALIZE, ballot.view, ballot.block_hash)


VARIANT = Variant(machine=_Machine)
