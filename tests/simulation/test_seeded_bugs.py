"""Zero violations count only beside bugs that the same runs catch: each named file is one."""

from importlib import import_module
from pathlib import Path

import pytest

from tests.simulation.cluster import Cluster
from tests.simulation.scenario import make_scenario
from tests.simulation.variant import Variant

SEEDS = range(1_000)
RARE = {
    "believes_one_boaster": 50,
    "believes_ranges": 300,
    "forgets_notarized_blocks": 50,
    "listens_in_no_later_epoch": 40,
    "never_asks_for_certificates": 960,
    "refuses_an_unwritten_sector": 180,
}
"""Where among the seeds to begin with bugs that few of them show, to save time."""
_FOLDER = Path(__file__).parent / "seeded_bugs"
BUGS = sorted(path.stem for path in _FOLDER.glob("*.py") if path.stem != "__init__")


def find_catch(variant: Variant, first: int = 0) -> tuple[int, str] | None:
    """Return the first seed whose run notices the bug, and what it says."""
    for seed in (*SEEDS[first:], *SEEDS[:first]):
        try:
            Cluster(make_scenario(seed), variant).run()
        except AssertionError as violation:
            return seed, str(violation)
    return None


def test_there_are_enough_bugs() -> None:
    assert len(BUGS) >= 30


@pytest.mark.parametrize("name", BUGS)
def test_bug_is_caught(name: str) -> None:
    module = import_module(f"tests.simulation.seeded_bugs.{name}")
    caught = find_catch(module.VARIANT, RARE.get(name, 0))
    assert caught is not None, f"{name} passed all of {len(SEEDS)} seeds"
    Cluster(make_scenario(caught[0]), Variant()).run()
