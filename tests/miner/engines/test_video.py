"""Videos through ffmpeg in the sandbox: real ones, hostile ones, and one that is cut short."""

import asyncio
import hashlib
import struct
import time
from pathlib import Path
from typing import Any

import pytest

from miner.engines.interface import OUTPUT, EngineResult, InputInvalidError
from miner.engines.video import VideoEngine, Watch, check_ending, find_program
from miner.sandbox.interface import Ending
from miner.sandbox.plain import PlainProcess
from tests.support.videos import make_video, open_engine, read_streams

FILE = "file_" + "0a" * 32


def make_content(**params: Any) -> dict[str, Any]:
    return {"model": "ffmpeg", "input": {"input_url": FILE}, "params": params}


async def transcode(
    source: Path, folder: Path, stop: asyncio.Event | None = None, **params: Any
) -> tuple[EngineResult, list[int]]:
    output = folder / OUTPUT
    output.mkdir(exist_ok=True)
    seen: list[int] = []
    result = (
        await open_engine()
        .read(make_content(**params))
        .run(
            {"input_url": source, OUTPUT: output},
            lambda progress, _: seen.append(progress),
            stop or asyncio.Event(),
        )
    )
    return result, seen


@pytest.mark.parametrize(
    ("kind", "codec", "said"),
    [
        ("mp4", "h264", "Video: h264"),
        ("mov", "h265", "Video: hevc"),
        ("webm", "vp9", "Video: vp9"),
        ("mkv", "av1", "Video: av1"),
    ],
)
async def test_a_video_becomes_another(kind: str, codec: str, said: str, tmp_path: Path) -> None:
    source = make_video(tmp_path / "a.mp4")
    result, seen = await transcode(
        source, tmp_path, output_format=kind, codec=codec, resolution="64x64"
    )
    (file,) = result.files
    assert (file.name, file.path.name) == (f"video.{kind}",) * 2
    streams = read_streams(file.path)
    assert said in streams and "64x64" in streams and "Audio: " in streams
    assert result.answer["frames"] == 20 and result.units == 2 and seen[-1] == 99
    assert result.engine.startswith("ffmpeg n9.0.2") and "threads 1" in result.engine
    assert result.device.startswith("CPU ")
    assert {"build", "threads", "instructions", "encoder", "ffmpeg_sha256"} == set(result.pins)


async def test_the_same_bytes_come_out_again_and_no_word_of_the_input(tmp_path: Path) -> None:
    source = make_video(tmp_path / "a.mkv", size="33x17", seconds=1, sound=False)
    digests = set()
    for number in range(2):
        folder = tmp_path / str(number)
        folder.mkdir()
        result, _ = await transcode(source, folder)
        data = result.files[0].path.read_bytes()
        digests.add(hashlib.sha256(data).hexdigest())
        assert b"Lavf" not in data
    assert len(digests) == 1
    assert "34x18" in read_streams(result.files[0].path)  # odd sizes are filled up


def make_header(width: int, height: int, codec: bytes = bytes(4)) -> bytes:
    """Return an AVI of one tiny frame that says it is that large, of bare pixels or a codec's."""
    size = struct.pack("<II", width, height)
    stream = b"vids" + codec + bytes(12) + struct.pack("<II", 1, 10) + bytes(28)
    bitmap = struct.pack("<I", 40) + size + struct.pack("<HH4s", 1, 24, codec) + bytes(20)

    def chunk(name: bytes, data: bytes) -> bytes:
        return name + struct.pack("<I", len(data)) + data + bytes(len(data) % 2)

    main = struct.pack("<IIIIIIII", 100_000, 0, 0, 16, 1, 0, 1, 0) + size + bytes(16)
    streams = chunk(b"LIST", b"strl" + chunk(b"strh", stream) + chunk(b"strf", bitmap))
    header = chunk(b"LIST", b"hdrl" + chunk(b"avih", main) + streams)
    return chunk(b"RIFF", b"AVI " + header + chunk(b"LIST", b"movi" + chunk(b"00dc", b"\xff\xd8")))


PLAYLIST = b"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nfile:///etc/passwd\n#EXT-X-ENDLIST\n"
CONCAT = b"ffconcat version 1.0\nfile /etc/passwd\nfile /input/video\n"
DASH = b'<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static"/>'
SVG = b'<svg xmlns="http://www.w3.org/2000/svg"><image href="file:///etc/passwd"/></svg>'


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"no video at all",
        PLAYLIST,
        CONCAT,
        DASH,
        SVG,
        make_header(100_000, 100_000),
        make_header(0x7FFFFFFF, 2),
        make_header(1, 1, b"MJPG"),
    ],
    ids=["empty", "text", "playlist", "concat", "dash", "svg", "huge", "wide", "dot"],
)
async def test_what_is_no_video_is_the_clients_fault(data: bytes, tmp_path: Path) -> None:
    source = tmp_path / "hostile"
    source.write_bytes(data)
    with pytest.raises(InputInvalidError) as caught:
        await transcode(source, tmp_path)
    assert "root:" not in str(caught.value)
    assert not any(
        path.is_file() and path.stat().st_size for path in (tmp_path / OUTPUT).rglob("*.mp4")
    )


async def test_where_none_is_wanted_it_runs_without_a_sandbox_and_says_so(tmp_path: Path) -> None:
    source, output = make_video(tmp_path / "a.mkv", seconds=1, sound=False), tmp_path / OUTPUT
    output.mkdir()
    result = (
        await VideoEngine(find_program(), PlainProcess(), 1)
        .read(make_content())
        .run({"input_url": source, OUTPUT: output}, lambda *_: None, asyncio.Event())
    )
    assert "Video: h264" in read_streams(result.files[0].path)
    assert result.engine.endswith("no sandbox, prlimit")


async def test_sound_without_a_picture_is_no_video(tmp_path: Path) -> None:
    whole = make_video(tmp_path / "a.mp4", seconds=1)
    data = whole.read_bytes()
    (tmp_path / "cut.mp4").write_bytes(data[: len(data) // 2])  # its index is at the end
    with pytest.raises(InputInvalidError, match="moov"):
        await transcode(tmp_path / "cut.mp4", tmp_path)


async def test_it_stops_within_two_seconds_and_leaves_nothing(tmp_path: Path) -> None:
    source = make_video(tmp_path / "a.mkv", size="640x360", seconds=20, sound=False)
    stop = asyncio.Event()
    running = asyncio.create_task(
        transcode(source, tmp_path, stop, codec="vp9", output_format="webm", resolution="1920x1080")
    )
    await asyncio.sleep(1)
    begin = time.monotonic()
    stop.set()
    result, _ = await running
    assert time.monotonic() - begin < 2
    assert (result.is_cut, result.units, result.files) == (True, 0, ())
    assert not list((tmp_path / OUTPUT).rglob("*.webm"))


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"params": {"codec": "divx"}}, "codec"),
        ({"params": {"filter": "movie=/etc/passwd"}}, "filter"),
        ({"params": {"resolution": "64x64;rm"}}, "resolution"),
        ({"params": {"output_format": "webm"}}, "no place in webm"),
        ({"input": {"input_url": "file:///etc/passwd"}}, "address or the id"),
        ({"input": {"input_url": FILE, "options": "-f"}}, "options"),
    ],
)
def test_what_the_contract_does_not_name_is_refused(changed: dict[str, Any], said: str) -> None:
    with pytest.raises(InputInvalidError, match=said):
        open_engine().read({**make_content(), **changed})


def test_what_a_file_makes_ffmpeg_say_is_no_count() -> None:
    seen: list[int] = []
    watch = Watch(lambda progress, _: seen.append(progress))
    for line in (
        "[info]   Duration: 00:00:10.00, start: 0.000000, bitrate: 3 kb/s",
        "[info]     title           : out_time_us=99000000",
        "frame=12", "out_time_us=N/A", "out_time_us=5000000", "out_time_us=-3", "progress=end",
        "[mov @ 0x1] [warning] a word", "[mov @ 0x1] [error] moov atom not found",
    ):  # fmt: skip
        watch.note(line)
    # As counted, and a second for pictures that wait for their turn; never as the file claims.
    assert (watch.duration, watch.frames, seen) == (6_000_000, 12, [50])
    assert watch.problems == "moov atom not found"


def test_a_bound_is_the_clients_as_any_other_ending() -> None:
    def end(code: int, limit: str | None) -> Ending:
        return Ending(exit_code=code, limit=limit, is_stopped=False, last_words="", cpu_seconds=0,
                      peak_bytes=0, bounds="prlimit")  # fmt: skip

    watch = Watch(lambda *_: None)
    with pytest.raises(InputInvalidError, match="more memory"):
        check_ending(end(137, "memory"), watch)
    with pytest.raises(InputInvalidError, match="cannot read"):
        check_ending(end(1, None), watch)
    with pytest.raises(InputInvalidError, match="no picture"):
        check_ending(end(0, None), watch)
