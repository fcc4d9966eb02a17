"""Result files on their way to the coordinator: what goes, what is refused, what is tried again."""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import BodyPartReader, web

from miner.engines.interface import (
    MAX_RESULT_BYTES,
    MAX_RESULT_FILES,
    EngineFailedError,
    ResultFile,
)
from miner.results import BELIEVED_REFUSALS, ResultFiles, ResultRefusedError, check_files
from miner.wire import Wire
from tests.support.miner_bench import until

JOB = "job_" + "0a" * 32


class Receiver:
    """Takes files; `faults` are what it answers first: a status, or None for a cut connection."""

    def __init__(self, *faults: int | None) -> None:
        self.faults = list(faults)
        self.stored: list[tuple[str, str, bytes]] = []
        self.changed: dict[str, object] = {}
        self.asked = 0

    async def take(self, request: web.Request) -> web.Response:
        self.asked += 1
        assert request.query["report_token"] == "token" and "miner_id" not in request.query
        part = await (await request.multipart()).next()
        assert isinstance(part, BodyPartReader) and part.filename is not None
        data = await part.read()
        fault = self.faults.pop(0) if self.faults else 201
        if fault is None:
            assert request.transport is not None
            request.transport.abort()
            raise ConnectionResetError
        self.stored.append((part.filename, part.headers["Content-Type"], data))
        answer = {
            "size": len(data),
            "sha256": hashlib.sha256(data).hexdigest(),
            "file_id": "file_1",
        }
        return web.json_response({**answer, **self.changed}, status=fault)

    @asynccontextmanager
    async def open(self) -> AsyncIterator[ResultFiles]:
        app = web.Application(client_max_size=2**24)
        app.router.add_post("/v1/jobs/{id}/files", self.take)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        wire = Wire([f"http://127.0.0.1:{runner.addresses[0][1]}"], "aitbc_key")
        try:
            yield ResultFiles(wire, JOB, {"miner_id": None, "report_token": "token"})
        finally:
            await wire.close()
            await runner.cleanup()


def make_file(folder: Path, data: bytes = b"picture", name: str = "a.png") -> ResultFile:
    (folder / name).write_bytes(data)
    return ResultFile(folder / name, name, "image/png")


async def test_files_are_stored_and_described_in_order(tmp_path: Path) -> None:
    receiver = Receiver()
    data = bytes(range(256)) * 4_096
    files = [make_file(tmp_path, data), make_file(tmp_path, b"", 'é "b".png')]
    async with receiver.open() as results:
        described = await results.store(files, tmp_path)
    assert [name for name, _, _ in receiver.stored][0] == "a.png"
    assert [(kind, body) for _, kind, body in receiver.stored] == [
        ("image/png", data), ("image/png", b""),
    ]  # fmt: skip
    assert described[0] == {
        "file_id": "file_1",
        "name": "a.png",
        "content_type": "image/png",
        "size": len(data),
        "sha256": hashlib.sha256(data).hexdigest(),
    }
    assert described[1]["name"] == 'é "b".png'


async def test_a_passing_fault_and_a_cut_connection_are_tried_again(tmp_path: Path) -> None:
    receiver = Receiver(503, None, 409)
    async with receiver.open() as results:
        described = await results.store([make_file(tmp_path)], tmp_path)
    assert described[0]["size"] == 7
    assert receiver.stored[-1] == ("a.png", "image/png", b"picture")


@pytest.mark.parametrize(("status", "asked"), [(413, 1), (404, BELIEVED_REFUSALS)])
async def test_a_refusal_ends_it(status: int, asked: int, tmp_path: Path) -> None:
    receiver = Receiver(*[status] * 10)
    async with receiver.open() as results:
        with pytest.raises(ResultRefusedError, match=f"status {status}"):
            await results.store([make_file(tmp_path)], tmp_path)
    assert receiver.asked == asked


@pytest.mark.parametrize("changed", [{"sha256": "00" * 32}, {"size": 1}, {"file_id": None}])
async def test_an_answer_about_another_file_is_refused(
    changed: dict[str, object], tmp_path: Path
) -> None:
    receiver = Receiver()
    receiver.changed = changed
    async with receiver.open() as results:
        with pytest.raises(ResultRefusedError, match="another file"):
            await results.store([make_file(tmp_path)], tmp_path)


async def test_it_can_be_left_while_no_node_answers(tmp_path: Path) -> None:
    receiver = Receiver(*[None] * 100)
    async with receiver.open() as results:
        storing = asyncio.create_task(results.store([make_file(tmp_path)], tmp_path))
        await until(lambda: receiver.asked >= 2)
        storing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await storing


def test_what_is_no_result_file_is_refused(tmp_path: Path) -> None:
    run, other = tmp_path / "run", tmp_path / "other"
    run.mkdir()
    other.mkdir()
    good = make_file(run)
    outside = make_file(other)
    (run / "link").symlink_to(other / "a.png")
    (run / "folder").symlink_to(other)
    (run / "sub").mkdir()
    with (run / "large").open("wb") as sink:
        sink.truncate(MAX_RESULT_BYTES)
    check_files([good], run)
    for file in (
        outside,
        ResultFile(run / "../other/a.png", "a.png", "image/png"),
        ResultFile(run / "folder/a.png", "a.png", "image/png"),
        ResultFile(run / "link", "a.png", "image/png"),
        ResultFile(run / "sub", "a.png", "image/png"),
        ResultFile(run / "absent", "a.png", "image/png"),
        ResultFile(run / "a.png", "", "image/png"),
        ResultFile(run / "a.png", "a\nb.png", "image/png"),
        ResultFile(run / "a.png", "a" * 201, "image/png"),
    ):
        with pytest.raises(EngineFailedError):
            check_files([file], run)
    with pytest.raises(EngineFailedError, match="one name"):
        check_files([good, good], run)
    with pytest.raises(EngineFailedError, match="at most"):
        check_files([good, ResultFile(run / "large", "large", "image/png")], run)
    many = [ResultFile(run / "a.png", f"{n}.png", "image/png") for n in range(MAX_RESULT_FILES + 1)]
    with pytest.raises(EngineFailedError, match="at most 64 files"):
        check_files(many, run)
