"""Zero violations count only beside bugs that the same runs catch: each named file is one."""

from importlib import import_module
from pathlib import Path

import pytest

from tests.simulation.cluster import Cluster
from tests.simulation.node import Variant
from tests.simulation.scenario import make_scenario

SEEDS = range(120)
_FOLDER = Path(__file__).parent / "seeded_bugs"
BUGS = sorted(path.stem for path in _FOLDER.glob("*.py") if path.stem != "__init__")


def find_catch(variant: Variant) -> tuple[int, str] | None:
    """Return the first seed whose run notices the bug, and what it says."""
    for seed in SEEDS:
        try:
            Cluster(make_scenario(seed), variant).run()
        except AssertionError as violation:
            return seed, str(violation)
    return None


def test_there_are_enough_bugs() -> None:
    assert len(BUGS) >= 10


@pytest.mark.parametrize("name", BUGS)
def test_bug_is_caught(name: str) -> None:
    module = import_module(f"tests.simulation.seeded_bugs.{name}")
    assert find_catch(module.VARIANT) is not None, f"{name} passed all of {len(SEEDS)} seeds"
