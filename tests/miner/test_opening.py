"""Engines that come up, each with what it says it is, or stop the miner with a reason."""

from pathlib import Path
from typing import Any

import pytest

from miner.kinds import KINDS, KindUnavailableError
from miner.models import choose_folder
from miner.opening import build_reader, close_engines, open_engines
from miner.settings import MinerSettings
from tests.support.engine_bench import fetch


def make_settings(folder: Path, **changed: Any) -> MinerSettings:
    given = {"miner_id": "miner_a", "api_key": "k", "key_file": folder / "key", **changed}
    return MinerSettings(**given)


async def test_several_kinds_come_up_and_say_what_they_are(tmp_path: Path) -> None:
    fetch("all-minilm-l6-v2")
    settings = make_settings(tmp_path, kinds=["text_embedding", "stable_diffusion"])
    engines = await open_engines(settings)
    try:
        assert {name: engine.model.partition("@")[0] for name, engine in engines.items()} == {
            "text_embedding": "all-minilm-l6-v2",
            "stable_diffusion": "tiny",
        }
        for name, engine in engines.items():
            assert engine.service == name
            description = await engine.prepare()
            assert description.model == engine.model
            assert len(description.text) <= 200
    finally:
        await close_engines(engines)


async def test_a_model_that_cannot_be_fetched_is_a_clear_failure(tmp_path: Path) -> None:
    empty = tmp_path / "wheels"
    empty.mkdir()
    settings = make_settings(
        tmp_path, kinds=["text_embedding"], models_folder=tmp_path / "m", wheels_folder=empty
    )
    with pytest.raises(KindUnavailableError, match="could not be fetched"):
        await open_engines(settings)


async def test_a_model_of_another_kind_is_refused(tmp_path: Path) -> None:
    settings = make_settings(
        tmp_path,
        kinds=["llm_inference"],
        text_model="all-minilm-l6-v2",
        models_folder=choose_folder(),
    )
    with pytest.raises(KindUnavailableError, match="no model of the lock for llm_inference"):
        await open_engines(settings)


async def test_a_gpu_that_is_asked_for_and_not_there_stops_the_miner(tmp_path: Path) -> None:
    settings = make_settings(tmp_path, kinds=["stable_diffusion"], device="cuda:7")
    with pytest.raises(KindUnavailableError, match="device is cuda:7"):
        await open_engines(settings)


async def test_layers_on_a_gpu_are_refused_by_a_build_without_one(tmp_path: Path) -> None:
    settings = make_settings(
        tmp_path, kinds=["llm_inference"], gpu_layers=20, models_folder=choose_folder()
    )
    with pytest.raises(KindUnavailableError, match="gpu_layers is 20, and the device is the CPU"):
        await open_engines(settings)


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


def test_programs_of_strangers_run_in_no_pool(tmp_path: Path) -> None:
    for kind in (name for name in KINDS if KINDS[name].is_foreign):
        with pytest.raises(KindUnavailableError, match="in no pool"):
            build_reader(kind, make_settings(tmp_path))
