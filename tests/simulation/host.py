"""What outlives the processes of one node: its key's number, its disk and its clocks."""

from dataclasses import dataclass, field

from consensus.messages import CommittedBlock
from tests.simulation.disk import SimulatedDisk
from tests.simulation.world import State


@dataclass
class Store:
    """The database: final blocks, the state after them, the sign-state's number with them."""

    state: State
    committed: list[CommittedBlock] = field(default_factory=list)
    sequence: int = 0

    def copy(self) -> "Store":
        """Return what a copied data folder holds."""
        return Store(self.state, list(self.committed), self.sequence)


@dataclass
class Host:
    """One machine on which one node's process runs, stops and runs again."""

    place: int
    """Its address on the network; two copies of one key differ in this alone."""
    index: int
    """Number of its key."""
    store: Store
    offset: int
    """What its monotonic clock shows at the beginning of the run."""
    disk: SimulatedDisk = field(default_factory=SimulatedDisk)
    skew: int = 0
    """How wrong its wall clock is, in ms."""
