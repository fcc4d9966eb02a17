"""The power goes at any moment: nothing acknowledged is lost, and nothing is signed twice."""

import pytest

from tests.power.catalogue import SHARES, get_scenario, record_scenario, share_out
from tests.power.images import cut_power

CUTS = share_out(0, 500)


@pytest.mark.slow
@pytest.mark.parametrize("name", SHARES)
def test_nothing_acknowledged_is_lost(name: str) -> None:
    recording = record_scenario(name, "whole")
    assert list(cut_power(recording, get_scenario(name).check, CUTS[name])) == []
