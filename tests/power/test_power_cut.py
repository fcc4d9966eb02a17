"""The power goes at any moment: nothing acknowledged is lost, and nothing is signed twice."""

from pathlib import PurePath

import pytest

from node.sqlcipher import CHECKPOINT_PAGES, PAGE_BYTES
from tests.power.catalogue import SHARES, get_scenario, record_scenario, share_out
from tests.power.images import cut_power
from tests.power.recording import Kind

CUTS = share_out(0, 500)


@pytest.mark.slow
@pytest.mark.parametrize("name", SHARES)
def test_nothing_acknowledged_is_lost(name: str) -> None:
    recording = record_scenario(name, "whole")
    assert list(cut_power(recording, get_scenario(name).check, CUTS[name])) == []


@pytest.mark.slow
def test_the_authority_writes_enough() -> None:
    """The log is copied into the database and begun again, and the journal is rewritten."""
    longest = begun_again = rewritten = 0
    names: dict[int, str] = {}
    for operation in record_scenario("authority", "whole").operations:
        match operation.kind:
            case Kind.OPEN | Kind.CREATE:
                names[operation.descriptor] = PurePath(operation.path).name
            case Kind.WRITE if names[operation.descriptor] == "node.db-wal":
                if operation.position == 0:
                    begun_again += longest > CHECKPOINT_PAGES * PAGE_BYTES
                    longest = 0
                longest = max(longest, operation.position)
            case Kind.RENAME:
                rewritten += operation.target.endswith("journal.bin")
            case _:
                pass
    assert begun_again
    assert rewritten > 30
