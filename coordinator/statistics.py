"""A miner's statistics, from the numbered outcomes that the chain keeps and from nothing else."""

from typing import NamedTuple

from ledger.entries import Miner

BEST_REPUTATION = 5.0


class MinerFigures(NamedTuple):
    """Reputation from 0 to 5, the share of good ends, seconds for each settled job."""

    reputation: float
    success_rate: float
    average_completion_time: float


def compute_figures(miner: Miner) -> MinerFigures:
    """Return the figures. Cancelled and released claims count for nobody.

    Reputation is the rate with one good and one bad claim added, so that a newcomer stands in the
    middle and one lucky job makes nobody the best.
    """
    bad = miner.failed + miner.lapsed
    ended = miner.settled + bad
    rate = miner.settled / ended if ended else 0.0
    reputation = BEST_REPUTATION * (miner.settled + 1) / (ended + 2)
    average = miner.busy_time / miner.settled / 1000 if miner.settled else 0.0
    return MinerFigures(round(reputation, 3), round(rate, 6), round(average, 3))
