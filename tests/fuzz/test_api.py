from pathlib import Path

from tests.fuzz.api import WAITING, fuzz_node


async def test_every_operation_answers_as_it_says_in_all_four_roles(tmp_path: Path) -> None:
    counts = await fuzz_node(tmp_path, examples=2, seed=1, left_out=WAITING)
    assert min(counts.values()) > 1_000
