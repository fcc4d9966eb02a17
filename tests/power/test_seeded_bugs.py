"""Each bug is found by cuts that the sound code stands."""

import pytest

from tests.power.catalogue import get_scenario, record_scenario
from tests.power.images import cut_power
from tests.power.seeded_bugs import BUGS, seed

BATCH = 50
BATCHES = 8


@pytest.mark.slow
@pytest.mark.parametrize("name", BUGS)
def test_bug_is_found(name: str) -> None:
    bug = BUGS[name]
    recording = seed(record_scenario(bug.scenario, bug.variant), bug.is_dropped)
    check = get_scenario(bug.scenario).check
    for batch in range(BATCHES):
        numbers = range(batch * BATCH, (batch + 1) * BATCH)
        if next(cut_power(recording, check, numbers), None) is not None:
            return
    raise AssertionError(f"{name}: none of {BATCH * BATCHES} cuts found it")
