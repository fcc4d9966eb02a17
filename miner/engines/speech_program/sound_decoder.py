"""Takes the sound out of a stranger's file, in the sandbox, as plain numbers.

Its only argument is where the file lies. Writes `samples`: 32-bit floats, little-endian, mono,
16,000 a second; or what is wrong with the file on standard error, with exit code 3. The container
is told from its first bytes and opened as that and nothing else: FFmpeg's own guess would take
playlists.
"""

import sys
from itertools import chain
from pathlib import Path
from typing import BinaryIO, Final

import av
import numpy as np

RATE: Final = 16_000
"""Samples a second, as the model takes them."""
MAX_SECONDS: Final = 3_600
SAMPLES: Final = "samples"
NOT_SOUND: Final = 3
"""The exit code for a file that is no sound, or too long a one."""
MAGIC_BYTES: Final = 12


class NotSoundError(Exception):
    """The file holds no sound that can be read, whoever tries."""


def decode(source: BinaryIO, sink: BinaryIO) -> int:
    """Write the first audio track as samples and return how many. Raises `NotSoundError`."""
    name = find_format(source.read(MAGIC_BYTES))
    if name is None:
        raise NotSoundError("not WAV, FLAC, MP3, Ogg, MP4, WebM or Matroska")
    source.seek(0)
    count = 0
    try:
        with av.open(source, "r", format=name) as container:
            if not container.streams.audio:
                raise NotSoundError("the file holds no sound")
            resampler = av.AudioResampler(format="fltp", layout="mono", rate=RATE)
            # What the resampler still holds comes out behind the last frame.
            for frame in chain(container.decode(container.streams.audio[0]), (None,)):
                for piece in resampler.resample(frame):
                    samples = piece.to_ndarray()[0]
                    sink.write(samples.astype(np.dtype("<f4")).tobytes())
                    count += len(samples)
                if count > MAX_SECONDS * RATE:
                    raise NotSoundError(f"the sound is longer than {MAX_SECONDS} s")
    except (av.error.FFmpegError, ValueError) as error:
        raise NotSoundError(f"the sound does not decode: {error}") from None
    if not count:
        raise NotSoundError("the file holds no sound")
    return count


def find_format(magic: bytes) -> str | None:
    """Return FFmpeg's name of the container that begins so."""
    if magic[:4] == b"RIFF" and magic[8:12] == b"WAVE":
        return "wav"
    if magic[4:8] == b"ftyp":
        return "mov"
    beginnings = {
        b"fLaC": "flac",
        b"OggS": "ogg",
        b"ID3": "mp3",
        b"\x1a\x45\xdf\xa3": "matroska",
    }
    for beginning, name in beginnings.items():
        if magic.startswith(beginning):
            return name
    is_frame = len(magic) > 1 and magic[0] == 0xFF and magic[1] & 0xE6 in (0xE2, 0xE4, 0xE6)
    return "mp3" if is_frame else None


def main() -> None:
    """Decode the file that the argument names."""
    try:
        with Path(sys.argv[1]).open("rb") as source, Path(SAMPLES).open("wb") as sink:
            decode(source, sink)
    except NotSoundError as error:
        sys.stderr.write(str(error))
        sys.exit(NOT_SOUND)


if __name__ == "__main__":
    main()
