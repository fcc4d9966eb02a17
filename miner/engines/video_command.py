"""Decides the line that ffmpeg is run with: of the client's words only those of the contract, each
from a closed table, and otherwise what makes the same bytes come out of the same build again.

The input is a stranger's: one file in one of a few containers, so that no playlist, image sequence
or script is read, and nothing but that file is opened, whatever its bytes ask for.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Final, Literal, NamedTuple

import msgspec
from msgspec import Meta

from miner.engines.interface import InputInvalidError

PROGRAM: Final = "/engine/ffmpeg"
INPUT: Final = "/input/video"
CONTAINERS_READ: Final = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,flv,ogg,mpegts,mpeg,asf,ivf,mxf"
MAX_PIXELS: Final = 7_680 * 4_320
"""Of a picture, in and out."""
PROGRESS_SECONDS: Final = 0.5
AVX2: Final = "avx2"

Format = Literal["mp4", "mkv", "webm", "mov"]
Codec = Literal["h264", "h265", "vp9", "av1"]


class Parameters(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a job asks of its video."""

    output_format: Format = "mp4"
    codec: Codec = "h264"
    resolution: Annotated[str, Meta(pattern=r"^[1-9][0-9]{1,3}x[1-9][0-9]{1,3}\Z")] | None = None


class _Container(NamedTuple):
    muxer: str
    media_type: str
    codecs: frozenset[Codec]
    sound: tuple[str, ...]


_ALL: Final[frozenset[Codec]] = frozenset({"h264", "h265", "vp9", "av1"})
_AAC: Final = ("-c:a", "aac", "-b:a", "128k")
_OPUS: Final = ("-c:a", "libopus", "-b:a", "128k")
_CONTAINERS: Final[Mapping[Format, _Container]] = MappingProxyType({
    "mp4": _Container("mp4", "video/mp4", _ALL, _AAC),
    "mov": _Container("mov", "video/quicktime", frozenset({"h264", "h265"}), _AAC),
    "mkv": _Container("matroska", "video/x-matroska", _ALL, _AAC),
    "webm": _Container("webm", "video/webm", frozenset({"vp9", "av1"}), _OPUS),
})  # fmt: skip
GPU_ENCODERS: Final[Mapping[Codec, str]] = MappingProxyType({
    "h264": "h264_nvenc", "h265": "hevc_nvenc", "av1": "av1_nvenc",
})  # fmt: skip
_CPU_ENCODERS: Final[Mapping[Codec, str]] = MappingProxyType({
    "h264": "libx264", "h265": "libx265", "vp9": "libvpx-vp9", "av1": "libsvtav1",
})  # fmt: skip


class Settings(NamedTuple):
    """What the machine adds to a job's parameters."""

    threads: int
    has_avx2: bool
    gpu_codecs: frozenset[Codec]
    """Those that the GPU encodes."""

    @property
    def instructions(self) -> str:
        """Which of the processor's instructions encoders may use, as it is pinned."""
        return AVX2 if self.has_avx2 else "any"


def check_parameters(parameters: Parameters) -> None:
    """Raise `InputInvalidError` for what no video can be."""
    container = _CONTAINERS[parameters.output_format]
    if parameters.codec not in container.codecs:
        raise InputInvalidError(f"{parameters.codec} has no place in {parameters.output_format}")
    if parameters.resolution is not None:
        width, height = map(int, parameters.resolution.split("x"))
        if width % 2 or height % 2:
            raise InputInvalidError("a resolution is of even numbers: colours are halved")
        if width * height > MAX_PIXELS:
            raise InputInvalidError(f"a picture has at most {MAX_PIXELS} pixels")


def get_media_type(parameters: Parameters) -> str:
    """Return the media type of what comes out."""
    return _CONTAINERS[parameters.output_format].media_type


def choose_encoder(parameters: Parameters, settings: Settings) -> str:
    """Return ffmpeg's name of what encodes: on the GPU where that encodes the codec."""
    if parameters.codec in settings.gpu_codecs:
        return GPU_ENCODERS[parameters.codec]
    return _CPU_ENCODERS[parameters.codec]


def build_line(parameters: Parameters, settings: Settings, output: str) -> tuple[str, ...]:
    """Return the command line that writes `output`, a name in the folder that it runs in."""
    container = _CONTAINERS[parameters.output_format]
    threads = str(settings.threads)
    if parameters.resolution is None:
        size = "pad=ceil(iw/2)*2:ceil(ih/2)*2"
    else:
        size = f"scale={parameters.resolution.replace('x', ':')},setsar=1"
    line = [PROGRAM, "-nostdin", "-hide_banner", "-nostats", "-loglevel", "level+info"]
    line += ["-progress", "pipe:1", "-stats_period", str(PROGRESS_SECONDS)]
    if settings.has_avx2:
        line += ["-cpuflags", AVX2]
    line += ["-protocol_whitelist", "file", "-format_whitelist", CONTAINERS_READ]
    line += ["-max_pixels", str(MAX_PIXELS), "-threads", threads, "-i", INPUT]
    line += ["-map", "0:v:0", "-map", "0:a:0?", "-sn", "-dn"]
    line += ["-map_metadata", "-1", "-map_chapters", "-1"]
    line += ["-filter_threads", "1", "-sws_flags", "bicubic+accurate_rnd+bitexact"]
    line += ["-vf", f"{size},format=yuv420p", *_choose_quality(parameters, settings)]
    line += ["-threads", threads, *container.sound]
    line += ["-fflags", "+bitexact", "-flags:v", "+bitexact", "-flags:a", "+bitexact"]
    return (*line, "-f", container.muxer, output)


def build_probe(codec: Codec) -> tuple[str, ...]:
    """Return the command line that encodes a little on the GPU, if that can be done."""
    line = [PROGRAM, "-nostdin", "-hide_banner", "-nostats", "-loglevel", "error"]
    line += ["-f", "lavfi", "-i", "color=size=320x192:duration=0.2", "-c:v", GPU_ENCODERS[codec]]
    return (*line, "-f", "null", "-")


def _choose_quality(parameters: Parameters, settings: Settings) -> list[str]:
    """Return the encoder and how well it is to do; the same for everybody."""
    encoder, threads = choose_encoder(parameters, settings), settings.threads
    chosen = ["-c:v", encoder]
    match encoder:
        case "libx264":
            chosen += ["-preset", "fast", "-crf", "23"]
            options = f"threads={threads}:lookahead-threads=1"
            chosen += ["-x264-params", _limit_instructions(options, settings)]
        case "libx265":
            chosen += ["-preset", "fast", "-crf", "28"]
            options = f"pools={threads}:frame-threads=1:info=0:log-level=error"
            chosen += ["-x265-params", _limit_instructions(options, settings)]
        case "libsvtav1":
            chosen += ["-preset", "8", "-crf", "35"]
            chosen += ["-svtav1-params", _limit_instructions(f"lp={threads}", settings)]
        case "libvpx-vp9":
            chosen += ["-crf", "33", "-b:v", "0", "-deadline", "good", "-cpu-used", "4"]
            chosen += ["-row-mt", "0"]
        case _:
            chosen += ["-preset", "p5", "-rc", "vbr", "-cq", "28", "-b:v", "0"]
    if parameters.codec == "h265" and parameters.output_format in ("mp4", "mov"):
        chosen += ["-tag:v", "hvc1"]
    return chosen


def _limit_instructions(options: str, settings: Settings) -> str:
    # A processor with AVX-512 would make other bytes than one without.
    return f"{options}:asm={AVX2}" if settings.has_avx2 else options
