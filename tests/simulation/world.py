"""What all nodes of a simulation share: keys, authority sets by epoch, and the rules of a block.

The stand-in for the ledger: a block carries the number of work items done so far in its state
root, and its outcome is valid if it undoes none. Blocks of the named heights close an epoch.
"""

from dataclasses import dataclass, field
from hashlib import sha256

from consensus.messages import Message
from consensus.verification import (
    Committee,
    VerifiedMessage,
    verify,
)
from ledger.blocks import (
    BLOCK_VERSION,
    Authority,
    AuthoritySet,
    Block,
    Header,
    compute_authorities_hash,
    compute_transactions_root,
)
from tests.simulation.signing import Scheme

NO_TRANSACTIONS = compute_transactions_root(())
GENESIS_HASH = sha256(b"genesis of a simulation").digest()
CHAIN_ID = sha256(b"chain of a simulation").digest()


def compute_state_root(parent: bytes, done: int) -> bytes:
    """Return the simulated state root: the number of items done, bound to the parent."""
    number = done.to_bytes(8, "big")
    return number + sha256(parent + number).digest()[:24]


def get_done(block: Block) -> int:
    """Return the number of items done after a block."""
    return int.from_bytes(block.header.state_root[:8], "big")


@dataclass
class World:
    """The fixed facts of one run."""

    scheme: Scheme
    seeds: tuple[bytes, ...]
    members: tuple[tuple[int, ...], ...]
    """Nodes of each epoch's authority set, in the order of turns."""
    closing_heights: tuple[int, ...]
    """Height of the last block of each epoch but the last."""
    committees: list[Committee] = field(default_factory=list)
    keys: tuple[bytes, ...] = ()
    _verified: dict[tuple[int, int], tuple[Message, VerifiedMessage]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.keys = tuple(self.scheme.compute_public_key(seed) for seed in self.seeds)
        for epoch, members in enumerate(self.members):
            authorities = tuple(Authority(self.keys[node], bytes(20)) for node in members)
            authority_set = AuthoritySet(epoch, authorities)
            self.committees.append(Committee(CHAIN_ID, authority_set, self.scheme.is_valid))

    def get_epoch(self, height: int) -> int:
        """Return the epoch of the block at a height."""
        return sum(height > closing for closing in self.closing_heights)

    def verify(self, message: Message, epoch: int) -> VerifiedMessage:
        """Verify as a driver does; the same object is verified once for all nodes."""
        key = (id(message), epoch)
        if key not in self._verified:
            self._verified[key] = (message, verify(message, self.committees[epoch]))
        return self._verified[key][1]

    def build(
        self, height: int, view: int, parent: bytes, parent_view: int, time: int, done: int
    ) -> Block:
        """Return the block that an honest leader builds."""
        epoch = self.get_epoch(height)
        committee = self.committees[epoch]
        proposer = committee.get_key(view % committee.size)
        following = self.committees[self.get_epoch(height + 1)].authorities
        header = Header(
            BLOCK_VERSION,
            CHAIN_ID,
            epoch,
            height,
            view,
            parent_view,
            time,
            parent,
            proposer,
            NO_TRANSACTIONS,
            bytes(32),
            compute_state_root(parent, done),
            committee.authorities_hash,
            compute_authorities_hash(following),
        )
        return Block(header, ())

    def is_valid(self, block: Block, done_before: int) -> bool:
        """Execute a block, whose parent's outcome is `done_before`."""
        header = block.header
        done = get_done(block)
        if done < done_before or header.state_root != compute_state_root(header.parent, done):
            return False
        following = self.committees[self.get_epoch(header.height + 1)]
        return header.next_authorities == following.authorities_hash
