"""The same bytes or not: files by name, order and hash, other results by their JSON."""

from hashlib import sha256
from typing import Any

import pytest

from miner.recheck.exact import compare_answers, compare_files
from miner.recheck.verdict import Standing

FRAMES = [(f"frame_{number:04}.png", sha256(bytes([number])).hexdigest()) for number in range(3)]
CLAIMED = [{"file_id": "file_" + digest, "sha256": digest} for _, digest in FRAMES]


def test_the_same_files_stand() -> None:
    assert compare_files(CLAIMED, FRAMES).standing is Standing.STANDS


@pytest.mark.parametrize(
    "claimed",
    [
        None,
        {},
        [],
        CLAIMED[:2],
        [*CLAIMED, CLAIMED[0]],
        [CLAIMED[0], CLAIMED[2], CLAIMED[1]],
        [*CLAIMED[:2], {**CLAIMED[2], "sha256": "00" * 32}],
        [*CLAIMED[:2], {"file_id": "x"}],
        [*CLAIMED[:2], 5],
    ],
)
def test_one_other_frame_is_refused(claimed: Any) -> None:
    assert compare_files(claimed, FRAMES).standing is Standing.REFUSED


def test_answers() -> None:
    found = {"output": [1, 2], "model": "a"}
    assert compare_answers({**found, "model": "b"}, found).standing is Standing.STANDS
    assert compare_answers({**found, "output": [1, 3]}, found).standing is Standing.REFUSED
