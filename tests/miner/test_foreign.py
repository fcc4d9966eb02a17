"""Kinds that run strangers' programs: where they are asked for, and nowhere else."""

from pathlib import Path
from typing import Any

import pytest

from miner.foreign import FOREIGN
from miner.kinds import (
    KindUnavailableError,
    build_reader,
    choose_kinds,
    close_engines,
    open_engines,
)
from miner.models import ModelStore, choose_folder, load_packaged_lock
from miner.settings import MinerSettings


def make_settings(folder: Path, **changed: Any) -> MinerSettings:
    given = {"miner_id": "miner_a", "api_key": "k", "key_file": folder / "key", **changed}
    return MinerSettings(**given)


def test_they_never_come_up_unasked(tmp_path: Path) -> None:
    store = ModelStore(choose_folder(), load_packaged_lock())
    assert not FOREIGN & set(choose_kinds(make_settings(tmp_path), store))


async def test_code_comes_up_where_it_is_named(tmp_path: Path) -> None:
    engines = await open_engines(make_settings(tmp_path, kinds=["custom_code"]))
    description = await engines["custom_code"].prepare()
    await close_engines(engines)
    assert "CPython" in description.engine and "wasmtime" in description.engine


async def test_an_environment_that_is_not_there_stops_the_miner(tmp_path: Path) -> None:
    absent = tmp_path / "absent"
    for kind, setting, words in (
        ("custom_code", "code_environment", "no Python at"),
        ("blender_rendering", "blender_environment", "make engines"),
    ):
        settings = make_settings(tmp_path, kinds=[kind], **{setting: absent})
        with pytest.raises(KindUnavailableError, match=words):
            await open_engines(settings)


def test_they_run_in_no_pool(tmp_path: Path) -> None:
    for kind in sorted(FOREIGN):
        with pytest.raises(KindUnavailableError, match="in no pool"):
            build_reader(kind, make_settings(tmp_path))
