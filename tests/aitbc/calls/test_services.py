"""Each service as a call of its own, at a true node: what is sent, and the job that it makes."""

import json
from pathlib import Path

import pytest

from aitbc import errors
from tests.support.clients import served_node


async def test_every_service_makes_a_job(tmp_path: Path) -> None:
    async with served_node(tmp_path / "n") as served, served.connect() as client:
        sound = await client.files.upload(b"RIFF", name="sound.wav", media_type="audio/wav")
        services = client.services
        jobs = [
            await services.infer("Say hello.", max_tokens=16, temperature=0.5, max_cost="0.1"),
            await services.transcribe(
                sound.file_id, language="en", task="translate", max_cost="0.1"
            ),
            await services.generate_image("a red circle", size="64x64", num_images=2, steps=4),
            await services.transcode("https://example.com/film.mkv", output_format="mp4"),
            await services.render("https://example.com/scene.blend", resolution_x=64),
        ]
        assert [job["service"] for job in jobs] == [
            "llm_inference", "whisper_transcription", "stable_diffusion", "video_transcoding",
            "blender_rendering",
        ]  # fmt: skip
        assert jobs[0]["settlement"]["escrow"] == "0.1"
        # What is not the service's own (the bound, the key) is no part of the work.
        assert json.loads(jobs[1]["prompt"]) == {"audio_url": sound.file_id}
        assert jobs[0]["prompt"] == "Say hello."
        assert (await jobs[0].cancel()).status == "cancelled"
        same = [
            await services.infer("Say hello.", idempotency_key="one", max_cost="0.1")
            for _ in range(2)
        ]
        assert same[0].job_id == same[1].job_id
        with pytest.raises(errors.UnprocessableError) as caught:
            await services.transcribe("ftp://example.com/sound.wav")
        assert caught.value.errors[0]["pointer"] == "/audio_url"
        with pytest.raises(errors.InvalidJobTypeError):
            await client.jobs.create(type="mind_reading", input={"prompt": "x"})


async def test_the_registry_tells_what_a_request_must_be(tmp_path: Path) -> None:
    async with served_node(tmp_path / "n") as served, served.connect() as client:
        found = await client.registry.list(category="audio")
        assert [service.service_id for service in found.items] == ["whisper_transcription"]
        service = await client.registry.get("whisper_transcription")
        schema = await client.registry.get_schema(service.service_id)
        assert "audio_url" in schema["properties"]
        assert "min_vram_gb" in await client.registry.get_requirements(service.service_id)
        right = {"audio_url": "https://example.com/sound.wav", "tempo": 1}
        verdict = await client.registry.validate(service.service_id, right)
        assert (verdict.valid, verdict.errors) == (True, [])
        assert verdict.warnings[0]["pointer"] == "/tempo"
        assert not (await client.registry.validate(service.service_id, {})).valid
        with pytest.raises(errors.NotFoundError):
            await client.registry.get("mind_reading")


async def test_a_service_is_signed_for_by_whoever_keeps_the_key(tmp_path: Path) -> None:
    async with served_node(tmp_path / "n") as served, served.connect("holder") as client:
        job = await client.services.infer("Say hello.", max_tokens=16, max_cost="0.1")
        upload = await client.files.upload(b"RIFF", name="sound.wav")
        other = await client.services.transcribe(upload.file_id, max_cost="0.1")
        await served.node.wait_job(bytes.fromhex(job.job_id[4:]), "queued")
        assert other["prompt"] != job["prompt"]
