"""The disk under the power cuts: what is certain on it, what is not, and that nothing is missed."""

import os
from pathlib import Path, PurePath
from random import Random

import pytest

from tests.power.disk import Cut, Disk
from tests.power.images import check_whole
from tests.power.recording import Kind, Operation, Recording, record

ROOT = PurePath("/recorded")
CUTS = 300


def call(
    kind: Kind, descriptor: int = -1, position: int = 0, name: str = "", target: str = "",
    data: bytes = b"",
) -> Operation:  # fmt: skip
    paths = [str(ROOT / each) if each else "" for each in (name, target)]
    return Operation(kind, descriptor, position, paths[0], paths[1], data)


def cut_often(*operations: Operation) -> list[dict[str, bytes]]:
    """Return what different power cuts after these calls leave of the files."""
    disk = Disk(ROOT)
    for operation in operations:
        disk.apply(operation)
    return [
        {
            str(path): bytes(content or b"")
            for path, content in disk.cut(Cut(Random(number), 512)).items()
        }
        for number in range(CUTS)
    ]


CREATED = (
    call(Kind.CREATE, 3, name="file"),
    call(Kind.OPEN, 4, name="."),
    call(Kind.SYNC, 4),
)


def test_what_is_synced_is_there() -> None:
    written = (call(Kind.WRITE, 3, data=b"a" * 2_000), call(Kind.SYNC, 3))
    assert all(found == {"file": b"a" * 2_000} for found in cut_often(*CREATED, *written))


def test_what_is_not_synced_may_be_there_in_part() -> None:
    synced = (call(Kind.WRITE, 3, data=b"a" * 2_000), call(Kind.SYNC, 3))
    found = {
        each["file"]
        for each in cut_often(*CREATED, *synced, call(Kind.WRITE, 3, 500, data=b"b" * 2_000))
    }
    old, new = b"a" * 2_000, b"a" * 500 + b"b" * 2_000
    assert {old, new} < found
    torn = found - {old, new}
    # The first part ends with its sector; what was grown and not written is zeros.
    assert any(each[500:512] == b"a" * 12 and each[512:1024] == b"b" * 512 for each in torn)
    assert any(each[500:512] == b"b" * 12 and each[512:1024] == b"a" * 512 for each in torn)
    assert any(each[2_048:] == bytes(452) for each in torn)
    assert all(each[:500] == b"a" * 500 for each in found)


def test_later_writes_may_be_there_without_earlier_ones() -> None:
    writes = (call(Kind.WRITE, 3, 0, data=b"first"), call(Kind.WRITE, 3, 512, data=b"second"))
    found = {each["file"] for each in cut_often(*CREATED, *writes)}
    assert bytes(512) + b"second" in found
    assert b"first" in found


def test_a_name_is_certain_once_its_folder_is_synced() -> None:
    named = (call(Kind.WRITE, 3, data=b"text"), call(Kind.SYNC, 3))
    renamed = (*CREATED, *named, call(Kind.RENAME, name="file", target="other"))
    found = cut_often(*renamed)
    assert {"file": b"text"} in found and {"other": b"text"} in found
    assert all(len(each) == 1 for each in found)
    assert all(each == {"other": b"text"} for each in cut_often(*renamed, call(Kind.SYNC, 4)))


def test_a_file_without_a_durable_name_may_be_gone() -> None:
    made = (call(Kind.CREATE, 3, name="file"), call(Kind.WRITE, 3, data=b"a"), call(Kind.SYNC, 3))
    found = cut_often(*made)
    assert {} in found and {"file": b"a"} in found


PROGRAM = """
import os, sys
folder = sys.argv[1]
with open(folder + "/one", "wb") as file:
    file.write(b"abc")
    file.flush()
    os.fsync(file.fileno())
    file.truncate(2)
descriptor = os.open(folder + "/one", os.O_WRONLY | os.O_APPEND)
os.write(descriptor, b"def")
os.pwrite(descriptor, b"z", 9)
os.close(descriptor)
os.mkdir(folder + "/inner")
os.link(folder + "/one", folder + "/two")
os.rename(folder + "/two", folder + "/three")
os.truncate(folder + "/three", 4)
os.unlink(folder + "/one")
"""


MAPPING_PROGRAM = """
import mmap, sys
with open(sys.argv[1] + "/one", "w+b") as file:
    file.write(bytes(9))
    file.flush()
    mmap.mmap(file.fileno(), 9)[:3] = b"abc"
"""


def record_program(tmp_path: Path, program: str) -> Recording:
    folder = tmp_path / "recorded"
    folder.mkdir()
    return record(["-c", program, str(folder)], folder)


def test_every_kind_of_call_is_recorded(tmp_path: Path) -> None:
    recording = record_program(tmp_path, PROGRAM)
    check_whole(recording)
    assert {operation.kind for operation in recording.operations} == set(Kind)
    assert sorted(os.listdir(recording.folder)) == ["inner", "three"]


def test_a_write_that_is_not_recorded_is_noticed(tmp_path: Path) -> None:
    recording = record_program(tmp_path, MAPPING_PROGRAM)
    with pytest.raises(AssertionError, match="no recorded call"):
        check_whole(recording)
