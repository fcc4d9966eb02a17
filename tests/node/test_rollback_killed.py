"""A rollback that is killed at any moment has happened, whole, or has not."""

import random
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.node import killed
from tests.node.killed import start_child
from tests.node.signed_chain import MEMBERS, OpenStore, SignedChain, make_node
from tests.node.stores import compute_whole_root
from tests.node.test_rollback import go_back

pytestmark = pytest.mark.slow

KILLS = 10
HEIGHT = 20


async def make_chain(data: Path) -> SignedChain:
    chain = SignedChain(idle=1_500)
    chain.transfer(20)
    chain.change_authorities(is_add=True)
    chain.transfer(20)
    await make_node(data, chain)
    return chain


def read_height(data: Path) -> int:
    """Return where a chain stands, its state being the whole one of that height."""
    with OpenStore(data) as store:
        head = store.get_head()
        assert compute_whole_root(store.state) == head.state_root
        blocks = [block.header.height for block in store.iterate_blocks()]
        assert blocks == list(range(store.base_height, head.height + 1))
        return head.height


def kill_often(
    original: Path, folder: Path, target: Callable[..., None], *arguments: Any, seconds: float
) -> list[int]:
    """Return where the chain stood after each kill: at once, at random moments, too late."""
    draw = random.Random(17)
    moments = [0.0, *(draw.random() * seconds for _ in range(KILLS)), None]
    heights = []
    for number, moment in enumerate(moments):
        data = shutil.copytree(original, folder / str(number))
        child, _ = start_child(target, data, *arguments)
        if moment is None:
            child.join()
        else:
            time.sleep(moment)
        child.kill()
        child.join()
        heights.append(read_height(data))
    return heights


async def test_a_rollback_killed_at_any_moment(tmp_path: Path) -> None:
    original = tmp_path / "node"
    chain = await make_chain(original)
    start = time.monotonic()
    go_back(shutil.copytree(original, tmp_path / "whole"), HEIGHT)
    seconds = time.monotonic() - start
    heights = kill_often(
        original, tmp_path, killed.roll_back, MEMBERS[0].public, HEIGHT, seconds=seconds
    )
    assert set(heights) == {HEIGHT, chain.head.height}
    for number, height in enumerate(heights):
        data = tmp_path / str(number)
        assert go_back(data, HEIGHT).removed_blocks == height - HEIGHT
        with OpenStore(data) as store:
            await chain.follow(store)
            assert compute_whole_root(store.state) == chain.head.state_root
