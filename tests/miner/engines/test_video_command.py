"""The line that ffmpeg is run with: closed, the same for one job, and nothing of a stranger's."""

import itertools
from typing import get_args

import pytest

from miner.engines.interface import InputInvalidError
from miner.engines.video_command import (
    INPUT,
    MAX_PIXELS,
    Codec,
    Format,
    Parameters,
    Settings,
    build_line,
    check_parameters,
    choose_encoder,
    get_media_type,
)

PLAIN = Settings(2, has_avx2=False, gpu_codecs=frozenset())
AVX2 = Settings(2, has_avx2=True, gpu_codecs=frozenset())
GPU = Settings(2, has_avx2=True, gpu_codecs=frozenset({"h264", "av1"}))


def test_every_form_that_is_taken_has_a_line_and_the_others_are_refused() -> None:
    taken = []
    for kind, codec in itertools.product(get_args(Format), get_args(Codec)):
        parameters = Parameters(kind, codec)
        try:
            check_parameters(parameters)
        except InputInvalidError as error:
            assert str(error) == f"{codec} has no place in {kind}"
            continue
        taken.append((kind, codec))
        assert build_line(parameters, AVX2, "out")[-1] == "out"
        assert get_media_type(parameters).startswith("video/")
    assert len(taken) == 4 + 4 + 2 + 2


@pytest.mark.parametrize("settings", [PLAIN, AVX2, GPU])
def test_nothing_but_one_file_in_a_known_container_is_opened(settings: Settings) -> None:
    line = build_line(Parameters(), settings, "out.mp4")
    before = line[: line.index("-i")]
    assert before[before.index("-protocol_whitelist") + 1] == "file"
    containers = before[before.index("-format_whitelist") + 1].split(",")
    assert not {"hls", "concat", "dash", "image2", "lavfi", "tee"} & set(containers)
    assert line.count("-i") == 1 and line[line.index("-i") + 1] == INPUT


def test_instructions_and_threads_are_pinned_where_the_processor_has_them() -> None:
    for codec, option in (
        ("h264", "-x264-params"),
        ("h265", "-x265-params"),
        ("av1", "-svtav1-params"),
    ):
        parameters = Parameters("mkv", codec)  # type: ignore[arg-type]
        line = build_line(parameters, AVX2, "out")
        assert line[line.index(option) + 1].endswith(":asm=avx2")
        assert "asm" not in " ".join(build_line(parameters, PLAIN, "out"))
    assert line[line.index("-cpuflags") + 1] == "avx2"
    assert [line[at + 1] for at, word in enumerate(line) if word == "-threads"] == ["2", "2"]
    assert (AVX2.instructions, PLAIN.instructions) == ("avx2", "any")


def test_the_gpu_encodes_what_it_can() -> None:
    encoders = [choose_encoder(Parameters("mkv", codec), GPU) for codec in get_args(Codec)]
    assert encoders == ["h264_nvenc", "libx265", "libvpx-vp9", "av1_nvenc"]
    line = build_line(Parameters("mp4", "h264"), GPU, "out")
    assert line[line.index("-c:v") + 1] == "h264_nvenc" and "-x264-params" not in line


@pytest.mark.parametrize("resolution", ["101x100", "100x101", "9998x9998"])
def test_a_size_that_no_codec_takes_is_refused(resolution: str) -> None:
    with pytest.raises(InputInvalidError, match=r"even|pixels"):
        check_parameters(Parameters(resolution=resolution))


def test_the_largest_picture() -> None:
    check_parameters(Parameters(resolution="7680x4320"))
    assert MAX_PIXELS == 7680 * 4320
    line = build_line(Parameters(resolution="7680x4320"), PLAIN, "out")
    assert line[line.index("-vf") + 1].startswith("scale=7680:4320,")
