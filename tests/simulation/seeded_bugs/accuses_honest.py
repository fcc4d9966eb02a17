"""A notarize beside a nullify of one view is taken for an offence."""

from consensus.evidence import VoteEvidence
from consensus.machine import Consensus
from consensus.messages import Vote
from consensus.verification import Committee
from consensus.vote_keeper import VoteKeeper
from ledger.ballots import VoteKind
from tests.simulation.variant import Variant


class _Keeper(VoteKeeper):
    def _find_conflict(
        self, vote: Vote, votes: dict[tuple[VoteKind, int], Vote]
    ) -> VoteEvidence | None:
        for other in votes.values():
            if other.signer == vote.signer and other.ballot.kind is not vote.ballot.kind:
                return VoteEvidence(other, vote)
        return None


class _Machine(Consensus):
    def _begin_epoch(self, committee: Committee) -> None:
        super()._begin_epoch(committee)
        self._keeper = _Keeper(committee.size)


VARIANT = Variant(machine=_Machine)
