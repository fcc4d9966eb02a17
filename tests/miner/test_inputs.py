"""A job's sources as files: from the coordinator, from addresses, and what is refused."""

import hashlib
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pytest
from aiohttp import web

from miner.engines.interface import InputInvalidError
from miner.inputs import MAX_FILE_BYTES, ContentMissingError, Inputs, find_digest
from miner.wire import Wire
from miner.work import Work
from tests.miner.samples import LEASED

DATA = b"sound " * 1_000
DIGEST = hashlib.sha256(DATA).hexdigest()


class Bench(NamedTuple):
    """Inputs, the work that they are for, and what the server was asked."""

    inputs: Inputs
    url: str
    asked: list[web.Request]
    answers: list[web.StreamResponse]


@asynccontextmanager
async def open_bench(
    folder: Path, *answers: web.StreamResponse, allow_loopback: bool = False
) -> AsyncIterator[Bench]:
    asked: list[web.Request] = []
    waiting = list(answers)

    async def answer(request: web.Request) -> web.StreamResponse:
        asked.append(request)
        return waiting.pop(0)

    app = web.Application()
    app.router.add_get("/{path:.*}", answer)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    wire = Wire([url], "aitbc_key")
    try:
        inputs = Inputs(folder / "inputs", wire, "miner_a", allow_loopback=allow_loopback)
        yield Bench(inputs, url, asked, waiting)
    finally:
        await wire.close()
        await runner.cleanup()


def make_work(digest: Any = DIGEST) -> Work:
    assert LEASED.content is not None
    content = {**LEASED.content, "files": {"file_a": {"sha256": digest}}}
    return msgspec.structs.replace(LEASED, content=content)


async def fetch(bench: Bench, source: str, work: Work | None = None) -> bytes:
    async with bench.inputs.open_folder() as folder:
        assert os.stat(folder).st_mode & 0o077 == 0
        paths = await bench.inputs.fetch(work or make_work(), {"audio_url": source}, folder)
        return paths["audio_url"].read_bytes()


async def test_a_file_comes_from_the_coordinator_and_leaves_nothing(tmp_path: Path) -> None:
    async with open_bench(tmp_path, web.Response(body=DATA)) as bench:
        assert await fetch(bench, "file_a") == DATA
        (request,) = bench.asked
    assert request.path == f"/v1/jobs/{LEASED.job_id}/files/file_a"
    assert request.query["miner_id"] == "miner_a"
    assert request.headers["X-Api-Key"] == "aitbc_key"
    assert not list((tmp_path / "inputs").iterdir())


async def test_a_node_that_is_busy_is_asked_again(tmp_path: Path) -> None:
    answers = [web.Response(status=503), web.Response(status=429), web.Response(body=DATA)]
    async with open_bench(tmp_path, *answers) as bench:
        assert await fetch(bench, "file_a") == DATA


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (web.Response(status=404), "status 404"),
        (web.Response(body=DATA[:-1]), "not the file"),
        (web.Response(body=b""), "not the file"),
    ],
)
async def test_a_file_that_is_not_the_one_named_is_refused(
    answer: web.Response, said: str, tmp_path: Path
) -> None:
    async with open_bench(tmp_path, answer) as bench:
        with pytest.raises(ContentMissingError, match=said):
            await fetch(bench, "file_a")
    assert not list((tmp_path / "inputs").iterdir())


@pytest.mark.parametrize("digest", [None, "", 3, "0" * 63, "0" * 65, DIGEST.upper(), [DIGEST]])
def test_a_file_without_a_hash_is_refused(digest: Any) -> None:
    work = make_work(digest)
    assert work.content is not None
    with pytest.raises(InputInvalidError):
        find_digest(work.content, "file_a")
    with pytest.raises(InputInvalidError):
        find_digest(work.content, "file_b")


@pytest.mark.parametrize(
    "address",
    [
        "http://127.0.0.1:9/a",
        "http://localhost/a",
        "http://[::1]/a",
        "http://[::ffff:127.0.0.1]/a",
        "http://169.254.169.254/latest/meta-data",
        "http://10.0.0.1/a",
        "http://2130706433/a",
        "https://user@127.0.0.1/a",
        "http:///a",
    ],
)
async def test_addresses_inside_are_never_asked(address: str, tmp_path: Path) -> None:
    async with open_bench(tmp_path, web.Response(body=DATA)) as bench:
        with pytest.raises(InputInvalidError, match="the address gives no input"):
            await fetch(bench, address)
        with pytest.raises(InputInvalidError, match="ADDRESS_REFUSED"):
            await fetch(bench, bench.url + "/a")
        assert not bench.asked
    assert not list((tmp_path / "inputs").iterdir())


async def test_an_address_is_fetched_where_it_may_be(tmp_path: Path) -> None:
    async with open_bench(tmp_path, web.Response(body=DATA), allow_loopback=True) as bench:
        assert await fetch(bench, bench.url + "/sound") == DATA


async def test_what_is_too_big_or_not_there_is_the_clients_fault(tmp_path: Path) -> None:
    large = web.Response(headers={"Content-Length": str(MAX_FILE_BYTES + 1)})
    away = web.Response(status=302, headers={"Location": "http://10.0.0.1/a"})
    for answer in (large, web.Response(status=404), away):
        async with open_bench(tmp_path, answer, allow_loopback=True) as bench:
            with pytest.raises(InputInvalidError):
                await fetch(bench, bench.url + "/sound")


async def test_what_an_end_without_warning_left_is_removed(tmp_path: Path) -> None:
    left = tmp_path / "inputs" / "tmpold" / "audio_url"
    left.parent.mkdir(parents=True)
    left.write_bytes(DATA)
    async with open_bench(tmp_path):
        assert not list((tmp_path / "inputs").iterdir())
