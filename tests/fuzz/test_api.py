from pathlib import Path

import pytest

from tests.fuzz.api import ROLES, WAITING, fuzz_node


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("role", ROLES)
async def test_every_operation_answers_as_it_says(tmp_path: Path, role: str) -> None:
    counts = await fuzz_node(tmp_path, examples=2, seed=1, roles=[role], left_out=WAITING)
    assert counts[role] > 1_000
