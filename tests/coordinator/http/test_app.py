import asyncio
import gzip
import json
import time
import zlib
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from coordinator.http.app import build_app
from coordinator.http.body import parse_json
from coordinator.http.routing import PUBLIC, Answer, Call, Route
from coordinator.http.table import ROUTES
from coordinator.principals import make_key
from tests.support.world import World, open_world


def check_problem(document: Any, status: int) -> None:
    names = {"type", "title", "status", "detail", "instance", "error_code", "request_id"}
    assert names <= set(document)
    assert document["status"] == status


async def send_raw(world: World, data: bytes, wait: float = 10) -> bytes:
    """Send bytes over a socket and return what comes back until it closes or falls silent."""
    host, port = world.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(data)
    await writer.drain()
    answer = b""
    try:
        async with asyncio.timeout(wait):
            while chunk := await reader.read(65_536):
                answer += chunk
                if b"\r\n\r\n" in answer and answer.endswith(b"}"):
                    break
    finally:
        writer.close()
        await writer.wait_closed()
    return answer


def build_head(world: World, *headers: str) -> bytes:
    key = world.people["client"].key
    lines = ["POST /v1/jobs HTTP/1.1", "Host: x", f"X-Api-Key: {key}", *headers, "", ""]
    return "\r\n".join(lines).encode()


async def test_every_error_is_a_problem_document(world: World) -> None:
    for method, path, who, status in (
        ("GET", "/nowhere", None, 404),
        ("PUT", "/v1/jobs", "client", 405),
        ("GET", "/v1/jobs", None, 401),
        ("GET", "/v1/jobs", "miner", 403),
        ("GET", "/v1/jobs/job_0", "client", 404),
        ("GET", "/v1/jobs?limit=1&limit=2", "client", 400),
        ("GET", "/v1/jobs?limit=1_0", "client", 422),
        ("GET", "/v1/jobs?limit=%EF%BC%91", "client", 422),
        ("GET", "/v1/jobs?cursor=x", "client", 422),
    ):
        for prefix in ("", "/api"):
            reply = await world.call(method, prefix + path, who)
            assert reply.status == status, (method, path, reply)
            assert reply.headers["Content-Type"].startswith("application/problem+json")
            check_problem(reply.json, status)
            assert reply.headers["X-Request-Id"] == reply.json["request_id"]


async def test_a_mistake_of_ours_says_nothing(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    async def fail(call: Call) -> Answer:
        raise RuntimeError(call.raw_body.decode())

    route = Route("POST", "/fail", fail, "Fails", "Test", roles=PUBLIC)
    runner = web.AppRunner(build_app([route], world.coordinator), access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    async with world.session.post(f"http://{host}:{port}/fail", data=b"my secret") as response:
        text = await response.text()
    await runner.cleanup()
    check_problem(json.loads(text), 500)
    assert json.loads(text)["error_code"] == "INTERNAL_ERROR"
    logged = capsys.readouterr()
    assert "RuntimeError" in logged.out + logged.err
    assert "my secret" not in text + logged.out + logged.err


async def test_a_request_id_is_taken_over_if_it_is_one(world: World) -> None:
    reply = await world.call("GET", "/health", headers={"X-Request-Id": "abc-1"})
    assert reply.headers["X-Request-Id"] == "abc-1"
    reply = await world.call("GET", "/health", headers={"X-Request-Id": "a" * 65})
    assert reply.headers["X-Request-Id"] != "a" * 65


async def test_keys_and_roles(world: World) -> None:
    key = world.people["client"].key
    reply = await world.call("GET", "/v1/jobs", headers={"Authorization": f"Bearer {key}"})
    assert reply.status == 200
    for wrong in (key[:-1] + "x", "", "Basic x", "aitbc_", "k" * 5_000):
        reply = await world.call("GET", "/v1/jobs", headers={"X-Api-Key": wrong})
        assert reply.status == 401
        assert reply.headers["WWW-Authenticate"] == "Bearer"
    reply = await world.call("GET", "/v1/jobs", headers={"X-Api-Key": make_key(bytes(20))})
    assert reply.status == 421
    assert reply.json["coordinator"].startswith("ait1")


MAX_COSTS = [
    "1e3", "+1", "01", "1_000", "１２", "-0", "NaN", "9" * 5_000, str(2**63), "", "0", True, 1, 0.5,
    2**63, None, [], {},
]  # fmt: skip


async def test_amounts_that_are_none(world: World) -> None:
    root = world.chain.get_head().state_root
    for amount in MAX_COSTS:
        body = {"prompt": "a", "max_cost": amount}
        reply = await world.call("POST", "/v1/jobs", "client", body)
        if amount is None:
            assert reply.status == 201
            job = f"/v1/jobs/{reply.json['job_id']}"
            await world.until(job, "client", lambda each: each["phase"] == "queued")
            root = world.chain.get_head().state_root
            continue
        assert reply.status == 422, (amount, reply)
        assert reply.json["errors"][0]["pointer"].startswith("/max_cost")
        nested = {"type": "llm_inference", "prompt": "a", "pricing": {"max_cost": amount}}
        reply = await world.call("POST", "/v1/jobs", "client", nested)
        assert reply.status == 422, (amount, reply)
    digits = b'{"prompt":"a","max_cost":' + b"9" * 5_000 + b"}"
    assert (await world.call("POST", "/v1/jobs", "client", data=digits)).status == 400
    world.chain.produce()
    assert world.chain.get_head().state_root == root
    assert (await world.call("GET", "/v1/jobs", "client")).json["total"] == 1


BODIES = [
    (b"", 400), (b"{", 400), (b"[]", 422), (b'"a"', 422), (b"null", 422), (b"{}", 422),
    (b'{"prompt":"a","prompt":"b"}', 400), (b'{"prompt":"\\ud800"}', 400), (b"\xff", 400),
    (b'{"prompt":NaN}', 400), (b"[" * 100_000, 400), (b'{"a":' * 100_000, 400),
    (b'{"prompt":"a","params":{"max_tokens":1e3}}', 422),
    (b'{"prompt":"a","params":{"max_tokens":true}}', 422),
    (b'{"prompt":"a","params":{"max_tokens":0}}', 422),
    (b'{"prompt":"a","params":{"temperature":1e999}}', 400),
    (b'{"prompt":"a","timeout_seconds":9223372036854775808}', 422),
    (b'{"model":{"type":"python","entrypoint":"a"},"input":{"n":9007199254740993}}', 422),
    (b'{"prompt":1}', 422), (b'{"prompt":"a","type":"nothing"}', 400),
    (b'{"prompt":"a","model":""}', 422), (b'{"prompt":"a","resources":{"gpu":"9999"}}', 422),
    (b'{"prompt":"a","input":"file_0"}', 422), (b'{"prompt":"' + b"a" * 2**20 + b'"}', 413),
]  # fmt: skip


async def test_bodies_that_are_no_job(world: World) -> None:
    for data, status in BODIES:
        reply = await world.call("POST", "/v1/jobs", "client", data=data)
        assert reply.status == status, (data[:60], reply)
        check_problem(reply.json, status)
    assert (await world.call("GET", "/v1/jobs", "client")).json["total"] == 0


async def test_no_route_answers_garbage_with_a_5xx(world: World) -> None:
    garbage = ["", "0", "job_" + "00" * 32, "%00", "%F0%9F%98%80", "a" * 300, "..%2f", "-1"]
    who = {"GET": "client", "POST": "miner", "DELETE": "operator"}
    for route in ROUTES:
        for text in garbage if "{" in route.path else ["x"]:
            path = route.path.split("{")[0] + text + route.path.partition("}")[2]
            roles = sorted(role.value for role in route.roles) or [who[route.method]]
            for body in (None, b"{}", b'{"miner_id":"a","result":"b","receipt":{}}', b"\x1f\x8b"):
                if body is not None and route.method == "GET":
                    continue
                reply = await world.call(route.method, path, roles[0], data=body)
                assert reply.status < 500, (route.path, text, body, reply)


async def test_an_error_is_named_by_its_pointer(world: World) -> None:
    for body, pointers in (
        ({"prompt": "a", "model": 1}, {"/model"}),
        ({"prompt": "a", "model": {"requirements": [1]}}, {"/model", "/model/requirements/0"}),
        ({"prompt": "a", "params": {"max_tokens": "5"}}, {"/params/max_tokens"}),
        ({"prompt": "a", "resources": {"gpu": []}}, {"/resources/gpu"}),
        ([], {""}),
    ):
        reply = await world.call("POST", "/v1/jobs", "client", body)
        assert {error["pointer"] for error in reply.json["errors"]} == pointers, reply.json
    missing = await world.call("POST", "/v1/miners/register", "miner", {"miner_id": "a"})
    assert [error["pointer"] for error in missing.json["errors"]] == ["/capabilities"]


async def test_compressed_bodies(world: World) -> None:
    packed = {"Content-Encoding": "gzip", "Content-Type": "application/json"}
    good = gzip.compress(json.dumps({"prompt": "a"}).encode())
    reply = await world.call("POST", "/v1/jobs", "client", data=good, headers=packed)
    assert reply.status == 201
    packer = zlib.compressobj(9, wbits=31)
    bomb = packer.compress(b'{"prompt":"') + b"".join(
        packer.compress(b"a" * 2**20) for _ in range(64)
    )
    for data, status in (
        (bomb + packer.flush(), 413),
        (gzip.compress(b"") * 50_000, 400),
        (b"\x1f\x8b" + b"\xff" * 100, 400),
        (good[:-10], 400),
    ):
        reply = await world.call("POST", "/v1/jobs", "client", data=data, headers=packed)
        assert reply.status == status, (data[:20], reply)


async def test_a_body_that_stops_halfway(tmp_path: Path) -> None:
    async with open_world(tmp_path, body_deadline=0.3) as world:
        head = build_head(world, "Content-Length: 100", "Content-Type: application/json")
        answer = await send_raw(world, head + b'{"prompt":', wait=5)
        assert answer.startswith(b"HTTP/1.1 408")
        chunked = build_head(world, "Transfer-Encoding: chunked")
        answer = await send_raw(world, chunked + b'a\r\n{"prompt":\r\n', wait=5)
        assert answer.startswith(b"HTTP/1.1 408")
        answer = await send_raw(world, chunked + b"zz\r\nabc\r\n", wait=5)
        assert b" 400 Bad Request" in answer
        answer = await send_raw(world, build_head(world, f"Content-Length: {2**40}"), wait=5)
        assert answer.startswith(b"HTTP/1.1 413")
        assert (await world.call("GET", "/livez")).status == 200


@pytest.mark.parametrize("line", [b"GARBAGE\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n"])
async def test_what_is_no_http(world: World, line: bytes) -> None:
    assert b" 400 " in await send_raw(world, line)


async def test_a_large_body_does_not_hold_up_the_others(world: World) -> None:
    body = b'{"receipt": {"job_id": [' + b'"",' * 330_000 + b"1]}}"
    begin = time.perf_counter()
    parse_json(body)
    alone = time.perf_counter() - begin
    longest = 0.0

    async def measure() -> None:
        nonlocal longest
        while True:
            before = time.perf_counter()
            await asyncio.sleep(0.001)
            longest = max(longest, time.perf_counter() - before)

    meter = asyncio.create_task(measure())
    reply = await world.call("POST", "/v1/receipts/verify", data=body)
    meter.cancel()
    assert (reply.status, reply.json["valid"]) == (200, False)
    assert longest < alone / 2
