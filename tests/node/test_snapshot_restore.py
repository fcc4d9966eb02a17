"""A restore that is killed at any moment has happened, whole, or has not."""

import shutil
import time
from pathlib import Path

import pytest

from node.snapshot_restore import BASE_FILE
from tests.node import killed
from tests.node.test_rollback_killed import kill_often, make_chain
from tests.node.test_snapshot import put, take

pytestmark = pytest.mark.slow


async def test_a_restore_killed_at_any_moment(tmp_path: Path) -> None:
    chain = await make_chain(tmp_path / "node")
    snapshot = tmp_path / "snapshot"
    take(tmp_path / "node", snapshot)
    original = chain.create_folder(tmp_path / "new")
    start = time.monotonic()
    put(shutil.copytree(original, tmp_path / "whole"), snapshot)
    seconds = time.monotonic() - start
    heights = kill_often(original, tmp_path, killed.restore, snapshot, seconds=seconds)
    assert set(heights) == {0, chain.head.height}
    for number, height in enumerate(heights):
        data = tmp_path / str(number)
        if height == 0:
            assert put(data, snapshot).height == chain.head.height
        assert (data / BASE_FILE).read_bytes() == snapshot.read_bytes()
        assert not (data / f"{BASE_FILE}.new").exists()
