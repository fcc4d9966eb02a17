"""Power cuts at moments of a recording, and whether the shipped code stands each of them.

A moment is any call of the recording; half of them lie close to something that was acknowledged. A
cut's number decides everything about it, for one recording; a recording never repeats exactly.
"""

import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path, PurePath
from random import Random
from tempfile import TemporaryDirectory
from typing import Final

from msgspec import Struct

from tests.power.acknowledgements import Acknowledgement, decode
from tests.power.disk import Cut, Disk
from tests.power.recording import ACKNOWLEDGED, Kind, Recording

Check = Callable[[Path, list[Acknowledgement]], None]
"""Opens an image, given what was acknowledged before the cut."""

SECTORS: Final = (512, 4096)
_MEMORY: Final = Path("/dev/shm")
SCRATCH: Final = _MEMORY if _MEMORY.is_dir() else None
"""Where images lie; in memory if possible, since opening one syncs its files many times."""
_CALLS_NEAR: Final = 10
_SHARED_BYTES: Final = 32_768


class Violation(Struct, frozen=True):
    """A power cut after which something was wrong."""

    number: int
    position: int
    """How many calls of the recording were done."""
    reason: str


def cut_power(
    recording: Recording, check: Check, numbers: Iterable[int], *, keep: Path | None = None
) -> Iterator[Violation]:
    """Yield the cuts, of those with the numbers, after which the check fails, in order of time.

    `keep` is a folder to make, for the images of these as they were before the check.
    """
    told = _find_acknowledgements(recording)
    length = len(recording.operations)
    moments = sorted((_choose_moment(number, length, told), number) for number in numbers)
    disk = Disk(PurePath(recording.folder))
    acknowledged: list[Acknowledgement] = []
    done = 0
    with TemporaryDirectory(dir=SCRATCH) as name:
        folder = Path(name)
        for position, number in moments:
            while done < position:
                disk.apply(recording.operations[done])
                if done in told:
                    acknowledged.append(told[done])
                done += 1
            image = folder / str(number)
            _write_image(image, disk, number)
            reason = _try(check, image, acknowledged)
            shutil.rmtree(image)
            if reason is None:
                continue
            if keep is not None:
                keep.mkdir(parents=True, exist_ok=True)
                _write_image(keep / str(number), disk, number)
            yield Violation(number, position, reason)


def check_whole(recording: Recording) -> None:
    """Raise `AssertionError` where the recording does not lead to the files as they were left."""
    disk = Disk(PurePath(recording.folder))
    for operation in recording.operations:
        disk.apply(operation)
    found = {
        path.relative_to(recording.folder): None if path.is_dir() else path.read_bytes()
        for path in recording.folder.rglob("*")
        if not path.name.endswith("-shm")
    }
    assert disk.read() == found, "something was written that no recorded call wrote"


def _find_acknowledgements(recording: Recording) -> dict[int, Acknowledgement]:
    """Return each acknowledgement by its place among the calls."""
    found: dict[int, Acknowledgement] = {}
    descriptors = set()
    for index, operation in enumerate(recording.operations):
        if operation.kind in (Kind.OPEN, Kind.CREATE):
            if PurePath(operation.path).name == ACKNOWLEDGED:
                descriptors.add(operation.descriptor)
        elif operation.kind is Kind.CLOSE:
            descriptors.discard(operation.descriptor)
        elif operation.kind is Kind.WRITE and operation.descriptor in descriptors:
            found[index] = decode(operation.data)
    return found


def _choose_moment(number: int, length: int, told: dict[int, Acknowledgement]) -> int:
    """Return how many calls are done before a cut."""
    random = Random(f"moment {number}")
    if random.random() < 0.5:
        return random.randint(0, length)
    # Each kind as often as any other, however many there are of it.
    kind = random.choice(sorted({type(each).__name__ for each in told.values()}))
    near = random.choice([index for index, each in told.items() if type(each).__name__ == kind])
    return min(max(near + random.randint(-_CALLS_NEAR, _CALLS_NEAR), 0), length)


def _write_image(image: Path, disk: Disk, number: int) -> None:
    """Write what is on the disk after a power cut now."""
    random = Random(f"cut {number}")
    image.mkdir(mode=0o700)
    for path, content in disk.cut(Cut(random, random.choice(SECTORS))).items():
        if path.name == ACKNOWLEDGED:
            continue
        if content is None:
            (image / path).mkdir(mode=0o700)
            continue
        _write_file(image / path, content)
        if path.name.endswith("-wal") and random.random() < 0.5:
            # SQLite maps this file into memory and never syncs it.
            shared = path.with_name(path.name.removesuffix("-wal") + "-shm")
            _write_file(image / shared, random.randbytes(_SHARED_BYTES))


def _write_file(path: Path, content: bytes | bytearray) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)


def _try(check: Check, image: Path, acknowledged: list[Acknowledgement]) -> str | None:
    try:
        check(image, acknowledged)
    except Exception as error:  # noqa: BLE001 - whatever is raised is the finding
        return f"{type(error).__name__}: {error}"
    return None
