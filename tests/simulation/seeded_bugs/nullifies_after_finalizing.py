"""A view's timer does not look whether the view was voted final."""

from consensus.machine import Consensus
from ledger.ballots import NO_BLOCK, VoteKind
from tests.simulation.variant import Variant


class _Machine(Consensus):
    def _nullify(self) -> None:
        top = self.tree.get_top_notarization()
        if top is not None and self._now > self._pacing.entered_at + 2 * self._timing.delta:
            self._vote(VoteKind.NULLIFY, top.ballot.view, NO_BLOCK)
        super()._nullify()


VARIANT = Variant(machine=_Machine)
