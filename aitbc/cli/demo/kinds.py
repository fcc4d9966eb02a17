"""The second act: other kinds of work by the same miner, each escrowed, run, proved and settled."""

import base64
import hashlib
import struct
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from aitbc.cli.demo.checks import CheckFailed
from aitbc.cli.demo.show import Show
from aitbc.cli.money import format_ait
from aitbc.client import AITBCClient
from aitbc.models import Job

JOB_SECONDS: Final = 60.0
PICTURE, CLIP, VIDEO = "picture.png", "clip.mp4", "video.webm"
FILES: Final = (PICTURE, CLIP, VIDEO)
"""What the act leaves in the demonstration's folder."""
MODEL: Final = Path(__file__).with_name("fahrenheit.onnx")
"""Two nodes: times 1.8, plus 32."""
CELSIUS, FAHRENHEIT = [-40.0, 0.0, 37.0, 100.0], [-40.0, 32.0, 98.6, 212.0]
PNG_SIZE: Final = struct.Struct(">8s4x4sII")


class SecondAct:
    """Submits the jobs, waits for each, and checks what came back and what it cost."""

    def __init__(self, show: Show, client: AITBCClient, folder: Path) -> None:
        self._show = show
        self._client = client
        self._folder = folder

    def tell(self) -> None:
        """Tell it. Raises `CheckFailed`."""
        self._show.step("The same miner does other kinds of work")
        announced = {each.service_id: each["miners"] for each in self._client.registry.list().items}
        acts: tuple[tuple[str, Callable[[], Job], Callable[[Job], None]], ...] = (
            ("stable_diffusion", self._ask_picture, self._check_picture),
            ("video_transcoding", self._ask_video, self._check_video),
            ("onnx_inference", self._ask_model, self._check_model),
        )
        begun = []
        for service, ask, check in acts:
            if announced.get(service):
                begun.append((ask(), check))
            else:
                self._show.fact(service, "not shown: this miner lacks it (aitbc miner doctor)")
        rows = [self._see_through(job, check) for job, check in begun]
        self._show.table(("kind", "units", "AIT", "proof, bytes", "block"), rows)

    def _see_through(self, job: Job, check: Callable[[Job], None]) -> tuple[str, ...]:
        """Wait for a job's settlement, check its result, and return its row of the table."""
        end = time.monotonic() + JOB_SECONDS
        while not (job := self._client.jobs.get(job.job_id)).is_over:
            if time.monotonic() >= end:
                raise CheckFailed(f"the job is {job.phase} after {JOB_SECONDS:.0f} s")
            time.sleep(0.2)
        if job.status != "completed":
            raise CheckFailed(f"{job['service']} is {job.status}: {job.get('error')}")
        check(job)
        receipt = self._client.receipts.get(job.job_id)
        self._show.fact("ran by", receipt["engine"])
        paid = format_ait(int(receipt["amount_base"]))
        units = f"{receipt['units']} {receipt['unit_type']}"
        proof = str(len(receipt["zk"]["proof"]) // 2)
        return (job["service"], units, paid, proof, str(receipt["height"]))

    def _ask_picture(self) -> Job:
        return self._client.services.generate_image("a red circle on yellow", size="256x256")

    def _check_picture(self, job: Job) -> None:
        image = job.result["images"][0]
        data = base64.b64decode(image["b64_json"])
        (self._folder / PICTURE).write_bytes(data)
        _, _, width, height = PNG_SIZE.unpack(data[: PNG_SIZE.size])
        self._show.fact("picture", f"{self._folder / PICTURE}, {width} x {height} pixels")
        is_same = hashlib.sha256(data).hexdigest() == image["sha256"]
        self._show.check(is_same and width == 256, "a picture of the size that was asked for")

    def _ask_video(self) -> Job:
        clip = self._folder / CLIP
        _make_clip(clip)
        stored = self._client.files.upload(clip)
        return self._client.services.transcode(
            stored.file_id, output_format="webm", codec="vp9", resolution="160x90"
        )

    def _check_video(self, job: Job) -> None:
        made = job.result["files"][0]
        path = self._client.files.download_to(made["file_id"], self._folder / VIDEO)
        data = path.read_bytes()
        before = (self._folder / CLIP).stat().st_size
        self._show.fact("video", f"{path}, {len(data)} bytes of WebM out of {before} of MP4")
        is_same = hashlib.sha256(data).hexdigest() == made["sha256"]
        is_webm = data.startswith(b"\x1a\x45\xdf\xa3")
        self._show.check(is_same and is_webm, "a video in the format that was asked for")

    def _ask_model(self) -> Job:
        stored = self._client.files.upload(MODEL)
        return self._client.jobs.create(
            type="onnx_inference",
            input={"model_url": stored.file_id, "tensors": {"celsius": CELSIUS}},
        )

    def _check_model(self, job: Job) -> None:
        found = job.result["tensors"]["fahrenheit"]
        values = found["data"] if isinstance(found, dict) else found
        self._show.fact("the client's own model", f"{CELSIUS} °C is {values} °F")
        is_near = all(abs(a - b) < 1e-3 for a, b in zip(values, FAHRENHEIT, strict=True))
        self._show.check(is_near, "the numbers that the model stands for")


def _make_clip(path: Path) -> None:
    """Make two seconds of moving bars, to have something to transcode."""
    import imageio_ffmpeg

    source = ["-f", "lavfi", "-i", "testsrc=duration=2:size=320x180:rate=15"]
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-loglevel", "error", "-y", *source, str(path)]
    subprocess.run(command, check=True)
