"""A driver that holds one machine by hand: real signatures, no network, time when told."""

from consensus import effects, inputs
from consensus.block_tree import FinalHead
from consensus.machine import Consensus
from consensus.messages import Certificate, CommittedBlock, Proposal, Vote
from consensus.restored import Restored
from consensus.timing import Timing
from consensus.verification import (
    Committee,
    verify_block,
    verify_certificate,
    verify_proposal,
    verify_vote,
)
from ledger.ballots import Ballot, VoteKind
from ledger.blocks import Block, compute_header_hash
from tests.consensus.network import (
    GENESIS,
    get_key,
    make_block,
    make_certificate,
    make_committee,
    make_proposal,
    make_vote,
)

START = 100_000
TIMING = Timing()


class Driver:
    """Authority `me` of `size`; `None` observes. Everything it did is in `done`, in order."""

    def __init__(
        self,
        size: int,
        me: int | None,
        restored: Restored | None = None,
        *,
        is_listening: bool = False,
        closing_height: int = 0,
    ) -> None:
        self.committee: Committee = make_committee(size)
        self.me = me
        self.now = START
        self.done: list[effects.Effect] = []
        self.timers: dict[effects.Timer, int] = {}
        self.is_valid = True
        self.is_building = True
        self.closing_height = closing_height
        key = None if me is None else get_key(me)
        head = FinalHead(GENESIS, 0, 0)
        self.machine = Consensus(self.committee, key, TIMING, restored or Restored(head))
        self.tell(inputs.Started(self.now))
        if not is_listening:
            self.wait(TIMING.listening if size > 1 else 0)

    def tell(self, *items: inputs.Input) -> list[effects.Effect]:
        """Handle inputs and what comes of them; return the effects."""
        before = len(self.done)
        queue = list(items)
        while queue:
            for effect in self.machine.handle(queue.pop(0)):
                self.done.append(effect)
                queue += self._answer(effect)
        return self.done[before:]

    def wait(self, milliseconds: int) -> list[effects.Effect]:
        """Let time pass, firing each timer when it is due."""
        before = len(self.done)
        end = self.now + milliseconds
        while self.timers and min(self.timers.values()) <= end:
            timer = min(self.timers, key=lambda each: self.timers[each])
            self.now = max(self.now, self.timers.pop(timer))
            self.tell(inputs.TimerFired(self.now, timer))
        self.now = end
        return self.done[before:]

    def hear(self, *messages: Vote | Proposal | Certificate) -> list[effects.Effect]:
        """Receive messages of peers."""
        before = len(self.done)
        for message in messages:
            match message:
                case Vote():
                    self.tell(inputs.VoteReceived(self.now, verify_vote(message, self.committee)))
                case Proposal():
                    verified = verify_proposal(message, self.committee)
                    self.tell(inputs.ProposalReceived(self.now, verified))
                case Certificate():
                    certificate = verify_certificate(message, self.committee)
                    self.tell(inputs.CertificateReceived(self.now, certificate))
        return self.done[before:]

    def work(self, is_pending: bool = True) -> list[effects.Effect]:
        """Tell whether work waits."""
        return self.tell(inputs.WorkKnown(self.now, is_pending))

    def give(self, block: Block) -> list[effects.Effect]:
        """Answer a fetch."""
        return self.tell(inputs.BlockReceived(self.now, verify_block(block)))

    def get_votes(self, kind: VoteKind) -> list[int]:
        """Return the views in which a vote of this kind was asked for."""
        return [
            effect.ballot.view
            for effect in self.done
            if isinstance(effect, effects.SignVote) and effect.ballot.kind is kind
        ]

    def get_committed(self) -> list[CommittedBlock]:
        """Return what was committed."""
        return [each.committed for each in self.done if isinstance(each, effects.Commit)]

    def _answer(self, effect: effects.Effect) -> list[inputs.Input]:
        match effect:
            case effects.SetTimer(timer, at):
                self.timers[timer] = at
            case effects.RequestProposal():
                if self.is_building:
                    return [inputs.ProposalBuilt(self.now, effect.view, self.build(effect))]
            case effects.SignProposal(view, block, _):
                assert self.me is not None
                proposal = make_proposal(block, self.me, view)
                return [
                    inputs.ProposalReceived(self.now, verify_proposal(proposal, self.committee))
                ]
            case effects.SignVote(ballot, _):
                assert self.me is not None
                vote = verify_vote(make_vote(ballot, self.me), self.committee)
                return [inputs.VoteReceived(self.now, vote)]
            case effects.ValidateBlock(_, block_hash, is_certified):
                return [inputs.BlockValidated(self.now, block_hash, self.is_valid, is_certified)]
            case _:
                pass
        return []

    def build(self, request: effects.RequestProposal) -> Block:
        """Return the block that was asked for."""
        is_closing = request.height == self.closing_height
        return make_block(
            self.committee,
            request.height,
            request.view,
            request.parent,
            request.parent_view,
            time=self.now,
            next_authorities=bytes(32) if is_closing else None,
        )


def find(kind: type[effects.Effect], done: list[effects.Effect]) -> list[effects.Effect]:
    """Return the effects of one kind."""
    return [effect for effect in done if isinstance(effect, kind)]


def certify(kind: VoteKind, block: Block, signers: tuple[int, ...]) -> Certificate:
    """Return a certificate for a block in its own view."""
    header = block.header
    ballot = Ballot(kind, header.epoch, header.view, compute_header_hash(header))
    return make_certificate(ballot, signers)
