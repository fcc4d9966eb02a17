import io
import os
import struct
import tarfile
import zipfile
from pathlib import Path

import pytest

from miner.sandbox.archives import (
    MAX_DIRECTORY_BYTES,
    MAX_MEMBERS,
    ArchiveRefusedError,
    Room,
    is_plain_name,
    read_tape,
    read_zip,
)

ROOM = Room(files=4, size=10_000)
HOSTILE_NAMES = (
    *("../up", "a/../../up", "/root", "a//b", "./a", "a/.", "..", "", "a\\b", "c:d"),
    *("new\nline", "nul\0", "\udc80", "\u202egnp", "x" * 256),
)


def tape(*members: tuple[str, bytes, bytes]) -> bytes:
    """Return a tape archive of members: name, type, data."""
    made = io.BytesIO()
    for name, kind, data in members:
        member = tarfile.TarInfo(name)
        member.type = kind
        member.linkname = "/etc/passwd" if kind in (tarfile.SYMTYPE, tarfile.LNKTYPE) else ""
        member.size = len(data)
        made.write(member.tobuf(tarfile.USTAR_FORMAT, errors="surrogateescape"))
        made.write(data + b"\0" * (-len(data) % 512))
    return made.getvalue() + b"\0" * 1024


def unpack(data: bytes, folder: Path, room: Room = ROOM) -> dict[str, bytes]:
    read_tape(io.BytesIO(data), folder, room)
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def make_zip(path: Path, *members: tuple[str | zipfile.ZipInfo, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as made:
        for name, data in members:
            made.writestr(name, data)
    return path


@pytest.mark.parametrize("name", HOSTILE_NAMES)
def test_names_that_lead_elsewhere_are_not_plain(name: str) -> None:
    assert not is_plain_name(name)


def test_a_tape_gives_its_plain_files(tmp_path: Path) -> None:
    data = tape(
        ("./a.txt", tarfile.REGTYPE, b"1"),
        ("folder", tarfile.DIRTYPE, b""),
        ("folder/b", tarfile.AREGTYPE, b"2" * 600),
    )
    assert unpack(data, tmp_path) == {"a.txt": b"1", "folder/b": b"2" * 600}


def test_what_is_no_plain_file_is_left_out_of_a_tape(tmp_path: Path) -> None:
    folder = tmp_path / "below"
    folder.mkdir()
    kinds = (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE)
    members = [(f"special{number}", kind, b"") for number, kind in enumerate(kinds)]
    members += [(name, tarfile.REGTYPE, b"x") for name in ("../up", "/etc/up", "a/../../up")]
    members += [("long", tarfile.GNUTYPE_LONGNAME, b"../up\0"), ("good", tarfile.REGTYPE, b"x")]
    assert unpack(tape(*members), folder) == {"good": b"x"}
    assert [path.name for path in tmp_path.iterdir()] == ["below"]
    assert os.listdir(folder) == ["good"]


def test_a_link_in_the_folder_is_not_followed(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.write_text("kept")
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "link").symlink_to(outside)
    with pytest.raises(ArchiveRefusedError, match="stands twice"):
        unpack(tape(("link", tarfile.REGTYPE, b"x")), folder)
    assert outside.read_text() == "kept"


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (tape(*((f"f{number}", tarfile.REGTYPE, b"") for number in range(5))), "more than 4 files"),
        (tape(("large", tarfile.REGTYPE, b"x" * 10_001)), "more than 10000 bytes"),
        (tape(("a", tarfile.REGTYPE, b"x" * 6_000), ("b", tarfile.REGTYPE, b"x" * 6_000)), "bytes"),
        (tape(("hidden", tarfile.CHRTYPE, b"x" * 10_001)), "more than 10000 bytes"),
        (tape(("a", tarfile.REGTYPE, b""), ("a", tarfile.REGTYPE, b"")), "stands twice"),
        (tape(("a", tarfile.REGTYPE, b""), ("a/b", tarfile.REGTYPE, b"")), "stands twice"),
        (tape(("a", tarfile.REGTYPE, b"x" * 2_000))[:1_000], "ends in the middle"),
        (b"no archive" * 100, "not an archive"),
        (tape(("folder", tarfile.DIRTYPE, b""))[:512] * (MAX_MEMBERS + 1), "members"),
        (b"", "ends in the middle"),
    ],
)
def test_a_tape_is_refused(tmp_path: Path, data: bytes, words: str) -> None:
    with pytest.raises(ArchiveRefusedError, match=words):
        unpack(data, tmp_path)


def test_a_zip_gives_its_files(tmp_path: Path) -> None:
    archive = make_zip(tmp_path / "a.zip", ("main.py", b"1"), ("lib/", b""), ("lib/x.py", b"2"))
    folder = tmp_path / "folder"
    folder.mkdir()
    read_zip(archive, folder, ROOM)
    assert (folder / "main.py").read_bytes() == b"1"
    assert (folder / "lib/x.py").read_bytes() == b"2"


def link(name: str) -> zipfile.ZipInfo:
    member = zipfile.ZipInfo(name)
    member.external_attr = 0o120777 << 16
    return member


def device(name: str) -> zipfile.ZipInfo:
    member = zipfile.ZipInfo(name)
    member.external_attr = 0o060666 << 16
    return member


def rare(name: str) -> zipfile.ZipInfo:
    member = zipfile.ZipInfo(name)
    member.compress_type = zipfile.ZIP_BZIP2
    return member


@pytest.mark.parametrize(
    ("members", "words"),
    [
        ([("../up", b"x")], "no plain file's name"),
        ([("/etc/up", b"x")], "no plain file's name"),
        ([("a/../../up", b"x")], "no plain file's name"),
        ([(link("link"), b"/etc/passwd")], "no plain file's name"),
        ([(device("disk"), b"")], "no plain file's name"),
        ([(rare("rare"), b"x")], "rare way"),
        ([(f"f{number}", b"") for number in range(5)], "more than 4 files"),
        ([("large", os.urandom(10_001))], "more than 10000 bytes"),
        ([("bomb", b"\0" * 9_999)], "packed too tightly"),
        ([("a", b"x"), ("a/b", b"x")], "stands twice"),
    ],
)
def test_a_zip_is_refused(
    tmp_path: Path, members: list[tuple[str | zipfile.ZipInfo, bytes]], words: str
) -> None:
    folder = tmp_path / "below" / "folder"
    folder.mkdir(parents=True)
    archive = make_zip(tmp_path / "a.zip", *members)
    with pytest.raises(ArchiveRefusedError, match=words):
        read_zip(archive, folder, ROOM)
    assert os.listdir(tmp_path / "below") == ["folder"]


def test_a_zip_that_says_less_than_it_holds_gives_what_it_said(tmp_path: Path) -> None:
    archive = make_zip(tmp_path / "a.zip", ("a", b"x" * 5_000))
    data = bytearray(archive.read_bytes())
    # Its directory (APPNOTE 4.3.12) says ten bytes.
    struct.pack_into("<I", data, data.rindex(b"PK\1\2") + 24, 10)
    archive.write_bytes(data)
    folder = tmp_path / "folder"
    folder.mkdir()
    with pytest.raises(ArchiveRefusedError):
        read_zip(archive, folder, ROOM)
    assert sum(path.stat().st_size for path in folder.iterdir()) <= 10


@pytest.mark.parametrize("comment", [b"", b"a comment"])
def test_a_large_directory_is_not_read(tmp_path: Path, comment: bytes) -> None:
    archive = tmp_path / "a.zip"
    with zipfile.ZipFile(archive, "w") as made:
        made.writestr("a", b"")
        made.comment = comment
    data = bytearray(archive.read_bytes())
    struct.pack_into("<I", data, data.rindex(b"PK\5\6") + 12, MAX_DIRECTORY_BYTES + 1)
    archive.write_bytes(data)
    with pytest.raises(ArchiveRefusedError, match="its directory is over"):
        read_zip(archive, tmp_path, ROOM)


@pytest.mark.parametrize("data", [b"", b"PK\5\6", b"x" * 100, b"PK\5\6" + b"\0" * 17])
def test_what_is_no_zip_is_refused(tmp_path: Path, data: bytes) -> None:
    archive = tmp_path / "a.zip"
    archive.write_bytes(data)
    with pytest.raises(ArchiveRefusedError, match="not an archive"):
        read_zip(archive, tmp_path, ROOM)


def test_every_spoilt_zip_is_refused_or_read(tmp_path: Path) -> None:
    good = make_zip(tmp_path / "good.zip", ("a", b"text " * 20), ("b", b"x")).read_bytes()
    for place in range(len(good)):
        spoilt = tmp_path / "spoilt.zip"
        spoilt.write_bytes(good[:place] + bytes([good[place] ^ 0xFF]) + good[place + 1 :])
        folder = tmp_path / f"folder{place}"
        folder.mkdir()
        try:
            read_zip(spoilt, folder, ROOM)
        except ArchiveRefusedError:
            continue
