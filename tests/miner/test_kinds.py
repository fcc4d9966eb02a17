"""Which kinds a miner runs, and that what it says is what it has."""

import shutil
from pathlib import Path
from typing import Any

from coordinator.services.registry import SERVICES
from miner.kinds import KINDS, choose_kinds, find_missing_package
from miner.models import ModelStore, choose_folder, load_packaged_lock
from miner.settings import MinerSettings
from tests.support.engine_bench import fetch


def make_settings(folder: Path, **changed: Any) -> MinerSettings:
    given = {"miner_id": "miner_a", "api_key": "k", "key_file": folder / "key", **changed}
    return MinerSettings(**given)


def test_without_a_choice_it_runs_text_and_what_is_here(tmp_path: Path) -> None:
    settings = make_settings(tmp_path)
    store = ModelStore(tmp_path, load_packaged_lock())
    sandboxed = ("onnx_inference", "video_transcoding")
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


def test_prices_are_the_usual_one_where_none_is_named(tmp_path: Path) -> None:
    settings = make_settings(tmp_path, prices={"stable_diffusion": 7})
    assert settings.get_price("stable_diffusion") == 7
    assert settings.get_price("llm_inference") == 1_000


def test_programs_of_strangers_never_come_up_unasked(tmp_path: Path) -> None:
    store = ModelStore(choose_folder(), load_packaged_lock())
    chosen = choose_kinds(make_settings(tmp_path), store)
    assert not any(KINDS[name].is_foreign for name in chosen)


def test_units_and_classes_are_those_of_the_registry() -> None:
    ours = {name: (kind.unit_type, kind.verification) for name, kind in KINDS.items()}
    theirs = {
        name: (service.unit_type, service.verification.value) for name, service in SERVICES.items()
    }
    assert ours == theirs
