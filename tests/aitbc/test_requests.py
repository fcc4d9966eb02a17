"""Files on the way: read from the disk while they are sent, and whole or not there at all."""

from pathlib import Path

import pytest

from aitbc import errors
from aitbc.calls.files import download_file, download_file_to
from aitbc.client import AITBCClient, AsyncAITBCClient
from aitbc.exchange import RetryPolicy, TransportSettings
from aitbc.requests import Sink
from aitbc.transport import SyncTransport
from tests.support.scripted_server import Prepared, serve
from tests.support.world import open_world

FAST = RetryPolicy(attempts=3, first_delay=0.001)
SIZE = 5 * 1024 * 1024 + 17


def list_names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


async def test_a_file_goes_up_and_comes_down_as_it_was(tmp_path: Path) -> None:
    source, copy = tmp_path / "sound.wav", tmp_path / "copy.wav"
    source.write_bytes(bytes(range(256)) * (SIZE // 256) + b"end of the file..")
    async with (
        open_world(tmp_path) as world,
        AsyncAITBCClient(world.url, world.people["client"].key) as client,
    ):
        stored = await client.files.upload(source)
        assert (stored.name, stored.size) == ("sound.wav", source.stat().st_size)
        assert await client.files.download_to(stored.file_id, copy) == copy
        assert copy.read_bytes() == source.read_bytes()
        small = await client.files.upload(b"bytes", name="small.txt")
        assert await client.files.download(small.file_id) == b"bytes"
        await client.files.delete(small.file_id)
        with pytest.raises(errors.NotFoundError):
            await client.files.download_to(small.file_id, tmp_path / "gone")
    assert list_names(tmp_path) >= {"copy.wav", "sound.wav"}
    assert not {"gone", "gone.part"} & list_names(tmp_path)


def test_an_upload_is_repeated_from_its_beginning_under_one_key(tmp_path: Path) -> None:
    source = tmp_path / "a.txt"
    source.write_bytes(b"hello")
    answers = (Prepared(503, {}), Prepared(201, {"file_id": "file_1"}))
    with (
        serve(*answers) as server,
        AITBCClient(server.url, retries=FAST) as client,
    ):
        assert client.files.upload(source).file_id == "file_1"
    first, second = server.asked
    assert b"hello" in first.body and b"hello" in second.body
    assert first.headers["content-type"].startswith("multipart/form-data")
    assert b"text/plain" in first.body
    assert int(first.headers["content-length"]) == len(first.body)
    assert first.headers["idempotency-key"] == second.headers["idempotency-key"]


def test_a_download_that_breaks_leaves_no_part(tmp_path: Path) -> None:
    target = tmp_path / "result"
    target.write_text("what was there")
    with (
        serve(Prepared(200, b"half", length=8)) as server,
        AITBCClient(server.url, retries=FAST) as client,
        pytest.raises(errors.ConnectionFailedError),
    ):
        client.files.download_to("file_1", target)
    assert list_names(tmp_path) == {"result"}
    assert target.read_text() == "what was there"


def test_what_goes_to_memory_is_bounded_and_what_goes_to_a_file_is_not(tmp_path: Path) -> None:
    settings = TransportSettings(policy=FAST, max_answer_bytes=4)
    with serve(Prepared(200, b"12345")) as server:
        transport = SyncTransport(server.url, settings)
        with pytest.raises(errors.InvalidAnswerError, match="over 4 bytes"):
            transport.send(download_file("file_1"))
        found = transport.send(download_file_to("file_1", tmp_path / "file"))
        transport.close()
    assert found.read_bytes() == b"12345"


def test_an_errors_body_never_becomes_the_file(tmp_path: Path) -> None:
    sink = Sink(tmp_path / "file", 100)
    sink.open(404)
    sink.add(b"{}")
    assert sink.finish() == b"{}"
    assert not list(tmp_path.iterdir())
