"""`aitbc miner bench`: real small jobs on the engines that `run` would use."""

import json
import os
import subprocess
import sys
import wave
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from miner.bench import BenchFailedError, measure, read_memory
from miner.bench_model import IDENTITY
from miner.bench_samples import SAMPLES, make_sound
from miner.cli import app
from miner.kinds import KINDS
from miner.settings import MinerSettings
from tests.support.engine_bench import fetch
from tests.support.text_endpoint import TextEndpoint

HOLD = "data = b'x' * (64 << 20); print('held', flush=True); input()"


def make_settings(**changed: Any) -> MinerSettings:
    return MinerSettings(**{"miner_id": "miner_a", "api_key": "k", "key_file": "k", **changed})


async def test_a_kind_is_measured_on_its_own_engine() -> None:
    figures = await measure("stable_diffusion", make_settings(), runs=2)
    assert figures.model.startswith("tiny@") and figures.engine.startswith("aitbc-numpy-diffusion")
    assert (figures.runs, figures.unit, figures.units) == (2, "image", 4)
    assert figures.first_answer > 0 and figures.job > 0 and figures.start > 0
    assert figures.units_per_second == pytest.approx(figures.units / figures.job, rel=0.1)
    assert figures.memory is not None and figures.memory > 20 * 2**20
    assert figures.energy_joules is None  # no GPU counted it
    # At the usual price: 1,000 base units a picture.
    earned = figures.units_per_second * 3_600 * 1_000 / 10**9
    assert figures.ait_per_hour == pytest.approx(earned, rel=0.01)


async def test_speech_is_measured_with_sound_made_here(tmp_path: Path) -> None:
    with wave.open(str(make_sound(tmp_path, make_settings())["audio_url"])) as sound:
        assert sound.getnframes() == 5 * sound.getframerate()
    fetch("tiny.en")
    figures = await measure("whisper_transcription", make_settings(), runs=1)
    assert (figures.unit, figures.units) == ("audio_second", 5)


def test_every_kind_has_a_sample() -> None:
    assert set(SAMPLES) == set(KINDS)


async def test_a_video_and_a_model_are_made_here_and_measured_in_the_sandbox() -> None:
    video = await measure("video_transcoding", make_settings(), runs=1)
    assert (video.unit, video.units) == ("video_second", 5)
    model = await measure("onnx_inference", make_settings(), runs=1)
    assert model.model == IDENTITY and model.units >= 1


async def test_a_program_is_paid_by_the_second_however_fast_it_is() -> None:
    figures = await measure("custom_code", make_settings(), runs=1)
    assert (figures.model, figures.unit) == ("python", "second")
    assert figures.units >= 1 and 0 < figures.units_per_second <= 1


async def test_of_a_server_of_the_operators_the_first_text_is_timed_and_no_memory_said() -> None:
    endpoint = TextEndpoint(delay=0.01)
    async with endpoint.serve():
        settings = make_settings(text_endpoint=endpoint.url, text_endpoint_model="served")
        figures = await measure("llm_inference", settings, runs=1)
    assert 0.01 <= figures.first_answer < figures.job
    assert figures.units == 5 + SAMPLES["llm_inference"].params["max_tokens"]


async def test_what_cannot_be_measured_says_why() -> None:
    with pytest.raises(BenchFailedError, match="device is cuda:9"):
        await measure("stable_diffusion", make_settings(device="cuda:9"), runs=1)


def test_memory_is_that_of_the_processes_below() -> None:
    before = read_memory(os.getpid())
    command = [sys.executable, "-c", HOLD]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stdout.readline() == b"held\n"
        assert read_memory(os.getpid()) - before > 60 * 2**20
        assert read_memory(process.pid) == 0  # it has no children; its own is not counted
        process.communicate(b"\n")


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["bench", *arguments])


def test_the_command_needs_no_account_and_prints_one_document() -> None:
    done = run("--kind", "stable_diffusion", "--runs", "1", "--json")
    assert done.exit_code == 0, done.output
    (figures,) = json.loads(done.stdout)["figures"]
    assert figures["kind"] == "stable_diffusion"
    done = run("--kind", "stable_diffusion", "--device", "cuda:9")
    assert done.exit_code == 3
    assert "error: stable_diffusion: device is cuda:9" in done.stderr
