"""A job's files: found at POST, read and stored under the lease, kept while they are in use."""

import asyncio
from collections.abc import AsyncIterator
from hashlib import sha256
from typing import Any

import aiohttp

from coordinator.job_files import MAX_OUTPUTS
from tests.support.world import Reply, World

SOUND = b"RIFF" + bytes(300_000)


async def upload(world: World, path: str, who: str, data: bytes, name: str = "a.wav") -> Reply:
    form = aiohttp.FormData()
    form.add_field("file", data, filename=name, content_type="audio/wav")
    return await world.call("POST", path, who, data=form)


async def submit(world: World, file_id: str) -> Any:
    body = {"audio_url": file_id, "max_cost": "0.5"}
    reply = await world.call("POST", "/v1/services/whisper/transcribe", "client", body)
    assert reply.status == 201, reply
    path = reply.headers["Location"]
    return await world.until(path, "client", lambda job: job["phase"] == "queued")


async def test_a_source_is_read_by_the_leaseholder_alone(world: World) -> None:
    file = (await upload(world, "/v1/files", "client", SOUND)).json
    other = (await upload(world, "/v1/files", "client", b"not named")).json
    job = await submit(world, file["file_id"])
    path = f"/v1/jobs/{job['job_id']}/files/{file['file_id']}"
    await world.register(capabilities=["whisper_transcription"])
    await world.register("rival", capabilities=["whisper_transcription"])
    assert (await world.call("GET", path, "miner")).status == 409
    leased = await world.claim(job["job_id"])
    assert leased.status == 200, leased
    described = leased.json["content"]["files"][file["file_id"]]
    assert described["sha256"] == sha256(SOUND).hexdigest()
    read = await world.call("GET", path, "miner")
    assert (read.status, read.body) == (200, SOUND)
    part = await world.call("GET", path, "miner", headers={"Range": "bytes=0-3"})
    assert (part.status, part.body) == (206, b"RIFF")
    assert (await world.call("GET", path, "rival")).status == 409
    assert (await world.call("GET", path, "client")).status == 403
    unnamed = path.replace(file["file_id"], other["file_id"])
    assert (await world.call("GET", unnamed, "miner")).status == 404
    # It is needed until the job ends, and may be deleted then.
    gone = await world.call("DELETE", f"/v1/files/{file['file_id']}", "client")
    assert (gone.status, gone.json["error_code"]) == (409, "FILE_IN_USE")
    await world.call(
        "POST", f"/v1/jobs/{job['job_id']}/complete", "miner",
        {"miner_id": "miner_miner", "result": {"text": "hello"}, "units": 3},
    )  # fmt: skip
    await world.until(f"/v1/jobs/{job['job_id']}", "client", lambda j: j["status"] == "completed")
    assert (await world.call("DELETE", f"/v1/files/{file['file_id']}", "client")).status == 204
    assert (await world.call("GET", path, "miner")).status == 409


async def test_anothers_file_is_none(world: World) -> None:
    file = (await upload(world, "/v1/files", "other", SOUND)).json
    body = {"audio_url": file["file_id"]}
    reply = await world.call("POST", "/v1/services/whisper/transcribe", "client", body)
    assert reply.status == 422
    assert reply.json["errors"][0]["pointer"] == "/audio_url"
    listed = (await world.call("GET", "/v1/files", "client")).json
    assert (listed["files"], listed["total"]) == ([], 0)
    listed = (await world.call("GET", "/v1/files", "other")).json
    assert [each["file_id"] for each in listed["files"]] == [file["file_id"]]


async def test_a_result_that_is_a_file(world: World) -> None:
    body = {"input_url": "https://example.com/v.mp4", "max_cost": "0.5"}
    job = (await world.call("POST", "/v1/services/ffmpeg/transcode", "client", body)).json
    path = f"/v1/jobs/{job['job_id']}"
    await world.until(path, "client", lambda j: j["phase"] == "queued")
    await world.register(capabilities=["video_transcoding"])
    assert (await upload(world, path + "/files", "miner", b"early")).status == 409
    assert (await world.claim(job["job_id"])).status == 200
    stored = await upload(world, path + "/files", "miner", SOUND, "out.mp4")
    assert stored.status == 201, stored
    named = {"file_id": stored.json["file_id"], "name": "out.mp4", "size": len(SOUND)}
    for wrong in (
        {"files": [{**named, "sha256": "00" * 32}]},
        {"files": [{**named, "file_id": "file_" + "00" * 32, "sha256": "00" * 32}]},
        {"files": ["x"]},
    ):
        reply = await world.call(
            "POST", path + "/complete", "miner",
            {"miner_id": "miner_miner", "result": wrong, "units": 3},
        )  # fmt: skip
        assert reply.status == 422, reply
    result = {"files": [{**named, "sha256": sha256(SOUND).hexdigest()}]}
    done = {"miner_id": "miner_miner", "result": result, "units": 3}
    assert (await world.call("POST", path + "/complete", "miner", done)).status == 200
    await world.until(path, "client", lambda j: j["status"] == "completed")
    loaded = await world.call("GET", path + "/download", "client")
    assert loaded.body == SOUND
    assert 'filename="out.mp4"' in loaded.headers["Content-Disposition"]
    own = await world.call("GET", f"/v1/files/{named['file_id']}", "client")
    assert own.body == SOUND
    assert (await world.call("GET", f"/v1/files/{named['file_id']}", "other")).status == 404
    assert (await upload(world, path + "/files", "miner", b"late")).status == 409


async def test_a_job_has_so_many_result_files(world: World) -> None:
    job = await world.submit()
    await world.register()
    await world.claim(job["job_id"])
    path = f"/v1/jobs/{job['job_id']}/files"
    for number in range(MAX_OUTPUTS):
        assert (await upload(world, path, "miner", b"x", f"{number}.wav")).status == 201
    reply = await upload(world, path, "miner", b"x", "another.wav")
    assert (reply.status, reply.json["error_code"]) == (413, "RESULT_TOO_LARGE")


async def test_a_miner_that_runs_its_job_again_stores_its_files_again(world: World) -> None:
    body = {"input_url": "https://example.com/v.mp4", "max_cost": "0.5"}
    job = (await world.call("POST", "/v1/services/ffmpeg/transcode", "client", body)).json
    path = f"/v1/jobs/{job['job_id']}"
    await world.until(path, "client", lambda j: j["phase"] == "queued")
    await world.register(capabilities=["video_transcoding"])
    await world.claim(job["job_id"])
    for number in range(MAX_OUTPUTS):
        first = await upload(world, path + "/files", "miner", b"x", f"{number}.mp4")
    again = await upload(world, path + "/files", "miner", b"y", "63.mp4")
    assert again.status == 201
    for stored, status in ((first, 422), (again, 200)):
        named = {"file_id": stored.json["file_id"], "sha256": stored.json["sha256"]}
        done = {"miner_id": "miner_miner", "result": {"files": [named]}, "units": 3}
        assert (await world.call("POST", path + "/complete", "miner", done)).status == status
    # What a result names is not taken from under it.
    late = await upload(world, path + "/files", "miner", b"z", "63.mp4")
    assert late.status in (409, 413)
    await world.until(path, "client", lambda j: j["status"] == "completed")
    assert (await world.call("GET", path + "/download", "client")).body == b"y"


async def test_what_a_lost_lease_stored_is_nobodys(world: World) -> None:
    body = {"input_url": "https://example.com/v.mp4", "max_cost": "0.5"}
    job = (await world.call("POST", "/v1/services/ffmpeg/transcode", "client", body)).json
    path = f"/v1/jobs/{job['job_id']}"
    await world.until(path, "client", lambda j: j["phase"] == "queued")
    for who in ("miner", "rival"):
        await world.register(who, capabilities=["video_transcoding"])
    await world.claim(job["job_id"])
    for number in range(MAX_OUTPUTS):
        stored = await upload(world, path + "/files", "miner", b"x", f"{number}.wav")
    own = f"/v1/files/{stored.json['file_id']}"
    assert (await world.call("GET", own, "client")).status == 404, "it is not paid"
    assert (await world.call("GET", "/v1/files", "client")).json["total"] == 0
    failed = await world.call("POST", path + "/fail", "miner", {"miner_id": "miner_miner"})
    assert failed.status == 200
    await world.until(path, "client", lambda j: j["phase"] == "queued")
    assert (await world.claim(job["job_id"], "rival")).status == 200
    mine = await upload(world, path + "/files", "rival", SOUND)
    assert mine.status == 201, "the first miner's files are not counted to the second"
    result = {"files": [{"file_id": stored.json["file_id"], "sha256": stored.json["sha256"]}]}
    done = {"miner_id": "miner_rival", "result": result, "units": 3}
    assert (await world.call("POST", path + "/complete", "rival", done)).status == 422
    result["files"] = [{"file_id": mine.json["file_id"], "sha256": mine.json["sha256"]}]
    assert (await world.call("POST", path + "/complete", "rival", done)).status == 200
    await world.until(path, "client", lambda j: j["status"] == "completed")
    listed = (await world.call("GET", "/v1/files", "client")).json["files"]
    assert [each["file_id"] for each in listed] == [mine.json["file_id"]]


async def test_a_file_that_outlasts_its_lease_is_not_taken(world: World) -> None:
    job = await world.submit()
    await world.register()
    await world.claim(job["job_id"])
    path = f"/v1/jobs/{job['job_id']}"

    async def send() -> AsyncIterator[bytes]:
        yield b'--x\r\nContent-Disposition: form-data; name="file"\r\n\r\n' + bytes(100_000)
        await asyncio.sleep(0.2)
        world.pass_time(700)
        yield bytes(100_000) + b"\r\n--x--\r\n"

    kind = {"Content-Type": "multipart/form-data; boundary=x"}
    reply = await world.call("POST", path + "/files", "miner", data=send(), headers=kind)
    assert (reply.status, reply.json["error_code"]) == (409, "JOB_NOT_LEASED")
