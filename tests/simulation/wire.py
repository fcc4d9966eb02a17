"""How messages, blocks and ranges travel between places, as the network permits.

A message is for a node; where two copies of its key run, each hears what is told to everybody, and
what is told to the node alone reaches one of them.
"""

from random import Random

from consensus.messages import CommittedBlock, Message, decode_message, encode_message
from ledger.blocks import Block
from ledger.quorum import compute_fault_bound
from tests.simulation.network import SimulatedNetwork
from tests.simulation.node import SimulatedNode
from tests.simulation.processes import Processes
from tests.simulation.schedule import Action, Schedule

RANGE = 64
"""How many blocks a peer serves at once."""
RANGE_INTERVAL = 200
"""A node asks for no second range earlier, in ms."""

STEP_INTERVAL = 50
"""How often a started node looks whether it is in step, in ms."""


class Wire:
    """The connections of all nodes, and the questions that drivers ask each other."""

    def __init__(
        self,
        schedule: Schedule,
        network: SimulatedNetwork,
        random: Random,
        processes: Processes,
        *,
        is_encoding: bool,
    ) -> None:
        self._schedule = schedule
        self._network = network
        self._random = random
        self._processes = processes
        self._run = processes.run_in
        self._is_encoding = is_encoding
        self._asked_at: dict[int, int] = {}

    def send(self, node: SimulatedNode, receiver: int, message: Message | bytes) -> None:
        """Carry a message to one node."""
        self._carry(node, self._choose_place(node, receiver), message)

    def broadcast(self, node: SimulatedNode, message: Message) -> None:
        """Carry a message to everybody else, also to another copy of the sender's key."""
        for place in range(len(self._processes.nodes)):
            if place != node.place:
                self._carry(node, place, message)

    def fetch(self, node: SimulatedNode, block_hash: bytes, holders: tuple[int, ...]) -> None:
        """Ask one of the holders for a block."""
        others = [holder for holder in holders if holder != node.index]
        others = others or [
            other.index for other in self._processes.nodes if other.index != node.index
        ]
        place = self._choose_place(node, self._random.choice(others))

        def serve() -> None:
            holder = self._processes.nodes[place]
            block = holder.serve_block(block_hash) if holder.is_up else None
            if block is not None:
                self._travel(place, node.place, lambda: hand_over(holder.index, block))

        def hand_over(sender: int, block: Block) -> None:
            self._run(node, lambda: node.receive_block(sender, block))

        self._travel(node.place, place, serve)

    def catch_up(self, node: SimulatedNode) -> None:
        """Fetch final blocks in a range of one peer."""
        now = self._schedule.now
        if now < self._asked_at.get(node.place, 0) + RANGE_INTERVAL:
            return
        self._asked_at[node.place] = now
        place = self._random.choice(
            [p for p in range(len(self._processes.nodes)) if p != node.place]
        )

        def serve() -> None:
            peer = self._processes.nodes[place]
            first = len(node.store.committed)
            blocks = peer.serve_range(first, first + RANGE) if peer.is_up else []
            self._travel(place, node.place, lambda: hand_over(peer.index, blocks))

        def hand_over(sender: int, blocks: list[CommittedBlock]) -> None:
            self._run(node, lambda: node.take_range(sender, blocks))

        self._travel(node.place, place, serve)

    def is_in_step(self, node: SimulatedNode) -> bool:
        """Tell whether f + 1 others can be heard and none of the blocks that they have lacks.

        Of whoever claims most, f may lie, so the height that one more claims is believed.
        """
        committee = node.get_committee()
        others = {
            other.index: other.store.state.height
            for other in self._processes.nodes
            if other.is_up
            and other.index != node.index
            and committee.get_index(other.key) is not None
            and self._network.is_open(other.place, node.place)
        }
        fault_bound = compute_fault_bound(committee.size)
        needed = min(committee.size - 1, fault_bound + 1)
        claims = sorted(others.values(), reverse=True)
        is_heard = len(claims) >= needed
        return is_heard and (not claims or claims[needed - 1] <= node.store.state.height)

    def watch_for_step(self, node: SimulatedNode) -> None:
        """Catch up until the node is in step, and then tell it."""

        def look() -> None:
            if self.is_in_step(node):
                node.connect()
            else:
                self.catch_up(node)
                self.watch_for_step(node)

        self._schedule.at(self._schedule.now + STEP_INTERVAL, lambda: self._run(node, look))

    def _carry(self, node: SimulatedNode, place: int, message: Message | bytes) -> None:
        if self._is_encoding and not isinstance(message, bytes):
            message = decode_message(encode_message(message))
        sender = node.index

        def deliver() -> None:
            receiver = self._processes.nodes[place]
            self._run(receiver, lambda: receiver.receive(sender, message))

        self._travel(node.place, place, deliver)

    def _travel(self, sender: int, receiver: int, arrive: Action) -> None:
        for time in self._network.compute_arrivals(sender, receiver, self._schedule.now):
            self._schedule.at(time, arrive)

    def _choose_place(self, node: SimulatedNode, receiver: int) -> int:
        places = [other.place for other in self._processes.nodes if other.index == receiver]
        reachable = [place for place in places if self._network.is_open(node.place, place)]
        return self._random.choice(reachable or places)
