"""Which kinds a miner runs, and that what it says is what it has."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from miner.foreign import has_sandbox
from miner.kinds import (
    KINDS,
    KindUnavailableError,
    choose_kinds,
    close_engines,
    find_missing_package,
    open_engines,
)
from miner.models import ModelStore, choose_folder, load_packaged_lock
from miner.settings import MinerSettings
from tests.support.engine_bench import fetch


def make_settings(folder: Path, **changed: Any) -> MinerSettings:
    given = {"miner_id": "miner_a", "api_key": "k", "key_file": folder / "key", **changed}
    return MinerSettings(**given)


def test_without_a_choice_it_runs_text_and_what_is_here(tmp_path: Path) -> None:
    settings = make_settings(tmp_path)
    store = ModelStore(tmp_path, load_packaged_lock())
    sandboxed = ("onnx_inference", "video_transcoding") if has_sandbox(settings) else ()
    assert choose_kinds(settings, store) == ("llm_inference", "stable_diffusion", *sandboxed)
    identity, path = fetch("all-minilm-l6-v2")
    shutil.copytree(path.parents[2], tmp_path / identity)
    assert "text_embedding" in choose_kinds(settings, store)
    (tmp_path / identity / path.relative_to(path.parents[2])).write_bytes(b"other weights")
    assert "text_embedding" not in choose_kinds(settings, store)


def test_a_choice_is_kept_to(tmp_path: Path) -> None:
    kinds = ["text_embedding", "stable_diffusion", "text_embedding"]
    store = ModelStore(tmp_path, load_packaged_lock())
    chosen = choose_kinds(make_settings(tmp_path, kinds=kinds), store)
    assert chosen == ("text_embedding", "stable_diffusion")


def test_every_kind_has_its_packages_here_and_its_model_in_the_lock() -> None:
    lock = load_packaged_lock()
    for name, kind in KINDS.items():
        assert find_missing_package(name) is None
        if not kind.model:
            continue
        model = lock.find(kind.model)
        assert model is not None and model.service == name


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


def test_prices_are_the_usual_one_where_none_is_named(tmp_path: Path) -> None:
    settings = make_settings(tmp_path, prices={"stable_diffusion": 7})
    assert settings.get_price("stable_diffusion") == 7
    assert settings.get_price("llm_inference") == 1_000


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
