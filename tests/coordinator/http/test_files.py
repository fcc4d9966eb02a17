import hashlib
from pathlib import Path
from typing import Any

import aiohttp

from coordinator.files import PART_BYTES
from tests.support.world import Reply, World, open_world


async def upload(world: World, data: bytes, who: str = "client", field: str = "file") -> Reply:
    form = aiohttp.FormData()
    form.add_field("note", "first")
    form.add_field(field, data, filename="notes ü.txt", content_type="text/plain")
    return await world.call("POST", "/v1/files", who, data=form)


async def test_a_file_comes_back_as_it_was(world: World) -> None:
    data = bytes(range(256)) * (PART_BYTES // 100)
    reply = await upload(world, data)
    assert reply.status == 201, reply
    shown: dict[str, Any] = reply.json
    assert (shown["size"], shown["sha256"]) == (len(data), hashlib.sha256(data).hexdigest())
    path = f"/v1/files/{shown['file_id']}"
    whole = await world.call("GET", path, "client")
    assert whole.body == data
    assert whole.headers["Content-Type"] == "application/octet-stream"
    for span, start, end in (
        ("bytes=0-0", 0, 1),
        (f"bytes={PART_BYTES - 1}-{PART_BYTES}", PART_BYTES - 1, PART_BYTES + 1),
        ("bytes=-5", len(data) - 5, len(data)),
        (f"bytes={len(data) - 1}-", len(data) - 1, len(data)),
    ):
        part = await world.call("GET", path, "client", headers={"Range": span})
        assert (part.status, part.body) == (206, data[start:end]), span
    for method in ("GET", "DELETE"):
        assert (await world.call(method, path, "other")).status == 404
    assert (await world.call("DELETE", path, "client")).status == 204
    assert (await world.call("GET", path, "client")).status == 404


async def test_a_file_is_a_prompt(world: World) -> None:
    text = (await upload(world, "Grüße".encode())).json["file_id"]
    job = await world.call("POST", "/v1/jobs", "client", {"input": text})
    assert (job.status, job.json["prompt"]) == (201, "Grüße")
    stranger = await world.call("POST", "/v1/jobs", "other", {"input": text})
    assert stranger.status == 422
    binary = (await upload(world, b"\xff\xfe")).json["file_id"]
    assert (await world.call("POST", "/v1/jobs", "client", {"input": binary})).status == 422


async def test_uploads_that_are_none(tmp_path: Path) -> None:
    async with open_world(tmp_path, maximum_file_bytes=100_000) as world:
        assert (await upload(world, b"x", field="other")).status == 422
        assert (await upload(world, b"x" * 100_001)).status == 413
        assert (await upload(world, b"x" * 100_000)).status == 201
        kind = {"Content-Type": "multipart/form-data; boundary=b"}
        for headers, body, status in (
            ({"Content-Type": "application/json"}, b"{}", 415),
            ({"Content-Type": "multipart/form-data"}, b"", 400),
            (kind, b"", 400),
            (kind, b"--b\r\n\r\n", 400),
            (kind, b"--b\r\nContent-Disposition: form-data; name=file\r\n\r\nabc", 400),
            (kind, b"--b--", 422),
        ):
            reply = await world.call("POST", "/v1/files", "client", data=body, headers=headers)
            assert reply.status == status, (headers, body, reply)
        kept = await world.database.read(
            lambda c: c.exec_driver_sql("select count(*) from coordinator_files").scalar()
        )
        assert kept == 1


async def test_an_account_keeps_no_more_than_its_share(tmp_path: Path) -> None:
    async with open_world(tmp_path, maximum_stored_bytes=3 * PART_BYTES) as world:
        first = await upload(world, bytes(2 * PART_BYTES))
        assert first.status == 201
        for size in (PART_BYTES, 3 * PART_BYTES):
            refused = await upload(world, bytes(size))
            assert (refused.status, refused.json["error_code"]) == (413, "STORAGE_FULL")
        assert (await upload(world, bytes(PART_BYTES), "other")).status == 201
        path = f"/v1/files/{first.json['file_id']}"
        assert (await world.call("GET", path, "client")).body == bytes(2 * PART_BYTES)
        assert (await world.call("DELETE", path, "client")).status == 204
        assert (await upload(world, bytes(PART_BYTES))).status == 201
