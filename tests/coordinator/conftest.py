from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio

from tests.support.coordinators import Cluster, open_cluster
from tests.support.world import World, open_world


@pytest_asyncio.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with open_world(tmp_path) as opened:
        yield opened


@pytest_asyncio.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[Cluster]:
    async with open_cluster(tmp_path) as opened:
        yield opened
