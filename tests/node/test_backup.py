import asyncio
import os
from pathlib import Path

import pytest

from ledger.transactions import Transfer
from node.backup import backup
from node.database_errors import DatabaseExists, DatabaseKeyWrong, DatabasePlainText
from tests.ledger.world import CLIENT, make_key, make_world
from tests.node.stores import (
    KEY,
    Follower,
    compute_whole_root,
    hash_folder,
    open_database,
    open_store,
)


async def test_a_copy_made_while_blocks_arrive_is_one_whole_moment(tmp_path: Path) -> None:
    source, target = tmp_path / "data", tmp_path / "copies"
    source.mkdir()
    target.mkdir()
    world = make_world()
    follower = Follower(source, world)
    copies = []
    for number in range(4):
        for index in range(10):
            world.run(CLIENT, Transfer(make_key(100 * number + index + 50).address, 5))
        copy = target / f"{number}.db"
        copies.append(copy)
        await asyncio.gather(
            follower.follow(), asyncio.to_thread(backup, source / "node.db", KEY, copy)
        )
    follower.check()
    await follower.close()
    assert sorted(target.iterdir()) == copies
    heights = []
    for copy in copies:
        assert copy.stat().st_mode & 0o777 == 0o600
        assert b"SQLite" not in copy.read_bytes()
        folder = tmp_path / copy.stem
        folder.mkdir()
        copy.rename(folder / "node.db")
        database = open_database(folder)
        store = open_store(database)
        heights.append(store.get_head().height)
        assert store.state.get_leaf_count() > 0
        assert compute_whole_root(store.state) == store.get_head().state_root
        store.close()
        await database.close()
    assert heights == sorted(heights)
    assert heights[-1] > 0


async def test_a_file_in_the_way_is_never_replaced(tmp_path: Path) -> None:
    follower = Follower(tmp_path, make_world())
    await follower.close()
    target = tmp_path / "copy.db"
    for make in (target.touch, lambda: target.write_bytes(b"precious"), target.mkdir):
        make()
        before = target.read_bytes() if target.is_file() else b""
        with pytest.raises(DatabaseExists):
            backup(tmp_path / "node.db", KEY, target)
        assert (target.read_bytes() if target.is_file() else b"") == before
        os.rmdir(target) if target.is_dir() else target.unlink()
    target.symlink_to("nowhere")
    with pytest.raises(DatabaseExists):
        backup(tmp_path / "node.db", KEY, target)


async def test_a_wrong_key_or_place_copies_nothing(tmp_path: Path) -> None:
    follower = Follower(tmp_path, make_world())
    await follower.close()
    before = hash_folder(tmp_path)
    with pytest.raises(DatabaseKeyWrong):
        backup(tmp_path / "node.db", bytes(32), tmp_path / "copy.db")
    with pytest.raises(FileNotFoundError):
        backup(tmp_path / "node.db", KEY, tmp_path / "no folder" / "copy.db")
    assert hash_folder(tmp_path) == before


async def test_a_plain_database_is_copied_for_a_development_chain_alone(tmp_path: Path) -> None:
    follower = Follower(tmp_path, make_world(), key=None)
    await follower.close()
    with pytest.raises(DatabasePlainText):
        backup(tmp_path / "node.db", KEY, tmp_path / "copy.db")
    backup(tmp_path / "node.db", None, tmp_path / "copy.db", is_dev=True)
    assert (tmp_path / "copy.db").read_bytes().startswith(b"SQLite format 3")
