"""Speech by the real model, and sound in files that are what they say, and in others."""

import asyncio
import io
import wave
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import av
import pytest

from miner.engines.interface import InputInvalidError
from miner.engines.speech import SpeechEngine
from miner.engines.speech_program.sound_decoder import NotSoundError, decode, find_format
from miner.sandbox.bubblewrap import Bubblewrap
from tests.support.engine_bench import FOX, fetch, run

ADDRESS = {"audio_url": "https://example.org/fox"}
WORDS = "the quick brown fox jumps over the lazy dog"


@pytest.fixture
async def engine() -> AsyncIterator[SpeechEngine]:
    identity, path = fetch("tiny.en")
    engine = SpeechEngine(identity, path, Bubblewrap.open(), 1)
    yield engine
    await engine.close()


def simplify(text: str) -> str:
    return " ".join("".join(c for c in text.lower() if c.isalpha() or c == " ").split())


def encode(path: Path, codec: str, container: str) -> Path:
    """Write the fox as another kind of file."""
    with av.open(str(FOX)) as source, av.open(str(path), "w", format=container) as sink:
        stream = sink.add_stream(codec, rate=16_000, layout="mono")
        assert isinstance(stream, av.AudioStream)
        resampler = av.AudioResampler(
            format=stream.codec_context.format, layout="mono", rate=16_000
        )
        for frame in source.decode(audio=0):
            for piece in resampler.resample(frame):
                sink.mux(stream.encode(piece))
        sink.mux(stream.encode(None))
    return path


async def test_the_real_model_understands_speech(engine: SpeechEngine, tmp_path: Path) -> None:
    seen: list[int] = []
    result = await run(
        engine, ADDRESS, files={"audio_url": FOX}, on_progress=lambda step, _: seen.append(step)
    )
    assert simplify(result.answer["text"]) == WORDS
    assert result.answer["language"] == "en"
    assert result.answer["duration"] == pytest.approx(2.965, abs=0.01)
    assert result.units == 3  # seconds begun
    segments = result.answer["segments"]
    assert simplify(" ".join(segment["text"] for segment in segments)) == WORDS
    assert 0 <= segments[0]["start"] < segments[-1]["end"] <= result.answer["duration"]
    assert seen == sorted(seen)
    assert "faster-whisper 1.2.1" in result.engine and "int8" in result.engine

    again = await run(engine, ADDRESS, {"language": "en"}, files={"audio_url": FOX})
    assert again.answer == result.answer

    compressed = encode(tmp_path / "fox", "aac", "mp4")
    result = await run(engine, ADDRESS, files={"audio_url": compressed})
    assert simplify(result.answer["text"]) == WORDS

    for params in ({"language": "de"}, {"task": "translate"}):
        with pytest.raises(InputInvalidError, match="English"):
            await run(engine, ADDRESS, params, files={"audio_url": FOX})
    nothing = tmp_path / "nothing"
    nothing.write_bytes(b"no sound at all")
    with pytest.raises(InputInvalidError, match="not WAV"):
        await run(engine, ADDRESS, files={"audio_url": nothing})


async def test_a_stop_leaves_what_was_heard_by_then(engine: SpeechEngine, tmp_path: Path) -> None:
    long = tmp_path / "long.wav"
    with wave.open(str(FOX), "rb") as source, wave.open(str(long), "wb") as sink:
        sink.setparams(source.getparams())
        spoken = source.readframes(source.getnframes())
        for _ in range(60):
            sink.writeframes(spoken)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    stopped_at = 0.0

    def on_progress(progress: int, _: str) -> None:
        nonlocal stopped_at
        if progress > 0 and not stop.is_set():
            stop.set()
            stopped_at = loop.time()

    result = await run(
        engine, ADDRESS, files={"audio_url": long}, on_progress=on_progress, stop=stop
    )
    assert loop.time() - stopped_at < 2
    assert result.is_cut
    if result.units:  # it may have been in the middle of a window
        assert 0 < result.units < 178
        assert result.answer["segments"]
    result = await run(engine, ADDRESS, files={"audio_url": FOX})
    assert simplify(result.answer["text"]) == WORDS


@pytest.mark.parametrize(
    ("codec", "container"), [("flac", "flac"), ("libmp3lame", "mp3"), ("libopus", "webm")]
)
def test_sound_comes_out_of_every_usual_container(
    codec: str, container: str, tmp_path: Path
) -> None:
    path = encode(tmp_path / "fox", codec, container)
    samples = io.BytesIO()
    with path.open("rb") as file:
        count = decode(file, samples)
    assert count / 16_000 == pytest.approx(2.96, abs=0.1)
    assert len(samples.getvalue()) == 4 * count


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"RIFF",
        b"RIFF\x10\x00\x00\x00WAVEfmt ",
        b"fLaC" + bytes(100),
        b"ID3" + bytes(100),
        b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n",
        b"ffconcat version 1.0\nfile /etc/passwd\n",
        b"<?xml version='1.0'?><MPD></MPD>",
        b"RIFF\x10\x00\x00\x00WAVE#EXTM3U\nfile:///etc/passwd",
        FOX.read_bytes()[:44],  # a header
    ],
)
def test_what_holds_no_sound_is_refused(data: bytes) -> None:
    with pytest.raises(NotSoundError):
        decode(io.BytesIO(data), io.BytesIO())


def test_containers_by_their_first_bytes() -> None:
    assert find_format(FOX.read_bytes()[:12]) == "wav"
    assert find_format(b"\xff\xfb\x90\x00") == "mp3"
    assert find_format(b"#EXTM3U") is None


@pytest.mark.parametrize(
    ("input_", "params"),
    [
        ({}, {}),
        ({"audio_url": 3}, {}),
        ({"audio_url": "ftp://example.org/a"}, {}),
        ({"audio_url": "/etc/passwd"}, {}),
        ({"audio_url": "file_../x"}, {}),
        ({"audio_url": "https://" + "a" * 3_000}, {}),
        ({"audio_url": "file_1", "prompt": "a"}, {}),
        (ADDRESS, {"task": "summarise"}),
        (ADDRESS, {"language": "English"}),
        (ADDRESS, {"temperature": 1}),
    ],
)
def test_what_cannot_be_done_as_asked_is_refused(input_: Any, params: Any) -> None:
    identity, path = fetch("tiny.en")
    with pytest.raises(InputInvalidError):
        SpeechEngine(identity, path, Bubblewrap.open(), 1).read({"input": input_, "params": params})
