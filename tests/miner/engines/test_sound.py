"""Sound decoded in the sandbox: the same samples as anywhere, and nothing of what is no sound."""

import asyncio
import io
from pathlib import Path

import pytest

from miner.engines import sound
from miner.engines.interface import EngineFailedError, InputInvalidError
from miner.engines.sound import SoundDecoder, find_samples
from miner.engines.speech_program.sound_decoder import decode
from miner.sandbox.bubblewrap import Bubblewrap
from miner.sandbox.interface import MIB, Ending
from tests.support.engine_bench import FOX

ENDING = Ending(
    exit_code=0,
    limit=None,
    is_stopped=False,
    last_words="",
    cpu_seconds=0.0,
    peak_bytes=0,
    bounds="cgroup v2",
)


@pytest.fixture(scope="module")
def decoder() -> SoundDecoder:
    return SoundDecoder(Bubblewrap.open())


async def test_the_samples_are_those_of_the_decoder_itself(
    decoder: SoundDecoder, tmp_path: Path
) -> None:
    expected = io.BytesIO()
    with FOX.open("rb") as file:
        decode(file, expected)
    samples = await decoder.decode(FOX, tmp_path, asyncio.Event())
    assert samples is not None and samples.read_bytes() == expected.getvalue()


async def test_what_is_no_sound_says_so(decoder: SoundDecoder, tmp_path: Path) -> None:
    playlist = tmp_path / "playlist"
    playlist.write_bytes(b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n")
    folder = tmp_path / "output"
    folder.mkdir()
    with pytest.raises(InputInvalidError, match="not WAV"):
        await decoder.decode(playlist, folder, asyncio.Event())


async def test_a_stop_ends_the_decoding(decoder: SoundDecoder, tmp_path: Path) -> None:
    stop = asyncio.Event()
    stop.set()
    assert await decoder.decode(FOX, tmp_path, stop) is None


def replace(**changes: object) -> Ending:
    members = {name: getattr(ENDING, name) for name in Ending.__struct_fields__}
    return Ending(**{**members, **changes})


@pytest.mark.parametrize("size", [0, 3, sound.MAX_BYTES + 2 * MIB])
def test_what_is_no_file_of_samples_is_refused(size: int, tmp_path: Path) -> None:
    with (tmp_path / "samples").open("wb") as file:
        file.truncate(size)
    with pytest.raises(EngineFailedError, match="something else"):
        find_samples(ENDING, tmp_path)


def test_a_decoder_that_leaves_nothing_or_a_link_is_no_answer(tmp_path: Path) -> None:
    with pytest.raises(EngineFailedError, match="no samples"):
        find_samples(ENDING, tmp_path)
    (tmp_path / "samples").symlink_to(FOX)
    with pytest.raises(EngineFailedError, match="no samples"):
        find_samples(ENDING, tmp_path)


@pytest.mark.parametrize(
    ("ending", "error", "said"),
    [
        (replace(limit="memory", exit_code=137), InputInvalidError, "more memory"),
        (replace(exit_code=139), InputInvalidError, "signal 11"),
        (replace(exit_code=3, last_words="no sound"), InputInvalidError, "no sound"),
        (replace(exit_code=1, last_words="No module named av"), EngineFailedError, "named av"),
    ],
)
def test_each_ending_has_its_reason(
    ending: Ending, error: type[Exception], said: str, tmp_path: Path
) -> None:
    with pytest.raises(error, match=said):
        find_samples(ending, tmp_path)
