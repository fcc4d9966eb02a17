"""The directory of entries of a kind: complete, in order, and it learns only from what is new."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from ledger.entries import miner_key
from ledger.transactions import MinerExit, MinerRegister, Transfer
from node.entry_directory import EntryDirectory
from tests.ledger.world import AIT, CLIENT, MINER, RIVAL, Key, World, make_key
from tests.node.stores import Follower

PREFIX = miner_key("")


@pytest.fixture
async def follower(tmp_path: Path) -> AsyncIterator[Follower]:
    balances = dict.fromkeys((CLIENT, MINER, RIVAL), 1000 * AIT)
    follower = Follower(tmp_path, World(balances))
    yield follower
    await follower.close()


def register(world: World, key: Key, *names: str) -> None:
    bond = world.rules.parameters.minimum_bond
    world.produce(
        *(world.sign(key, MinerRegister(name, key.public, b"{}", bond)) for name in names)
    )


async def list_names(directory: EntryDirectory, before: int | None = None) -> list[str]:
    return [key.decode() for _, key in await directory.list_keys(before, 100)]


async def test_miners_are_found_among_accounts_and_across_reads(follower: Follower) -> None:
    world = follower.world
    directory = EntryDirectory(follower.store, PREFIX, leaves_per_step=2)
    assert await list_names(directory) == []
    names: list[str] = []
    for number in range(6):
        names += [f"m{number}", f"n{number}"]
        world.produce(*(
            world.sign(CLIENT, Transfer(make_key(100 + 3 * number + i).address, 1))
            for i in range(3)
        ))  # fmt: skip
        register(world, MINER, *names[-2:])
        if number % 2:
            await follower.follow()
            assert await list_names(directory) == names[::-1]
    assert await list_names(EntryDirectory(follower.store, PREFIX)) == names[::-1]


async def test_pages_continue_where_they_ended(follower: Follower) -> None:
    register(follower.world, MINER, "a", "b", "c", "d", "e")
    await follower.follow()
    directory = EntryDirectory(follower.store, PREFIX)
    found: list[str] = []
    before = None
    while page := await directory.list_keys(before, 2):
        found += [key.decode() for _, key in page]
        before = page[-1][0]
    assert found == ["e", "d", "c", "b", "a"]
    assert await directory.list_keys(0, 2) == []


async def test_an_exited_miner_stays_listed_once(follower: Follower) -> None:
    world = follower.world
    register(world, MINER, "a", "b")
    world.produce(world.sign(MINER, MinerExit("a")))
    register(world, MINER, "a")
    await follower.follow()
    assert await list_names(EntryDirectory(follower.store, PREFIX)) == ["b", "a"]
