"""The byzantine nodes by name."""

from tests.simulation.byzantine.amnesiac import Amnesiac
from tests.simulation.byzantine.boaster import Boaster
from tests.simulation.byzantine.dishonest import DishonestNode
from tests.simulation.byzantine.equivocator import Equivocator
from tests.simulation.byzantine.forker import Forker
from tests.simulation.byzantine.garbage import Garbage
from tests.simulation.byzantine.invalid import Invalid
from tests.simulation.byzantine.selective import Selective
from tests.simulation.byzantine.silent import Silent
from tests.simulation.byzantine.stale_replayer import StaleReplayer
from tests.simulation.byzantine.twin_proposals import TwinProposals
from tests.simulation.byzantine.withholder import Withholder

BYZANTINE: dict[str, type[DishonestNode]] = {
    "equivocator": Equivocator,
    "silent": Silent,
    "selective": Selective,
    "invalid": Invalid,
    "twin_proposals": TwinProposals,
    "forker": Forker,
    "boaster": Boaster,
    "withholder": Withholder,
    "stale_replayer": StaleReplayer,
    "amnesiac": Amnesiac,
    "garbage": Garbage,
}
