"""What byzantine nodes share: a real machine, and a driver that does what it likes with it."""

from consensus import effects, inputs
from consensus.messages import Message, Proposal
from ledger.blocks import Block, compute_header_hash
from tests.simulation.node import SimulatedNode


class DishonestNode(SimulatedNode):
    """Accuses nobody, forgets no state, never crashes, and never stops itself."""

    def perform(self, effect: effects.Effect) -> None:
        if not isinstance(effect, effects.ReportEvidence):
            super().perform(effect)

    def receive(self, sender: int, message: Message | bytes) -> None:
        is_new = isinstance(message, Proposal) and self.machine.is_useful(message)
        super().receive(sender, message)
        if is_new and isinstance(message, Proposal) and self.is_member():
            if message.block.header.epoch == self.machine.committee.epoch:
                self.on_foreign_proposal(message, compute_header_hash(message.block.header))

    def tell(self, item: inputs.Input) -> None:
        # Its own contradictions come back to it from others; it does not mind.
        super().tell(item)
        self.machine._is_stopped = False

    def forget_states(self, height: int) -> None:
        pass

    def on_foreign_proposal(self, proposal: Proposal, block_hash: bytes) -> None:
        """React to a proposal before the machine's votes do."""

    def build_other(self, block: Block) -> Block:
        """Return a second block for the place of one's own."""
        header = block.header
        parent = self.find_state(header.parent)
        assert parent is not None
        place = (header.view, header.parent, header.parent_view)
        other = self.world.build(parent, place, header.time + 1, self.known)
        self._execute(other, compute_header_hash(other.header), parent)
        return other

    def is_member(self) -> bool:
        """Tell whether this node is an authority now."""
        return self.machine.committee.get_index(self.key) is not None

    def get_others(self) -> list[int]:
        """Return the other nodes."""
        return [node for node in range(len(self.world.keys)) if node != self.index]

    def whisper(self, receiver: int, message: Message | bytes) -> None:
        """Send to one node alone."""
        self._surroundings.send(self, receiver, message)
